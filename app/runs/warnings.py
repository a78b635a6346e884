"""What looks wrong in a run's figures, in words: what was seen, why it matters, what to do.

Each rule reads a few reported figures and nothing else, so that it can be checked by hand. Rewards are in standard
deviations of the base model's answers, KL in nats per answer, lengths in tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.languages import _
from app.models import RunMetric

FAR_OVER = 1.5
"""KL beyond this many times its budget, twice in a row, is a runaway."""
COLLAPSED = 0.3
"""Entropy below this share of what it was at the start leaves the policy one phrase to say."""
LONGER, SHORTER = 1.5, 0.5
"""Answers this many times as long as at the start, while the reward rises, are what the reward may be paid for."""
FALLEN = 0.1
"""So much held-out reward must be lost before it counts as fallen."""
WORSE = 1.05
"""A loss on unseen choices this many times its best is learning by heart."""
MUST_BE_NUMBERS = ("loss", "reward", "score", "kl", "nll", "grad_norm")


@dataclass(frozen=True)
class Warning:
    """`severe` ones end a run where the project's policy says so."""

    name: str
    seen: str
    why: str
    todo: str
    severe: bool = False

    @property
    def sentence(self) -> str:
        return f"{self.seen} {self.why} {self.todo}"


Series = Sequence[tuple[int, float]]


class Figures:
    """The figures of one phase by name, each as steps and values."""

    def __init__(self, rows: Sequence[RunMetric]) -> None:
        self.rows = rows

    def __getitem__(self, name: str) -> list[tuple[int, float]]:
        return [(row.step, float(row.metrics[name])) for row in self.rows if row.metrics.get(name) is not None]

    def first(self, *names: str) -> Series:
        """The first of these figures that was reported at least twice."""
        return next((found for name in names if len(found := self[name]) >= 2), [])


def of(rows: Sequence[RunMetric], hyper: Mapping[str, Any]) -> list[Warning]:
    """What looks wrong in the reports of one run so far, the severe first; `hyper` holds its settings."""
    learning = Figures([row for row in rows if row.phase in ("ppo", "dpo", "adapters")])
    found = [warning for rule in RULES if (warning := rule(learning, hyper)) is not None]
    return sorted(found, key=lambda warning: not warning.severe)


def _no_number(figures: Figures, _hyper: Mapping[str, Any]) -> Warning | None:
    for row in figures.rows:
        for name in MUST_BE_NUMBERS:
            if name in row.metrics and row.metrics[name] is None:
                return Warning(
                    "no_number",
                    _("At step {step} “{name}” was no number any more (NaN).").format(step=row.step, name=name),
                    _("From there on nothing is learned, and what is kept may be spoilt."),
                    _("Start the run again with half the step size; if it stays so, look at the answers of that step."),
                    severe=True,
                )
    return None


def _far_away(figures: Figures, hyper: Mapping[str, Any]) -> Warning | None:
    kl, budget = figures.first("kl", "kl_heldout"), hyper.get("kl_budget")
    if not kl or budget is None or kl[-1][1] <= budget:
        return None
    running = all(value > FAR_OVER * budget for _step, value in kl[-2:])
    return Warning(
        "far_away",
        _("The policy is {kl:.1f} nats from the base model; the budget is {budget:g}.").format(
            kl=kl[-1][1], budget=budget
        ),
        _("So far away the reward model has seen no answers like these, and its scores mean little."),
        _("Lower the step size or raise the price of KL; points beyond the budget are not kept."),
        severe=running,
    )


def _one_phrase(figures: Figures, _hyper: Mapping[str, Any]) -> Warning | None:
    entropy = figures["entropy"]
    if len(entropy) < 3 or entropy[0][1] <= 0 or entropy[-1][1] >= COLLAPSED * entropy[0][1]:
        return None
    return Warning(
        "one_phrase",
        _("Entropy fell from {first:.2f} to {last:.2f} nats per token.").format(
            first=entropy[0][1], last=entropy[-1][1]
        ),
        _("The policy hardly tries anything any more and says nearly the same to everybody."),
        _("Start again with a smaller step size or a lower KL target."),
        severe=True,
    )


def _paid_by_length(figures: Figures, _hyper: Mapping[str, Any]) -> Warning | None:
    length, reward = figures.first("length_heldout", "length"), figures.first("reward_heldout", "score", "reward")
    if not length or not reward or length[0][1] <= 0 or reward[-1][1] <= reward[0][1]:
        return None
    times = length[-1][1] / length[0][1]
    if SHORTER < times < LONGER:
        return None
    seen = _("The reward rises, and answers went from {first:.0f} to {last:.0f} tokens.")
    return Warning(
        "paid_by_length",
        seen.format(first=length[0][1], last=length[-1][1]),
        _("The reward may be paid for length rather than for what people mean."),
        _("Read the answers below; ask people about pairs in which the better answer has the other length."),
    )


def _held_out_falls(figures: Figures, _hyper: Mapping[str, Any]) -> Warning | None:
    held_out, reward = figures["reward_heldout"], figures.first("score", "reward")
    if len(held_out) < 3 or not reward:
        return None
    best_at, best = max(held_out, key=lambda one: one[1])
    later = [value for step, value in held_out if step > best_at]
    since = [value for step, value in reward if step >= best_at]
    if len(later) < 2 or any(value > best - FALLEN for value in later[-2:]) or since[-1] <= since[0]:
        return None
    seen = _(
        "Since update {step} the reward rises in training and has fallen on held-out prompts, "
        "from {best:+.2f} to {last:+.2f}."
    )
    return Warning(
        "held_out_falls",
        seen.format(step=best_at, best=best, last=later[-1]),
        _("The policy learns the reward model's mistakes about these prompts."),
        _("The best point so far is kept. Label more pairs of the newest policy before you train again."),
    )


def _no_end(figures: Figures, _hyper: Mapping[str, Any]) -> Warning | None:
    ended = figures.first("eos_heldout", "eos_rate")
    if not ended or ended[0][1] < 0.3 or ended[-1][1] >= 0.5 * ended[0][1]:
        return None
    seen = _("{last:.0%} of the answers come to their end; at the start it was {first:.0%}.")
    return Warning(
        "no_end",
        seen.format(first=ended[0][1], last=ended[-1][1]),
        _("Answers that are cut off read badly, and people will mark them down."),
        _("Raise the length that an answer may get, or the penalty for an answer without an end."),
    )


def _by_heart(figures: Figures, _hyper: Mapping[str, Any]) -> Warning | None:
    loss, unseen = figures["loss"], figures.first("nll", "loss_heldout")
    if len(unseen) < 3 or len(loss) < 2 or loss[-1][1] >= loss[0][1]:
        return None
    best = min(value for _step, value in unseen)
    if any(value < WORSE * best for _step, value in unseen[-2:]):
        return None
    return Warning(
        "by_heart",
        _("The loss on unseen choices rose from {best:.3f} to {last:.3f} while the loss in training fell.").format(
            best=best, last=unseen[-1][1]
        ),
        _("The model learns these choices by heart instead of what is behind them."),
        _("The best point is kept. Label more, or train for fewer epochs."),
    )


RULES: tuple[Callable[[Figures, Mapping[str, Any]], Warning | None], ...] = (
    *(_no_number, _far_away, _one_phrase, _paid_by_length, _held_out_falls, _no_end, _by_heart),
)
