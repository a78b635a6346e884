"""What is done to many prompts at once, and undone: the audit log keeps what was there before."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.access import Access
from app.errors import BadInput, Conflict, NotFound
from app.languages import _, ngettext
from app.messages import check_text
from app.models import ORDINARY, Assignment, AuditEvent, Comparison, Project, Prompt, now
from app.prompts.prompts import HIGHEST_PRIORITY
from app.runs import due

LONGEST_TAG = 100
Done = AuditEvent | None
"""What was done, to be undone; None where there was nothing to do."""


def withdraw(session: Session, project: Project, ids: Sequence[int]) -> Done:
    """Take prompts out of use, and their waiting comparisons that nobody holds; what was answered stays."""
    chosen = (Prompt.project_id == project.id, Prompt.id.in_(ids), Prompt.withdrawn_at.is_(None))
    found = session.scalars(update(Prompt).where(*chosen).values(withdrawn_at=now()).returning(Prompt.id)).all()
    held = exists().where(Assignment.comparison_id == Comparison.id, Assignment.status == "leased")
    waiting = (Comparison.prompt_id.in_(found), Comparison.status == "waiting", ~held)
    session.execute(update(Comparison).where(*waiting).values(status="withdrawn"))
    if found:
        due.stock_may_be_low(session, project)
    return _told(session, project, "prompts_withdrawn", found)


def restore(session: Session, project: Project, ids: Sequence[int]) -> Done:
    """Bring withdrawn prompts back into use, with the comparisons that came with them ready-made."""
    chosen = (Prompt.project_id == project.id, Prompt.id.in_(ids), Prompt.withdrawn_at.is_not(None))
    found = session.scalars(update(Prompt).where(*chosen).values(withdrawn_at=None).returning(Prompt.id)).all()
    ready_made = (
        Comparison.prompt_id.in_(found),
        Comparison.status == "withdrawn",
        Comparison.source == "import",
        ORDINARY,
    )
    session.execute(update(Comparison).where(*ready_made).values(status="waiting"))
    if found:
        due.stock_may_be_low(session, project)
    return _told(session, project, "prompts_restored", found)


def tag(session: Session, project: Project, ids: Sequence[int], name: str) -> Done:
    """Give prompts a tag, where they lack it."""
    name = _checked_tag(name)
    chosen = (Prompt.project_id == project.id, Prompt.id.in_(ids), ~Prompt.tags.contains([name]))
    longer = func.array_append(Prompt.tags, name)
    found = session.scalars(update(Prompt).where(*chosen).values(tags=longer).returning(Prompt.id)).all()
    return _told(session, project, "prompts_tagged", found, tag=name)


def untag(session: Session, project: Project, ids: Sequence[int], name: str) -> Done:
    """Take a tag off prompts, where they have it."""
    name = _checked_tag(name)
    chosen = (Prompt.project_id == project.id, Prompt.id.in_(ids), Prompt.tags.contains([name]))
    shorter = func.array_remove(Prompt.tags, name)
    found = session.scalars(update(Prompt).where(*chosen).values(tags=shorter).returning(Prompt.id)).all()
    return _told(session, project, "prompts_untagged", found, tag=name)


def prioritise(session: Session, project: Project, ids: Sequence[int], to: int | dict[int, int]) -> Done:
    """Give prompts this priority, or each its own; pairs that wait already keep theirs."""
    each = to if isinstance(to, dict) else dict.fromkeys(ids, to)
    if any(abs(priority) > HIGHEST_PRIORITY for priority in each.values()):
        raise BadInput(
            _("The priority must be a whole number up to {highest_priority:,}; higher ones come first.").format(
                highest_priority=HIGHEST_PRIORITY
            )
        )
    chosen = select(Prompt).where(Prompt.project_id == project.id, Prompt.id.in_(ids)).order_by(Prompt.id)
    before = {}
    for prompt in session.scalars(chosen.with_for_update()):
        if prompt.priority != each[prompt.id]:
            before[prompt.id] = prompt.priority
            prompt.priority = each[prompt.id]
    return _told(session, project, "prompts_prioritised", list(before), before=list(before.values()))


UNDO: dict[str, Callable[[Session, Project, list[int], dict[str, Any]], Done]] = {
    "prompts_withdrawn": lambda session, project, ids, _told: restore(session, project, ids),
    "prompts_restored": lambda session, project, ids, _told: withdraw(session, project, ids),
    "prompts_tagged": lambda session, project, ids, told: untag(session, project, ids, told["tag"]),
    "prompts_untagged": lambda session, project, ids, told: tag(session, project, ids, told["tag"]),
    "prompts_prioritised": lambda session, project, ids, told: prioritise(
        session, project, ids, dict(zip(ids, told["before"], strict=True))
    ),
}


def find(session: Session, access: Access, event_id: int) -> AuditEvent:
    """What this person did to prompts of the project; raises NotFound for everything else."""
    done = session.get(AuditEvent, event_id)
    mine = done is not None and (done.project_id, done.person_id) == (access.project.id, access.person.id)
    if done is None or not mine or done.action not in UNDO:
        raise NotFound(_("There is nothing of yours to undo here."))
    return done


def undo(session: Session, access: Access, event_id: int) -> Done:
    """Put prompts back to what they were; raises Conflict where nothing of it is left to undo."""
    done = find(session, access, event_id)
    undone = UNDO[done.action](session, access.project, done.details["prompts"], done.details)
    if undone is None:
        raise Conflict(_("This was undone already, or changed since."))
    return undone


def sentence(done: AuditEvent) -> str:
    """What was done, for the line with the button that undoes it."""
    n, name = len(done.details["prompts"]), done.details.get("tag", "")
    said = {
        "prompts_withdrawn": ngettext("{n} prompt was withdrawn.", "{n} prompts were withdrawn.", n),
        "prompts_restored": ngettext("{n} prompt is in use again.", "{n} prompts are in use again.", n),
        "prompts_tagged": ngettext("{n} prompt has the tag {tag} now.", "{n} prompts have the tag {tag} now.", n),
        "prompts_untagged": ngettext("{n} prompt lost the tag {tag}.", "{n} prompts lost the tag {tag}.", n),
        "prompts_prioritised": ngettext(
            "{n} prompt has another priority now.", "{n} prompts have another priority now.", n
        ),
    }
    return said[done.action].format(n=n, tag=name)


def _told(session: Session, project: Project, action: str, found: Sequence[int], **details: Any) -> Done:
    if not found:
        return None
    done = audit.record(session, action, project=project, prompts=list(found), **details)
    session.flush()
    return done


def _checked_tag(name: str) -> str:
    name = check_text(name, "A tag").strip()
    if len(name) > LONGEST_TAG:
        raise BadInput(_("Choose a tag of at most {longest} characters.").format(longest=LONGEST_TAG))
    return name
