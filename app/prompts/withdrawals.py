"""An import taken back: what it brought goes again, as long as nobody has worked with it."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.languages import _, ngettext
from app.models import FINISHED, Project, Prompt, Run, now
from app.prompts import bulk, prompts

# Comparisons that it brought, and those that were made of prompts that it brought.
TOUCHED = """
    select id from comparisons where run_id = :run
    union select comparisons.id from comparisons join prompts on prompts.id = prompt_id where prompts.run_id = :run
"""
ANSWERED = text(f"""
    select count(*) from answers
    where comparison_id in ({TOUCHED})
    and (user_id is not null or comparison_id not in (select id from comparisons where run_id = :run))
""")
HELD = text(f"""
    select count(*) from assignments
    where status = 'leased' and leased_until > now() and comparison_id in ({TOUCHED})
""")
IN_SNAPSHOT = text("""
    select count(*) from snapshot_answers join answers on answers.id = answer_id
    join comparisons on comparisons.id = comparison_id where run_id = :run
""")
DELETE_ANSWERS = text("delete from answers where comparison_id in (select id from comparisons where run_id = :run)")
DELETE_COMPARISONS = text("""
    with gone as (delete from comparisons where run_id = :run returning response_a_id, response_b_id)
    select response_a_id from gone union all select response_b_id from gone
""")
DELETE_RESPONSES = text("""
    delete from responses where id = any(:ids)
    and not exists (select from comparisons where response_a_id = responses.id or response_b_id = responses.id)
""")
DELETE_PROMPTS = text("""
    delete from prompts where run_id = :run
    and not exists (select from comparisons where prompt_id = prompts.id)
    and not exists (select from responses where prompt_id = prompts.id)
""")


def withdraw(session: Session, run: Run) -> None:
    """Delete what a finished import brought; prompts that the model has written pairs for only go out of use.

    Raises Conflict with a sentence where people have answered some of it, hold some of it, or a snapshot has it.
    """
    if run.status not in FINISHED:
        raise Conflict(_("This import is still under way. Cancel it first."))
    if run.result.get("withdrawn"):
        return
    project = session.get_one(Project, run.project_id)
    prompts.lock(session, project)
    _refuse_what_is_used(session, run)
    session.execute(DELETE_ANSWERS, {"run": run.id})
    responses = list(session.scalars(DELETE_COMPARISONS, {"run": run.id}))
    session.execute(DELETE_RESPONSES, {"ids": responses})
    session.execute(DELETE_PROMPTS, {"run": run.id})
    bulk.withdraw(session, project, Prompt.run_id == run.id)
    run.result = {**run.result, "withdrawn": now().isoformat()}


def _refuse_what_is_used(session: Session, run: Run) -> None:
    if answered := session.scalar(ANSWERED, {"run": run.id}):
        raise Conflict(
            ngettext(
                "{n} answer was given to what this import brought, so it stays. Withdraw single prompts instead.",
                "{n} answers were given to what this import brought, so it stays. Withdraw single prompts instead.",
                answered,
            ).format(n=f"{answered:,}")
        )
    if session.scalar(HELD, {"run": run.id}):
        raise Conflict(_("Somebody is judging a pair of this import. Try again in a quarter of an hour."))
    if session.scalar(IN_SNAPSHOT, {"run": run.id}):
        raise Conflict(_("A snapshot holds answers of this import, so it stays: a model may have learnt from them."))
