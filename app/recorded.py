"""Sentences that were recorded in English – what runs, gates and imports said – in the reader's language.

Workers have no reader, and programs read these sentences through the API, so the database holds them in English, whole.
A page finds the pattern that made such a sentence, among those below and all that the catalogues hold, and says the
same pattern in its own language with the same figures; what follows no pattern stays as it was recorded.
"""

import re
from functools import cache, lru_cache
from typing import NamedTuple

from app.languages import N_, gettext, language, messages

WORKERS = (
    # Where a run stands
    *(N_("Waits for a worker."), N_("Starts."), N_("Is being cancelled."), N_("Cancelled.")),
    N_("Taken up again after a crash: attempt {n} of {most}."),
    N_("Waits until run {id} has finished."),
    N_("Waits for a worker to start the step “{step}”."),
    N_("The step “{step}” is running."),
    N_("The step “{step}” failed: {why}"),
    *(N_("Its worker died."), N_("Its worker was stopped; another one goes on.")),
    N_("Its worker was stopped; the next one goes on from the last saved state."),
    N_(
        "The training process was killed ({signal}), most likely because memory ran out. It goes on from the last "
        "saved state."
    ),
    N_("The process was killed ({signal}), most likely because memory ran out."),
    N_("The training process ended with status {status} and gave no reason. The end of its log is below."),
    N_("The run failed with {error}; see its log."),
    N_("Something in Pairloop broke: {error} The worker's log has more."),
    N_(
        "This run was started {n} times and its process died each time, most likely because memory ran out. Lower its "
        "batch or the length of its answers, or give the machine more memory, and start it again."
    ),
    N_("The project's policy ends such a run."),
    # Pairs, exports, imports, packages
    *(N_("One pair was written."), N_("{n} pairs were written."), N_("{n} of {total} pairs are written.")),
    N_("{n} pairs wait for people's blind answers."),
    N_("This run tries again every {n} seconds."),
    N_("The language model refused: {problem}"),
    N_("Collected {n} answers."),
    *(N_("Wrote {n} of {total} answers."), N_("Wrote {n} rows."), N_("Wrote {n} bytes.")),
    *(N_("Added {n} {what} so far."), N_("Added {n} {what}.")),
    *(N_("Writes the files."), N_("Reads the archive.")),
    N_("Checkpoint {id} is a candidate. Evaluate it before you use it."),
    # What a chain waits for
    N_("Checkpoint {id} waits until people have compared {n} of its answers blindly."),
    N_("Checkpoint {id} is past all gates and waits for somebody to promote it."),
    N_("The new policy is promoted and has written the next pairs."),
    N_(
        "The chain stopped after the step “{step}”: {why} To go past the gate all the same, start the chain again with "
        "“go on past the gates”."
    ),
    # The reward model's gate
    N_("People are asked again about surprising answers: {n}."),
    *(N_("{share} [{low}, {high}] over {n} answers"), N_("{share} over {n} answers")),
    N_("The reward model tells people's choices apart: {figures}; length alone reaches {baseline}."),
    N_("The reward model's interval still includes chance: {figures}."),
    N_("Label more, check that the guidelines lead to the same choices, or force the run."),
    N_("Label about {n} more, or force the run."),
    N_(
        "The reward model ({figures}) does not beat a rule that only looks at length ({baseline}). Label more, or "
        "force the run if length is what you want."
    ),
    N_(
        "The reward model does not tell the newest policy's own answers apart: {figures}. What people ask for may have "
        "been reached; label more of its answers, or force the run."
    ),
    N_(
        "The snapshot holds {n} answers that prefer one of two responses; a reward model needs at least {needed}. "
        "Label more and start the run again."
    ),
    N_("All the answers are about one prompt. Label pairs for more prompts and start the run again."),
    N_("All the answers are about held-out prompts. Label pairs for other prompts, then try again."),
    N_("All the answers are about too few prompts. Label pairs for more prompts, then try again."),
    N_("The run has no prompt that fits the model's context. Bring shorter prompts in."),
    N_("There is no reward model in use any more. Train one, then start this run again."),
    # The gates of PPO and DPO, and why they ended early
    N_("{gain} [{low}, {high}] standard deviations of reward on held-out prompts"),
    N_("No point within the KL budget earned more reward than the start. Label more, or try a smaller step size."),
    N_("The policy's gain may be chance: {figures}. Train for more updates, or force the run."),
    N_("The policy is {kl} nats from the base model; the budget is {budget}."),
    *(N_("Lower kl_target and start the run again."), N_("Raise beta and start the run again.")),
    N_("The policy earns {figures}, {kl} nats from the base model."),
    N_("{share} [{low}, {high}] of {n} unseen choices"),
    N_("No point within the KL budget predicts unseen choices better than the start. Label more."),
    N_("What the policy learned may be chance: it agrees with {figures}. Label more and train again."),
    N_("The policy agrees with {figures}, {kl} nats from the base model."),
    N_("{kl} nats are over the budget: half-way back to update {n}."),
    N_("The policy stayed {kl} nats from the base model; the budget is {budget}."),
    N_("The held-out reward has not risen at {n} looks in a row."),
    N_("The loss on unseen choices has not fallen at {n} looks in a row."),
    *(N_("The run went back to update {n}."), N_("The run went back to step {n}.")),
    N_("The answers collapsed to {n} tokens (before: {before})."),
    N_("Only {share} of the answers come to their end (before: {before})."),
    N_("The answers repeat one phrase for every prompt: {share} of their trigrams differ."),
    # The candidate's evaluation
    N_("{share} [{low}, {high}] of {n} prompts against {against} ({equal} at equal length)"),
    *(N_("the policy in use"), N_("the base model")),
    N_("The candidate's win rate may be chance: {figures}. Label more and train again, or promote it."),
    N_("{kl} nats from the base model; the budget is {budget}"),
    N_("The candidate wins {figures}, but is {far}. Train with a smaller KL budget, or promote it."),
    N_("The candidate wins {figures}, but {worse}. Read its answers before you promote it."),
    N_("The candidate wins {figures}, {kl} nats from the base model."),
    N_("repeats {share} of its trigrams (base model: {before})"),
    N_("ends only {share} of its answers (base model: {before})"),
    N_("needs {n} tokens for an answer (base model: {before})"),
    N_("People did not clearly prefer it: {share} % [{low}, {high}] of {n} pairs."),
)
"""Patterns of sentences that no page made: workers write them, and the database's own bookkeeping."""

