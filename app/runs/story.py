"""How a project learns, told with one real pair of its own: the choice, the score, the update, the new answer."""

from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app import engine
from app.checkpoints import checkpoints
from app.errors import DomainError
from app.models import Answer, Checkpoint, Comparison, Project, Prompt, Response, Run

LOOKED_AT = 300
"""Among so many of the newest choices the story looks for one whose prompt the new policy answered too."""


@dataclass(frozen=True)
class Choice:
    """A pair that people are done with, and what one of them said: nobody who reads this is asked about it again."""

    messages: list[dict[str, Any]]
    better: Response
    worse: Response
    strength: int

    @property
    def question(self) -> str:
        return str(self.messages[-1]["content"])


@dataclass(frozen=True)
class NewAnswer:
    """An answer from before the update and one from after it; `same` says whether to the question of the choice."""

    question: str
    before: str
    after: str
    same: bool


@dataclass(frozen=True)
class Story:
    """What there is to tell so far; the parts that are still to come are None."""

    choice: Choice | None
    reward: Checkpoint | None
    update: Run | None
    answer: NewAnswer | None


def of(session: Session, project: Project) -> Story:
    """The story as far as the project has come."""
    policy = checkpoints.promoted(session, project.id, "policy")
    choice = choice_of(session, project, policy)
    update = _update_of(session, project, policy)
    reward = checkpoints.promoted(session, project.id, "reward")
    return Story(choice, reward, update, _new_answer(session, policy, choice, update))


def _update_of(session: Session, project: Project, policy: Checkpoint | None) -> Run | None:
    """The PPO run that made the policy in use; without one the newest, whatever its gate said."""
    made_by = session.get(Run, policy.run_id) if policy is not None else None
    if made_by is not None and made_by.kind == "ppo":
        return made_by
    ended = select(Run).where(Run.project_id == project.id, Run.kind == "ppo", Run.status == "succeeded")
    return session.scalar(ended.order_by(Run.id.desc()).limit(1))


def choice_of(session: Session, project: Project, policy: Checkpoint | None) -> Choice | None:
    """The newest choice about a finished training pair; one whose prompt the policy in use answered too comes first."""
    newest = (
        select(Answer.comparison_id, Answer.preferred, Answer.strength, Answer.id, Comparison.prompt_id)
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .where(
            Answer.project_id == project.id,
            Answer.verdict == "preferred",
            Comparison.purpose == "train",
            Comparison.status == "complete",
        )
        .order_by(Answer.id.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    query = select(newest.c.comparison_id, newest.c.preferred, newest.c.strength).order_by(newest.c.id.desc()).limit(1)
    again = select(Response.id).where(
        Response.prompt_id == newest.c.prompt_id, Response.checkpoint_id == (policy.id if policy else None)
    )
    found = session.execute(query.where(again.exists())).first() if policy else None
    found = found or session.execute(query).first()
    if found is None:
        return None
    a, b = aliased(Response), aliased(Response)
    messages, first, second = session.execute(
        select(Prompt.messages, a, b)
        .select_from(Comparison)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(a, a.id == Comparison.response_a_id)
        .join(b, b.id == Comparison.response_b_id)
        .where(Comparison.id == found.comparison_id)
    ).one()
    better, worse = (first, second) if found.preferred == "a" else (second, first)
    return Choice(messages, better, worse, found.strength)


def scores(session: Session, project: Project) -> tuple[float, float] | None:
    """What the reward model in use gives the better and the other answer; None without a model, a pair or an engine."""
    reward = checkpoints.promoted(session, project.id, "reward")
    choice = choice_of(session, project, checkpoints.promoted(session, project.id, "policy"))
    if reward is None or choice is None:
        return None
    try:
        with httpx.Client() as client:
            better, worse = engine.scores(client, reward, choice.messages, [choice.better.text, choice.worse.text])
    except DomainError:
        return None
    return better, worse


def _new_answer(
    session: Session, policy: Checkpoint | None, choice: Choice | None, update: Run | None
) -> NewAnswer | None:
    if policy is not None and choice is not None:
        query = select(Response).where(
            Response.prompt_id == choice.better.prompt_id, Response.checkpoint_id == policy.id
        )
        found = session.scalar(query.order_by(Response.id.desc()).limit(1))
        if found is not None and choice.better.checkpoint_id != policy.id:
            return NewAnswer(choice.question, choice.better.text, found.text, same=True)
    changed = [one for one in (update.samples if update is not None else []) if one.get("before") != one.get("after")]
    if not changed:
        return None
    return NewAnswer(str(changed[0]["prompt"]), str(changed[0]["before"]), str(changed[0]["after"]), same=False)
