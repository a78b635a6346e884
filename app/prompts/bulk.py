"""What is done to many prompts at once, and undone: the audit log keeps what was there before.

Which prompts is a condition on their rows, so that a million are changed by one statement. The audit log names them by
spans of numbers (`17`, `19-400`): prompts that came together mostly stand side by side.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    cast,
    exists,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.access import Access
from app.errors import BadInput, Conflict, NotFound
from app.languages import _, ngettext, number
from app.messages import check_text
from app.models import ORDINARY, Assignment, AuditEvent, Comparison, Project, Prompt, now
from app.prompts.prompts import HIGHEST_PRIORITY
from app.runs import due

LONGEST_TAG = 100
Which = ColumnElement[bool]
"""Which of a project's prompts: a condition on `Prompt`."""
Done = AuditEvent | None
"""What was done, to be undone; None where there was nothing to do."""


def withdraw(session: Session, project: Project, which: Which) -> Done:
    """Take prompts out of use, and their waiting comparisons that nobody holds; what was answered stays."""
    gone = _changed(project, which & Prompt.withdrawn_at.is_(None), withdrawn_at=now())
    held = exists().where(Assignment.comparison_id == Comparison.id, Assignment.status == "leased")
    waiting = (Comparison.prompt_id.in_(select(gone.c.id)), Comparison.status == "waiting", ~held)
    pairs = update(Comparison).where(*waiting).values(status="withdrawn").cte()
    return _used(session, project, _told(session, project, "prompts_withdrawn", gone, pairs))


def restore(session: Session, project: Project, which: Which) -> Done:
    """Bring withdrawn prompts back into use, with the comparisons that came with them ready-made."""
    back = _changed(project, which & Prompt.withdrawn_at.is_not(None), withdrawn_at=None)
    ready_made = (
        Comparison.prompt_id.in_(select(back.c.id)),
        Comparison.status == "withdrawn",
        Comparison.source == "import",
        ORDINARY,
    )
    pairs = update(Comparison).where(*ready_made).values(status="waiting").cte()
    return _used(session, project, _told(session, project, "prompts_restored", back, pairs))


def tag(session: Session, project: Project, which: Which, name: str) -> Done:
    """Give prompts a tag, where they lack it."""
    name = _checked_tag(name)
    longer = func.array_append(Prompt.tags, name)
    changed = _changed(project, which & ~Prompt.tags.contains([name]), tags=longer)
    return _told(session, project, "prompts_tagged", changed, tag=name)


def untag(session: Session, project: Project, which: Which, name: str) -> Done:
    """Take a tag off prompts, where they have it."""
    name = _checked_tag(name)
    shorter = func.array_remove(Prompt.tags, name)
    changed = _changed(project, which & Prompt.tags.contains([name]), tags=shorter)
    return _told(session, project, "prompts_untagged", changed, tag=name)


def prioritise(session: Session, project: Project, which: Which, to: int) -> Done:
    """Give prompts this priority; pairs that wait already keep theirs."""
    if abs(to) > HIGHEST_PRIORITY:
        raise BadInput(
            _("The priority must be a whole number up to {highest_priority:,}; higher ones come first.").format(
                highest_priority=HIGHEST_PRIORITY
            )
        )
    each = select(Prompt.id, literal(to, Integer).label("to")).where(which)
    return _reprioritised(session, project, each, priority=to)


def _reprioritised(session: Session, project: Project, wanted: Select[int, int], **details: int) -> Done:
    """Give each prompt the priority that `wanted` has (`id`, `to`); what each had before is kept."""
    each = wanted.subquery()
    differ = (Prompt.project_id == project.id, Prompt.priority != each.c.to)
    before = select(Prompt.id, Prompt.priority.label("before"), each.c.to).join(each, each.c.id == Prompt.id)
    was = before.where(*differ).with_for_update(of=Prompt).cte()
    changed = update(Prompt).where(Prompt.id == was.c.id).values(priority=was.c.to)
    changes = changed.returning(Prompt.id, was.c.before).cte()
    return _told(session, project, "prompts_prioritised", changes, **details)


