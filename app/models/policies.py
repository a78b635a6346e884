"""A project's policies: the JSON of some columns as checked dataclasses, one default for each field.

The column holds what was chosen; `from_json` fills the rest with defaults and refuses what it does not know.
"""

import re
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, time, tzinfo
from typing import Any, Self
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter


class PolicyError(ValueError):
    """A setting that cannot be used; the message says which and what is allowed."""


@dataclass(frozen=True)
class Policy:
    """What they have in common: from JSON, checked, and back."""

    @classmethod
    def from_json(cls, chosen: dict[str, Any]) -> Self:
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(chosen) - known)
        if unknown:
            raise PolicyError(f"{unknown[0]!r} is not a setting. Known are: {', '.join(sorted(known))}.")
        policy = cls(**chosen)
        policy.check()
        return policy

    def check(self) -> None:
        """Raise PolicyError with a sentence where a value makes no sense."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _number(value: Any, name: str, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise PolicyError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}.")


def _whole(value: Any, name: str, low: int, high: int) -> None:
    if not isinstance(value, int):
        raise PolicyError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    _number(value, name, low, high)


def _yes_or_no(value: Any, name: str) -> None:
    if not isinstance(value, bool):
        raise PolicyError(f"{name} must be true or false, not {value!r}.")


def _is_cron(line: Any) -> bool:
    # Five fields in range, which some day match: the thirtieth of February would end the search for the next moment.
    if not isinstance(line, str) or len(line.split()) != 5:
        return False
    try:
        croniter(line).get_next()
    except CroniterError:
        return False
    return True


def _is_zone(name: Any) -> bool:
    try:
        return name == "UTC" or (isinstance(name, str) and ZoneInfo(name) is not None)
    except (ValueError, OSError, KeyError):
        return False


@dataclass(frozen=True)
class Sampling(Policy):
    """How the pairs that people see are drawn, and how many wait for them.

    `full_distribution`: share of pairs drawn at temperature 1 and top-p 1, so that the reward model also knows the
    distribution that PPO draws from.
    """

    temperature: float = 0.9
    top_p: float = 0.95
    max_tokens: int = 80
    stock: int = 100
    full_distribution: float = 0.15

    def check(self) -> None:
        _number(self.temperature, "temperature", 0.05, 2)
        _number(self.top_p, "top_p", 0.05, 1)
        _whole(self.max_tokens, "max_tokens", 1, 4096)
        _whole(self.stock, "stock", 0, 100_000)
        _number(self.full_distribution, "full_distribution", 0, 1)


@dataclass(frozen=True)
class Labeling(Policy):
    """What the label page asks: steps of strength (1 to 3), a rationale (off, optional, required), criteria by name.

    `repeats`: how many of the answers that surprised a reward model people are asked about again, at most, after it.
    `order`: which pairs come first among equals, the oldest or those the live head is least sure about (uncertain).
    `gold`, `own_repeats`: the per cent of pairs in whose place a gold comparison comes, or an earlier pair of one's own
    with the sides changed. `qualification`: how many gold comparisons somebody answers before the first real pair
    (0: none), of which `qualification_share` per cent have to be right.
    `show_agreement`: whether annotators see how often they agreed with the others.
    """

    strengths: int = 3
    rationale: str = "optional"
    criteria: list[str] = field(default_factory=list)
    repeats: int = 5
    order: str = "oldest"
    gold: int = 0
    own_repeats: int = 0
    qualification: int = 0
    qualification_share: int = 80
    show_agreement: bool = False

    def check(self) -> None:
        _whole(self.strengths, "strengths", 1, 3)
        _whole(self.repeats, "repeats", 0, 100)
        _whole(self.gold, "gold", 0, 50)
        _whole(self.own_repeats, "own_repeats", 0, 50)
        _whole(self.qualification, "qualification", 0, 100)
        _whole(self.qualification_share, "qualification_share", 0, 100)
        if self.rationale not in ("off", "optional", "required"):
            raise PolicyError(f"rationale must be off, optional or required, not {self.rationale!r}.")
        if not isinstance(self.show_agreement, bool):
            raise PolicyError(f"show_agreement must be true or false, not {self.show_agreement!r}.")
        if self.order not in ("oldest", "uncertain"):
            raise PolicyError(f"order must be oldest or uncertain, not {self.order!r}.")
        if not isinstance(self.criteria, list) or not all(isinstance(name, str) and name for name in self.criteria):
            raise PolicyError("criteria must be a list of names, such as ['helpful', 'honest'].")
        if len(set(self.criteria)) != len(self.criteria) or len(self.criteria) > 12:
            raise PolicyError("criteria must be at most 12 names, each of them once.")


QUIET = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True)
class Retraining(Policy):
    """When a chain starts by itself: after `every` new decisive answers, or at `cron`, whichever comes first.

    Both empty: never. Imported answers do not count. `quiet` holds hours of the day in which no chain starts by itself,
    such as "22:00-07:00"; they and the cron line are on the clock of `timezone`. `stop_when_wrong`: a run whose figures
    look severely wrong (app/runs/warnings.py) is ended instead of only warned about.
    """

    every: int | None = None
    cron: str | None = None
    quiet: str | None = None
    timezone: str = "UTC"
    stop_when_wrong: bool = False

    def check(self) -> None:
        if self.every is not None:
            _whole(self.every, "every", 1, 1_000_000)
        if self.cron is not None and not _is_cron(self.cron):
            raise PolicyError(
                f"cron must have five fields, such as '0 3 * * *' for every night at three, not {self.cron!r}."
            )
        if not _is_zone(self.timezone):
            raise PolicyError(f"timezone must be a name such as UTC or Asia/Seoul, not {self.timezone!r}.")
        if self.quiet is not None and (not isinstance(self.quiet, str) or not QUIET.fullmatch(self.quiet)):
            raise PolicyError(f"quiet must be two times of day, such as 22:00-07:00, not {self.quiet!r}.")
        if not isinstance(self.stop_when_wrong, bool):
            raise PolicyError("stop_when_wrong must be true or false.")

    @property
    def is_on(self) -> bool:
        return self.every is not None or self.cron is not None

    @property
    def zone(self) -> tzinfo:
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)

    def is_quiet(self, moment: datetime) -> bool:
        """Whether the moment lies in the quiet hours; they may go past midnight, and their end is not quiet."""
        if self.quiet is None:
            return False
        begin, end = (time.fromisoformat(one) for one in self.quiet.split("-"))
        there = moment.astimezone(self.zone).time()
        return begin <= there < end if begin <= end else there >= begin or there < end


@dataclass(frozen=True)
class Gates(Policy):
    """What a model must reach before the loop goes on with it by itself.

    A reward model: `accuracy` must lie below the interval of its accuracy on unseen prompts, and with `beat_length` it
    must not lose to a rule that only looks at length. A policy: `win_rate` must lie below the interval of its win rate
    by the reward model, with `equal_length` below the win rate at equal length too; it may be `kl_budget` nats from the
    base model (None: what the evaluation's own settings say). With `people` it waits until so many pairs, old against
    new, are answered blindly, and `people_rate` must lie below the interval of its share. `automatic`: whether what is
    past all gates is promoted without a hand.
    """

    accuracy: float = 0.5
    beat_length: bool = True
    win_rate: float = 0.5
    equal_length: bool = False
    kl_budget: float | None = None
    people: int = 0
    people_rate: float = 0.5
    automatic: bool = True

    def check(self) -> None:
        for name in ("accuracy", "win_rate", "people_rate"):
            _number(getattr(self, name), name, 0, 0.99)
        for name in ("beat_length", "equal_length", "automatic"):
            _yes_or_no(getattr(self, name), name)
        if self.kl_budget is not None:
            _number(self.kl_budget, "kl_budget", 0.01, 100)
        _whole(self.people, "people", 0, 10_000)


@dataclass(frozen=True)
class Serving(Policy):
    """What the chat is used for besides talking, with each person's own consent alone.

    `answer_twice`: the share of answers that come twice, for the person to say which is better. `keep_prompts`: what
    people ask becomes a prompt of the project, where the filter for personal data finds nothing.
    """

    answer_twice: float = 0.25
    keep_prompts: bool = False

    def check(self) -> None:
        _number(self.answer_twice, "answer_twice", 0, 1)
        _yes_or_no(self.keep_prompts, "keep_prompts")


@dataclass(frozen=True)
class Keeping(Policy):
    """How long the files of models stay that nobody uses: `days` after they were made (None: for ever).

    The `newest` of each kind stay in any case, and so does everything that something kept was made from.
    """

    days: int | None = None
    newest: int = 10

    def check(self) -> None:
        if self.days is not None:
            _whole(self.days, "days", 1, 36_500)
        _whole(self.newest, "newest", 1, 10_000)
