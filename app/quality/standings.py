"""What admins decide about an annotator: pause their labelling, leave their answers out of snapshots; both end."""

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.access import Access
from app.errors import BadInput, NotFound
from app.labeling import rounds
from app.languages import _
from app.messages import check_storable
from app.models import Answer, Standing, User, now

LONGEST_REASON = 500
DECISIONS = {"pause": "paused", "resume": "resumed", "exclude": "excluded", "include": "included"}
"""Each with what the audit log calls it; the reason is about a person and stays out of it."""
AFTER_ROUND = {"let-in": rounds.let_in, "practice": rounds.ask_again}
"""What becomes of somebody who fell short in the qualification round."""


def find_annotator(session: Session, access: Access, person_id: int) -> User:
    """Somebody who has answered in this project; NotFound for everybody else."""
    answered = exists().where(Answer.user_id == User.id, Answer.project_id == access.project.id)
    person = session.scalar(select(User).where(User.id == person_id, answered))
    if person is None:
        raise NotFound(_("Nobody with this number has answered anything in this project."))
    return person


def of_project(session: Session, access: Access) -> dict[int, Standing]:
    """What was decided about whom, by their id."""
    found = session.scalars(select(Standing).where(Standing.project_id == access.project.id))
    return {standing.user_id: standing for standing in found}


def decider(session: Session, standing: Standing | None) -> User | None:
    """Who decided last, where somebody did."""
    return None if standing is None else session.get(User, standing.decided_by_id)


def decide(session: Session, access: Access, person: User, decision: str, reason: str) -> None:
    """Pause or resume somebody, exclude or include their answers; the former of each need a reason, else BadInput.

    So does letting somebody in who fell short, or letting them practise again; Conflict where that is not open.
    Excluding changes no answer and no snapshot that was taken; including makes the next one whole again.
    """
    if decision in AFTER_ROUND:
        AFTER_ROUND[decision](session, access, person, _checked(reason))
        return
    if decision not in DECISIONS:
        raise NotFound
    begins = decision in ("pause", "exclude")
    column = "paused" if decision in ("pause", "resume") else "excluded"
    changed = {
        f"{column}_at": now() if begins else None,
        f"{column}_because": _checked(reason) if begins else None,
        "decided_by_id": access.person.id,
    }
    session.execute(
        insert(Standing)
        .values(project_id=access.project.id, user_id=person.id, **changed)
        .on_conflict_do_update(index_elements=["project_id", "user_id"], set_=changed)
    )
    audit.record(session, DECISIONS[decision], about=person, project=access.project)


def _checked(reason: str) -> str:
    reason = " ".join(check_storable(reason, "reason").split())
    if not reason:
        raise BadInput(_("Say why in a few words: the annotator and later readers of the data see it."))
    if len(reason) > LONGEST_REASON:
        raise BadInput(_("Keep the reason to {most} characters or fewer.").format(most=LONGEST_REASON))
    return reason
