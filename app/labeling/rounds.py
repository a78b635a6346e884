"""The qualification round: gold comparisons before the first real pair, and what came of it.

It asks people, not simulated annotators, and nobody who has answered real pairs in the project. Where there are not
enough gold comparisons it is left out: a project that forgot to make them must not keep people from working.
"""

from dataclasses import replace
from typing import Literal

from sqlalchemy import delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.errors import Conflict
from app.labeling import golds
from app.languages import _
from app.models import ORDINARY, Answer, Assignment, Comparison, Project, Qualification, User, now
from app.models.policies import Labeling

Stage = Literal["free", "due", "open", "short"]


def of(session: Session, project: Project, person: User) -> Qualification | None:
    """Somebody's round in a project, where they began one."""
    mine = (Qualification.project_id == project.id, Qualification.user_id == person.id)
    return session.scalar(select(Qualification).where(*mine).execution_options(populate_existing=True))


def of_project(session: Session, project: Project) -> dict[int, Qualification]:
    """Everybody's round in a project, by their id."""
    found = session.scalars(select(Qualification).where(Qualification.project_id == project.id))
    return {round.user_id: round for round in found}


def stage(session: Session, access: Access) -> Stage:
    """Where a person stands: real pairs may follow (free), the round is due or open, or they fell short."""
    wanted = Labeling.from_json(access.project.labeling).qualification
    if wanted == 0 or access.person.kind != "person":
        return "free"
    round = of(session, access.project, access.person)
    if round is not None:
        return "free" if round.passed else "open" if round.ended_at is None else "short"
    begun = exists().where(
        Assignment.project_id == access.project.id,
        Assignment.user_id == access.person.id,
        Assignment.status == "answered",
        Comparison.id == Assignment.comparison_id,
        ORDINARY,
    )
    if session.scalar(select(begun)) or not golds.enough_for(session, access, wanted):
        return "free"
    return "due"


def begin(session: Session, access: Access) -> None:
    """Begin the round with what the project asks now; where one is there already, nothing changes."""
    _begin(session, access.project, access.person, {})


def give_up(session: Session, access: Access) -> None:
    """End an open round without a result, because no gold comparison is left for it."""
    mine = (Qualification.project_id == access.project.id, Qualification.user_id == access.person.id)
    session.execute(delete(Qualification).where(*mine, Qualification.ended_at.is_(None)))


def count(session: Session, access: Access) -> None:
    """Look after an answer whether it was the round's last one, and keep what came of it.

    Whatever was said counts as one of those asked, a skip too; what came of it does not change when answers do.
    """
    round = of(session, access.project, access.person)
    if round is None or round.ended_at is not None:
        return
    answered, right = _answered(session, access, round)
    if answered >= round.asked:
        round.ended_at, round.right = now(), right
        session.flush()


def place(session: Session, access: Access) -> tuple[int, int] | None:
    """Which pair of how many comes now in somebody's open round; None outside of one."""
    if stage(session, access) != "open" or (round := of(session, access.project, access.person)) is None:
        return None
    answered, _right = _answered(session, access, round)
    return answered + 1, round.asked


def told(session: Session, access: Access) -> None:
    """Note that the person has seen how their round went."""
    round = of(session, access.project, access.person)
    if round is not None and round.ended_at is not None:
        round.told_at = round.told_at or now()
        session.flush()


def let_in(session: Session, access: Access, person: User, because: str) -> None:
    """Let somebody who fell short have real pairs; Conflict where their round needs no decision."""
    round = _short(session, access, person)
    round.let_in_at = round.told_at = now()
    round.decided_because, round.decided_by_id = because, access.person.id


def ask_again(session: Session, access: Access, person: User, because: str) -> None:
    """Let somebody who fell short repeat the round with other gold comparisons; Conflict where too few are left."""
    _short(session, access, person)
    asked = Labeling.from_json(access.project.labeling).qualification
    theirs = replace(access, person=person)
    if not golds.enough_for(session, theirs, asked):
        raise Conflict(
            _(
                "Fewer than {n} gold comparisons are left that they have not seen. Make more of them first, or let "
                "them in."
            ).format(n=asked)
        )
    _begin(session, access.project, person, {"decided_because": because, "decided_by_id": access.person.id})


def _answered(session: Session, access: Access, round: Qualification) -> tuple[int, int]:
    """How many gold comparisons were answered in a round, and how many of them right."""
    answered, right = session.execute(
        select(func.count(), func.count().filter(golds.IS_RIGHT))
        .select_from(Answer)
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .join(Assignment, Assignment.id == Answer.assignment_id)
        .where(
            Assignment.project_id == access.project.id,
            Assignment.user_id == access.person.id,
            Assignment.claimed_at >= round.began_at,
            Comparison.purpose == "gold",
        )
    ).one()
    return answered, right


def _short(session: Session, access: Access, person: User) -> Qualification:
    round = of(session, access.project, person)
    if round is None or round.ended_at is None or round.passed:
        raise Conflict(_("Nobody has to decide about this person's practice pairs now. Look at their page again."))
    return round


def _begin(session: Session, project: Project, person: User, decided: dict[str, object]) -> None:
    policy = Labeling.from_json(project.labeling)
    fresh = {
        "asked": policy.qualification,
        "needed": golds.needed(policy.qualification, policy.qualification_share),
        "began_at": now(),
        "right": None,
        "ended_at": None,
        "told_at": None,
        "decided_because": None,
        "decided_by_id": None,
        **decided,
    }
    made = insert(Qualification).values(project_id=project.id, user_id=person.id, **fresh)
    who = ["project_id", "user_id"]
    again = made.on_conflict_do_update(index_elements=who, set_=fresh)
    session.execute(again if decided else made.on_conflict_do_nothing(index_elements=who))
