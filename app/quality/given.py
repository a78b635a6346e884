"""The answers that quality is judged by: the newest of a project's annotators, as plain rows."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import case, func, select, true
from sqlalchemy.orm import Session

from app.models import DECISIVE, Answer, Assignment, Comparison, Project

MOST = 20_000
"""How many answers are looked at, the newest ones: a page must come within a moment, however old the project."""
CHOICES = ("a", "b", "tie", "both_bad")
"""What a counting answer may come to; the values of nominal agreement."""
LAST_STEP = 6
"""The seven steps from 0, the second response is much better, to 6, the first one is."""


class Given(NamedTuple):
    """One answer by one annotator.

    `pair`: the ids of the two responses, lower first; `first`: which of the comparison's own names the lower one has.
    """

    id: int
    comparison: int
    pair: tuple[int, int]
    first: str
    person: int
    verdict: str
    preferred: str | None
    strength: int | None
    shown_left: str | None
    seconds_client: float | None
    seconds_server: float | None
    created: datetime
    revision: int
    adjudicates: bool
    gold: bool = False
    expected: str | None = None
    """The right choice, where it answers a gold comparison that still holds."""
    undone: int = 0
    """How many answers to the same pair were taken back before this one."""

    @property
    def counts(self) -> bool:
        """Whether it says something about the two responses."""
        return self.verdict in DECISIVE

    @property
    def choice(self) -> str:
        """One of CHOICES, for an answer that counts."""
        return self.preferred or self.verdict

    @property
    def lasting(self) -> str:
        """The choice in words that hold for every comparison of the same two responses: `first` or `second`."""
        if self.preferred is None:
            return self.verdict
        return "first" if self.preferred == self.first else "second"

    @property
    def step(self) -> int | None:
        """Its place among the seven steps; None where both are bad or nothing was said."""
        if self.verdict == "tie":
            return LAST_STEP // 2
        if self.preferred is None or self.strength is None:
            return None
        return LAST_STEP // 2 + (self.strength if self.preferred == "a" else -self.strength)

    @property
    def seconds(self) -> float | None:
        """How long it took: as the browser measured it, else from claim to answer."""
        return self.seconds_client if self.seconds_client is not None else self.seconds_server


def newest(
    session: Session, project: Project, *, simulated: bool = False, comparison: int | None = None
) -> list[Given]:
    """The newest MOST answers of the project's annotators, newest first: of people, or of simulated ones.

    With a `comparison` only those to it.

    What somebody chose in a chat or a product was about answers that nobody else saw, and an import names nobody.
    """
    rows = session.execute(
        select(
            Answer.id,
            Answer.comparison_id,
            Comparison.response_a_id,
            Comparison.response_b_id,
            Answer.user_id,
            Answer.verdict,
            Answer.preferred,
            Answer.strength,
            Assignment.shown_left,
            Answer.seconds_client,
            Answer.seconds_server,
            Answer.created_at,
            Answer.revision,
            Answer.adjudicates,
            Comparison.purpose == "gold",
            case(
                (
                    Comparison.status != "withdrawn",
                    func.coalesce(Comparison.expected_preferred, Comparison.expected_verdict),
                )
            ),
            func.coalesce(Assignment.undone, 0),
        )
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .outerjoin(Assignment, Assignment.id == Answer.assignment_id)
        .where(
            Answer.project_id == project.id,
            Answer.source.in_(("page", "api")),
            Answer.user_id.is_not(None),
            Answer.simulated.is_(simulated),
            true() if comparison is None else Answer.comparison_id == comparison,
        )
        .order_by(Answer.id.desc())
        .limit(MOST)
    )
    return [Given(id, about, (min(a, b), max(a, b)), "a" if a < b else "b", *said) for id, about, a, b, *said in rows]


def by_comparison(answers: Iterable[Given]) -> dict[int, list[Given]]:
    """The counting answers of each comparison, newest first; gold ones, of which the answer is known, are left out."""
    found: dict[int, list[Given]] = defaultdict(list)
    for answer in answers:
        if answer.counts and not answer.gold:
            found[answer.comparison].append(answer)
    return dict(found)


def consensus(answers: Sequence[Given]) -> str | None:
    """What counting answers to one comparison come to: the newest that adjudicates, else what most say; None if split.

    The answers come newest first.
    """
    for answer in answers:
        if answer.adjudicates:
            return answer.choice
    votes = [answer.choice for answer in answers]
    first, *others = sorted(((votes.count(choice), choice) for choice in CHOICES), reverse=True)
    return first[1] if first[0] > others[0][0] else None