def _changed(project: Project, which: Which, **values: Any) -> CTE:
    """The change of a project's prompts as part of a statement, with the `id` of each."""
    return update(Prompt).where(Prompt.project_id == project.id, which).values(values).returning(Prompt.id).cte()


def _told(session: Session, project: Project, action: str, changed: CTE, *also: CTE, **details: Any) -> Done:
    """Carry a change out, `also` with it, and write down which prompts it changed and what they had `before`.

    Rows that the session holds already are not read again.
    """
    had = [changed.c.before] if "before" in changed.c else []
    spans = func.unnest(func.range_agg(func.int8range(changed.c.id, changed.c.id, "[]"))).label("span")
    found = select(spans, *had).group_by(*had).subquery()
    first, last = func.lower(found.c.span), func.upper(found.c.span) - 1
    rows = session.execute(select(first, last, *found.c[1:]).order_by(first).add_cte(*also)).all()
    if not rows:
        return None
    if had:
        details["before"] = [row[2] for row in rows]
    done = audit.record(session, action, project=project, prompts=[_span(*row[:2]) for row in rows], **details)
    session.flush()
    return done


def _used(session: Session, project: Project, done: Done) -> Done:
    """The same; pairs may be needed where prompts came into use or went out of it."""
    if done:
        due.stock_may_be_low(session, project)
    return done


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _ends(done: AuditEvent) -> list[tuple[int, int]]:
    """The first and last prompt of each span."""
    spans = (str(span).partition("-") for span in done.details["prompts"])
    return [(int(first), int(last or first)) for first, _dash, last in spans]


def _ids(done: AuditEvent, column: Sequence[int] = ()) -> Select[Any]:
    """The `id` of every prompt that was changed, each with what stands beside its span as `to`."""
    lists = [*zip(*_ends(done), strict=True), column] if column else [*zip(*_ends(done), strict=True)]
    arrays = (cast(list(one), ARRAY(BigInteger)) for one in lists)
    spans = func.unnest(*arrays).table_valued(*("first", "last", "to")[: len(lists)]).render_derived()
    return select(func.generate_series(spans.c.first, spans.c.last).label("id"), *spans.c[2:])


def _these(done: AuditEvent) -> Which:
    return Prompt.id.in_(_ids(done))


UNDO: dict[str, Callable[[Session, Project, AuditEvent], Done]] = {
    "prompts_withdrawn": lambda session, project, done: restore(session, project, _these(done)),
    "prompts_restored": lambda session, project, done: withdraw(session, project, _these(done)),
    "prompts_tagged": lambda session, project, done: untag(session, project, _these(done), done.details["tag"]),
    "prompts_untagged": lambda session, project, done: tag(session, project, _these(done), done.details["tag"]),
    "prompts_prioritised": lambda session, project, done: _reprioritised(
        session, project, _ids(done, done.details["before"])
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
    undone = UNDO[done.action](session, access.project, done)
    if undone is None:
        raise Conflict(_("This was undone already, or changed since."))
    return undone


def sentence(done: AuditEvent) -> str:
    """What was done, for the line with the button that undoes it."""
    n, name = sum(last - first + 1 for first, last in _ends(done)), done.details.get("tag", "")
    said = {
        "prompts_withdrawn": ngettext("{n} prompt was withdrawn.", "{n} prompts were withdrawn.", n),
        "prompts_restored": ngettext("{n} prompt is in use again.", "{n} prompts are in use again.", n),
        "prompts_tagged": ngettext("{n} prompt has the tag {tag} now.", "{n} prompts have the tag {tag} now.", n),
        "prompts_untagged": ngettext("{n} prompt lost the tag {tag}.", "{n} prompts lost the tag {tag}.", n),
        "prompts_prioritised": ngettext(
            "{n} prompt has another priority now.", "{n} prompts have another priority now.", n
        ),
    }
    return said[done.action].format(n=number(n), tag=name)


def _checked_tag(name: str) -> str:
    name = check_text(name, "A tag").strip()
    if len(name) > LONGEST_TAG:
        raise BadInput(_("Choose a tag of at most {longest} characters.").format(longest=LONGEST_TAG))
    return name
