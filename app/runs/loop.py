"""The loop of a project in figures: pairs → labels → reward model → policy → pairs, and what happens next."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.checkpoints import checkpoints
from app.languages import _
from app.live_head import heads
from app.models import DECISIVE, Answer, Assignment, Checkpoint, Comparison, Project, Prompt, Run, now
from app.models.policies import Retraining, Sampling
from app.recorded import recorded
from app.runs import due, steps

UNDER_WAY = ("queued", "running")


@dataclass(frozen=True)
class Loop:
    """What the drawing shows. `alive` holds the arrows in use: label, train, ppo, write."""

    waiting: int
    stock: int
    newest_pair: datetime | None
    answers: int
    new: int
    newest_answer: datetime | None
    reward: Checkpoint | None
    policy: Checkpoint | None
    under_way: list[Run]
    alive: frozenset[str]
    sentence: str
    estimate: str
    """What the live head says of the answers so far."""
    paused: datetime | None


def of(session: Session, project: Project) -> Loop:
    """The state of the project's loop now."""
    waiting = session.execute(
        select(func.count(), func.max(Comparison.created_at)).where(due.waiting_for_training(project.id))
    ).one()
    answers = session.execute(
        select(func.count(), func.max(Answer.created_at)).where(
            Answer.project_id == project.id, Answer.verdict.in_(DECISIVE), ~Answer.measures
        )
    ).one()
    under_way = list(
        session.scalars(
            select(Run)
            .where(Run.project_id == project.id, Run.status.in_(UNDER_WAY), Run.kind.not_in(("import", "export")))
            .order_by(Run.id)
        )
    )
    new = due.new_answers(session, project.id)
    return Loop(
        waiting=waiting[0],
        stock=Sampling.from_json(project.sampling).stock,
        newest_pair=waiting[1],
        answers=answers[0],
        new=new,
        newest_answer=answers[1],
        reward=checkpoints.promoted(session, project.id, "reward"),
        policy=checkpoints.promoted(session, project.id, "policy"),
        under_way=under_way,
        alive=_alive(session, project, under_way),
        sentence=_next(session, project, under_way, waiting[0], answers[0], new),
        estimate=heads.sentence(heads.find(session, project.id)),
        paused=project.paused_at,
    )


def _alive(session: Session, project: Project, under_way: list[Run]) -> frozenset[str]:
    arrows = {"reward": "train", "ppo": "ppo", "evaluate": "ppo", "sample": "write"}
    alive = {arrows[run.kind] for run in under_way if run.kind in arrows and run.status == "running"}
    lease = (Assignment.project_id == project.id) & (Assignment.status == "leased") & (Assignment.leased_until > now())
    if session.scalar(select(Assignment.id).where(lease).limit(1)) is not None:
        alive.add("label")
    return frozenset(alive)


def _next(session: Session, project: Project, under_way: list[Run], waiting: int, answers: int, new: int) -> str:
    """One sentence: what is happening, or what happens next and why it waits."""
    if project.archived_at is not None:
        return _("This project is archived: nothing happens until it is brought back.")
    training = [run for run in under_way if run.kind != "chain"]
    if training:
        run = next((run for run in training if run.status == "running"), training[0])
        return f"{_upper(_(steps.NAMES[run.kind]))}: {recorded(run.message)}"
    if project.paused_at is not None:
        return _("Everything is paused: nothing starts by itself until an operator lets it go on.")
    if (stopped := _stopped_chain(session, project)) is not None and new == 0:
        return recorded(stopped)
    if answers == 0:
        return _nothing_yet(session, project, waiting)
    return _policy_sentence(Retraining.from_json(project.retraining), new)


def _nothing_yet(session: Session, project: Project, waiting: int) -> str:
    if waiting:
        return _("Training waits for labels: pick the better answer of some pairs first.")
    if session.scalar(select(Prompt.id).where(Prompt.project_id == project.id).limit(1)) is None:
        return _("Everything waits for prompts: bring some in, and the model writes two answers to each.")
    return _("Labelling waits for pairs: start sampling, or look whether the language model is running.")


def _stopped_chain(session: Session, project: Project) -> str | None:
    """Why the newest chain ended early, if it did."""
    last = session.scalar(
        select(Run).where(Run.project_id == project.id, Run.kind == "chain").order_by(Run.id.desc()).limit(1)
    )
    return last.error if last is not None and last.status == "failed" else None


def _policy_sentence(policy: Retraining, new: int) -> str:
    moment = due.next_time(policy)
    at = f"{moment:%Y-%m-%d %H:%M %Z}" if moment is not None else ""
    left = policy.every - new if policy.every is not None else 0
    if policy.every is not None and left <= 0:
        return _quiet_sentence(policy)
    if policy.every is not None and at:
        return _("The next chain starts after {n} more answers, or at {time}.").format(n=left, time=at)
    if policy.every is not None:
        return _("The next chain starts after {n} more answers.").format(n=left)
    if at:
        return _("The next chain starts at {time}, if there are new answers by then.").format(time=at)
    if policy.cron:
        return _(
            "The next chain never starts: all its times lie in the quiet hours. Change one of them in the settings."
        )
    return _("Nothing starts by itself here: start the chain when you have labelled enough.")


def _quiet_sentence(policy: Retraining) -> str:
    """There are answers enough, and still no chain."""
    if policy.quiet is not None and policy.is_quiet(now()):
        end = policy.quiet.split("-")[1]
        sentence = _(
            "There are answers enough for the next chain; it waits for the end of the quiet hours at {time} ({zone})."
        )
        return sentence.format(time=end, zone=policy.timezone)
    return _("There are answers enough: the next chain starts within a minute.")


def _upper(words: str) -> str:
    return words[0].upper() + words[1:]
