"""Answers that surprised the reward model, put before people again: a slip, or something it has yet to learn?"""

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import FINISHED, Comparison, Project, Prompt, Run
from app.models.policies import Labeling
from app.runs import live


def ask_again(session: Session, run_id: int) -> None:
    """Put up once more what surprised the `reward` run that ended with this run, as many as the project wants.

    A chain's are put up when the chain has ended: behind the pairs of the policy it promoted, which come next. To do
    it twice is the same as once.
    """
    run = _reward_run_that_ended_with(session, session.get_one(Run, run_id))
    if run is None or "asked_again" in run.result:
        return
    project = session.get_one(Project, run.project_id)
    wanted = 0 if project.archived_at is not None else Labeling.from_json(project.labeling).repeats
    added = 0
    for comparison in _worth_asking(session, run):
        if added == wanted:
            break
        added += _put_up(session, comparison, run.id)
    run.result = {**run.result, "asked_again": added}
    if added:
        run.message += f" People are asked again about surprising answers: {added}."
        live.announce(session, project.id)


def ask_once_more(session: Session, comparison: Comparison) -> None:
    """Put the two responses of a comparison before people again because somebody wants that; Conflict says why not."""
    if comparison.measures:
        raise Conflict("This comparison measures people and teaches nothing, so nobody is asked about it again.")
    if comparison.status == "waiting":
        raise Conflict("This comparison still waits for answers, so people see it anyway. Come back when it has them.")
    if comparison.source in ("chat", "feedback"):
        raise Conflict("What people chose in a chat or a product is theirs alone, so nobody else is asked about it.")
    if comparison.prompt.withdrawn_at is not None:
        raise Conflict("Its prompt was withdrawn, so nobody is asked about it any more.")
    if not _put_up(session, comparison, None):
        raise Conflict("People were asked about these two responses again already. Look at what they said then.")
    live.announce(session, comparison.project_id)


def _reward_run_that_ended_with(session: Session, run: Run) -> Run | None:
    """The run itself or, at a chain's end, the chain's first step; None while more is to come."""
    found = select(Run).where(Run.kind == "reward", Run.status == "succeeded").with_for_update()
    if run.parent_id is None:
        return session.scalar(found.where(Run.id == run.id))
    chain = session.get_one(Run, run.parent_id, populate_existing=True)
    return session.scalar(found.where(Run.parent_id == chain.id)) if chain.status in FINISHED else None


def _worth_asking(session: Session, run: Run) -> list[Comparison]:
    """The comparisons that the run's result lists, the most surprising first, but for those to be left alone.

    What people chose in a chat or a product is theirs alone, and what still waits gets its answers anyway.
    """
    surprising = [int(one["comparison"]) for one in run.result.get("surprising", [])]
    query = (
        select(Comparison)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .where(
            Comparison.id.in_(surprising),
            Comparison.project_id == run.project_id,
            Comparison.status != "waiting",
            Comparison.source.not_in(("chat", "feedback")),
            Prompt.withdrawn_at.is_(None),
        )
    )
    return sorted(session.scalars(query), key=lambda one: surprising.index(one.id))


def _put_up(session: Session, comparison: Comparison, run_id: int | None) -> bool:
    """Make the repeat of a comparison unless these two responses were asked about again before; an index knows."""
    made = session.scalar(
        insert(Comparison)
        .values(
            project_id=comparison.project_id,
            prompt_id=comparison.prompt_id,
            response_a_id=comparison.response_a_id,
            response_b_id=comparison.response_b_id,
            purpose="repeat",
            source=comparison.source,
            priority=comparison.priority,
            needs=comparison.needs,
            run_id=run_id,
        )
        .on_conflict_do_nothing(
            index_elements=[
                func.least(Comparison.response_a_id, Comparison.response_b_id),
                func.greatest(Comparison.response_a_id, Comparison.response_b_id),
            ],
            index_where=text("purpose = 'repeat' AND status <> 'withdrawn' AND asks_id IS NULL"),
        )
        .returning(Comparison.id)
    )
    return made is not None
