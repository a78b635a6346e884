"""A project's gold comparisons with how people answered each, and comparisons that could become one."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.errors import Conflict, NotFound
from app.labeling import golds
from app.languages import N_, _
from app.models import DECISIVE, Answer, Comparison
from app.quality import comparisons, given
from app.quality.comparisons import Looked
from app.quality.given import CHOICES, Given, by_comparison, consensus
from app.quality.shares import Share

WORDS = dict(zip(CHOICES, (N_("A better"), N_("B better"), N_("About the same"), N_("Both bad")), strict=True))
"""Choices in words; A is the first response."""
SHOWN = 100
PROPOSED = 10


@dataclass(frozen=True)
class Gold:
    """A gold comparison; `answered` holds people's counting answers, of which `hits` are the expected one."""

    looked: Looked
    answered: Share

    @property
    def expected(self) -> str:
        """What is right, in WORDS."""
        return WORDS[choice_of(self.looked.comparison)]


@dataclass(frozen=True)
class Proposal:
    """A comparison that is not gold yet, and what people's answers to it come to."""

    looked: Looked
    expected: str
    """In WORDS."""


def choice_of(comparison: Comparison) -> str:
    """What is right about a gold comparison, one of CHOICES."""
    return comparison.expected_preferred or comparison.expected_verdict or ""


def listed(session: Session, access: Access) -> list[Gold]:
    """The newest gold comparisons, those that most people got wrong first."""
    live = (
        Comparison.project_id == access.project.id,
        Comparison.purpose == "gold",
        Comparison.status != "withdrawn",
    )
    ids = session.scalars(select(Comparison.id).where(*live).order_by(Comparison.id.desc()).limit(SHOWN)).all()
    rows = session.execute(
        select(Answer.comparison_id, func.count(), func.count().filter(golds.IS_RIGHT))
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .where(Answer.comparison_id.in_(ids), Answer.verdict.in_(DECISIVE), Answer.simulated.is_(False))
        .group_by(Answer.comparison_id)
    ).all()
    answered = {id: Share(right, said) for id, said, right in rows}
    found = [Gold(one, answered.get(one.comparison.id, Share(0, 0))) for one in comparisons.look(session, access, ids)]
    return sorted(found, key=lambda one: 1.0 if one.answered.value is None else one.answered.value)


def proposals(session: Session, access: Access, answers: Sequence[Given]) -> list[Proposal]:
    """The newest complete comparisons about which two people or more say the same, or that somebody decided."""
    clear: dict[int, str] = {}
    for id, said in by_comparison(answers).items():
        choice = consensus(said)
        decided = any(answer.adjudicates for answer in said)
        agreed = len({answer.person for answer in said}) > 1 and all(answer.choice == choice for answer in said)
        if choice is not None and (decided or agreed):
            clear[id] = choice
    looked = comparisons.look(session, access, _not_gold(session, list(clear))[:PROPOSED])
    return [Proposal(one, WORDS[clear[one.comparison.id]]) for one in looked]


def expected_of(session: Session, access: Access, looked: Looked) -> str | None:
    """What the answers to a comparison come to, where it can become gold: it has its answers and is not gold yet."""
    can = looked.comparison.status == "complete" and looked.comparison.source not in comparisons.OF_OTHERS
    if not can or looked.comparison.measures or not _not_gold(session, [looked.comparison.id]):
        return None
    said = given.newest(session, access.project, comparison=looked.comparison.id)
    return consensus([answer for answer in said if answer.counts])


def make(session: Session, access: Access, looked: Looked) -> Comparison:
    """Make the comparison's two responses gold, with what the answers come to as the known one; else Conflict."""
    expected = expected_of(session, access, looked)
    if expected is None:
        raise Conflict(
            _("This cannot become a gold comparison: it waits for answers, they come to nothing, or it is one already.")
        )
    verdict, preferred = ("preferred", expected) if expected in "ab" else (expected, None)
    return golds.make(session, looked.comparison, verdict, preferred)


def end(session: Session, looked: Looked) -> None:
    """Make a gold comparison an ordinary past one; NotFound for any other."""
    if looked.comparison.purpose != "gold":
        raise NotFound(_("There is no gold comparison with this number here."))
    golds.end(session, looked.comparison)


def _not_gold(session: Session, ids: Sequence[int]) -> list[int]:
    """Those of complete comparisons whose two responses are not gold, in their order."""
    gold = (
        select(Comparison.response_a_id, Comparison.response_b_id)
        .where(Comparison.purpose == "gold", Comparison.status != "withdrawn")
        .subquery()
    )
    first, second = (
        (func.least(table.response_a_id, table.response_b_id), func.greatest(table.response_a_id, table.response_b_id))
        for table in (Comparison, gold.c)
    )
    found = set(
        session.scalars(
            select(Comparison.id)
            .outerjoin(gold, (first[0] == second[0]) & (first[1] == second[1]))
            .where(Comparison.id.in_(ids), Comparison.status == "complete", gold.c.response_a_id.is_(None))
        )
    )
    return [id for id in ids if id in found]