WHOLE_SENTENCES = ("why", "problem", "error")
"""Holes that may hold several sentences; the others end where their sentence does."""
FIGURES = (
    *(N_("Reward {reward}, KL {kl} nats."), N_("KL {kl} nats."), N_("Loss {loss}."), N_("KL {kl} nats, loss {loss}.")),
)
"""What app/runs/sentences.py joins from the figures that a run reported."""
LONGEST, MOST_TOGETHER = 2000, 6
"""Longer texts are no sentences of ours and stay as they are; so many sentences may follow one pattern together."""
_HOLE = re.compile(r"\{(\w+)[^}]*\}")
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?]) (?=\S)")


class _Pattern(NamedTuple):
    """A message as its own words, and the names of the holes between them."""

    message: str
    words: list[str]
    names: list[str]


def recorded(text: str | None) -> str:
    """The recorded sentences, in the language of this answer."""
    if not text or language() == "en" or len(text) > LONGEST:
        return text or ""
    return _said(text, language())


@lru_cache(maxsize=4096)
def _said(text: str, code: str) -> str:
    if (whole := _by_pattern(text, code)) is not None:
        return whole
    # Several sentences: the longest runs of them that follow a pattern, from the left.
    parts, said = _BETWEEN_SENTENCES.split(text), list[str]()
    if len(parts) == 1:
        return text
    while parts:
        for end in range(min(len(parts), MOST_TOGETHER), 0, -1):
            found = _by_pattern(" ".join(parts[:end]), code)
            if found is not None or end == 1:
                said.append(found or parts[0])
                parts = parts[end:]
                break
    return " ".join(said)


def _by_pattern(text: str, code: str) -> str | None:
    for pattern in _beginning(code, text[:1]):
        values = _values(pattern, text)
        if values is not None:
            return _with(gettext(pattern.message), {name: _value(said, code) for name, said in values.items()})
    return None


def _values(pattern: _Pattern, text: str) -> dict[str, str] | None:
    """What stands in the holes where the text follows the pattern, else None.

    Found from word to word without ever going back, because a text may be made by somebody to be slow to match.
    """
    first, *others = pattern.words
    if not (text.startswith(first) and text.endswith(pattern.words[-1])):
        return None
    if not others:
        return {} if text == first else None
    values, place, last = dict[str, str](), len(first), len(text) - len(others[-1])
    for name, after in zip(pattern.names, others, strict=True):
        # Figures have commas of their own: what follows them begins at the last one.
        find = text.rfind if name == "figures" else text.find
        end = last if name == pattern.names[-1] else find(after, place, last)
        values[name] = text[place:end] if end > place else ""
        if not values[name] or (name not in WHOLE_SENTENCES and _BETWEEN_SENTENCES.search(values[name])):
            return None
        place = end + len(after)
    return values


def _value(text: str, code: str) -> str:
    """What stood in a hole: a figure, or words that follow a pattern themselves."""
    return _said(text, code) if re.search("[A-Za-z]{2}", text) else text


def _with(message: str, values: dict[str, str]) -> str:
    # Not `format`: the values are text already, so that a form such as `:,` would be refused.
    return _HOLE.sub(lambda hole: values.get(hole[1], hole[0]), message)


@lru_cache(maxsize=1024)
def _beginning(code: str, first: str) -> list[_Pattern]:
    """The patterns that a text which begins with this character may follow."""
    return [one for one in _patterns(code) if one.words[0][:1] in ("", first)]


@cache
def _patterns(code: str) -> list[_Pattern]:
    """Those with the most words of their own first."""
    found = []
    for message in {*WORKERS, *FIGURES, *filter(_tells_enough, messages(code))}:
        pieces = _HOLE.split(message)
        words, names = pieces[::2], pieces[1::2]
        if len(set(names)) == len(names):
            found.append(_Pattern(message, words, names))
    return sorted(found, key=lambda one: (-len("".join(one.words)), one.message))


def _tells_enough(message: str) -> bool:
    """Whether a message of a page is told from others by its own words: a sentence, or one without figures."""
    own = _HOLE.sub("", message)
    return "%(" not in message and (own == message or (own.endswith(".") and len(own) > 8))
