"""The pairs of a trial: one answer by the candidate and one by what is in use, to one prompt, for people to compare."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import select

from app import engine
from app.checkpoints.trials import PRIORITY
from app.database import open_session
from app.engine import Draw
from app.errors import BadInput, Unavailable
from app.labeling import comparisons
from app.models import Checkpoint, Comparison, Project, Prompt, Run, Trial
from app.models.policies import Sampling
from app.runs import live, steps
from app.runs.progress import Failed, PutBack
from workers.pairs import AT_ONCE, TRIES, WAIT

SEEDS = 2**31


@dataclass(frozen=True)
class Question:
    """One prompt for both sides."""

    prompt_id: int
    messages: list[dict[str, Any]]


@dataclass(frozen=True)
class Sides:
    """Who answers, and how: None is the base model."""

    base_model: str
    candidate: Checkpoint
    opponent: Checkpoint | None
    sampling: Sampling


def draw(run_id: int, check: Callable[[], None]) -> None:
    """Write the pairs of the run's trial. `check` is asked often and raises to end the work.

    Taken up again, it goes on with the prompts that have no pair yet.
    """
    asyncio.run(_draw(run_id, check))
    with open_session() as session:
        run = session.get_one(Run, run_id)
        steps.succeeded(session, run, {}, f"{run.done} pairs wait for people's blind answers.")


async def _draw(run_id: int, check: Callable[[], None]) -> None:
    sides, questions, wanted = _begin(run_id)
    made = 0
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=AT_ONCE)) as client:
        while questions and made < wanted:
            check()
            some, questions = questions[: min(AT_ONCE, wanted - made)], questions[AT_ONCE:]
            answered = await asyncio.gather(*(_ask(client, sides, one) for one in some))
            for question, pair in zip(some, answered, strict=True):
                if pair is not None:
                    _store(run_id, sides, question, pair)
                    made += 1


def _begin(run_id: int) -> tuple[Sides, list[Question], int]:
    """Both sides, the prompts without a pair (held-out ones first, because nobody trained on them), and how many."""
    with open_session() as session:
        run = session.get_one(Run, run_id)
        trial = session.scalars(select(Trial).where(Trial.run_id == run_id)).one()
        project = session.get_one(Project, run.project_id)
        try:
            engine.url_for(project.base_model)
        except BadInput as problem:
            raise Failed(problem.message) from problem
        opponent = session.get(Checkpoint, trial.opponent_id) if trial.opponent_id else None
        candidate = session.get_one(Checkpoint, trial.candidate_id)
        sides = Sides(project.base_model, candidate, opponent, Sampling.from_json(project.sampling))
        taken = select(Comparison.prompt_id).where(Comparison.run_id == run_id)
        prompts = session.scalars(
            select(Prompt)
            .where(Prompt.project_id == project.id, Prompt.withdrawn_at.is_(None), Prompt.id.not_in(taken))
            .order_by(Prompt.holdout.desc(), Prompt.sampled.desc(), Prompt.times_sampled, Prompt.id)
            .limit(trial.wanted * 3)
        )
        run.total = trial.wanted
        return sides, [Question(one.id, one.messages) for one in prompts], trial.wanted - run.done


Written = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
"""The engine's answer, its only choice, and how it was drawn."""


async def _ask(client: httpx.AsyncClient, sides: Sides, question: Question) -> tuple[Written, Written] | None:
    """Two different, non-empty answers; None where the two sides say the same in a few tries, or cannot read it."""
    for _attempt in range(TRIES):
        try:
            ours, theirs = await asyncio.gather(
                _answer(client, sides, sides.candidate, question),
                _answer(client, sides, sides.opponent, question),
            )
        except Unavailable as problem:
            raise PutBack(f"{problem.message} This run tries again every {WAIT} seconds.", WAIT) from problem
        except BadInput as problem:
            if problem.extra.get("code") == "context_length_exceeded":
                return None
            raise Failed(f"The language model refused: {problem.message}") from problem
        texts = [written[1]["message"]["content"].strip() for written in (ours, theirs)]
        if all(text and "\x00" not in text for text in texts) and texts[0] != texts[1]:
            return ours, theirs
    return None


async def _answer(client: httpx.AsyncClient, sides: Sides, policy: Checkpoint | None, question: Question) -> Written:
    # Each side draws by itself: with one seed, policies that are close would often say the same and be left out.
    sampling, seed = sides.sampling, secrets.randbelow(SEEDS)
    drawn = Draw(sampling.temperature, sampling.top_p, sampling.max_tokens, seed)
    more = {"return_token_ids": True, "return_features": True}
    body = engine.request_body(sides.base_model, policy, question.messages, drawn, **more)
    answer = await engine.complete_async(client, sides.base_model, body)
    how = {"temperature": drawn.temperature, "top_p": drawn.top_p, "max_tokens": drawn.max_tokens, "seed": seed}
    return answer, answer["choices"][0], how


def _store(run_id: int, sides: Sides, question: Question, pair: tuple[Written, Written]) -> None:
    written = list(zip((sides.candidate, sides.opponent), pair, strict=True))
    # Which response has the lower id must tell nobody who wrote it.
    if secrets.randbelow(2):
        written.reverse()
    with open_session() as session:
        run = session.get_one(Run, run_id)
        project, prompt = session.get_one(Project, run.project_id), session.get_one(Prompt, question.prompt_id)
        a, b = (
            comparisons.add_response(
                session,
                prompt,
                choice["message"]["content"],
                source="evaluation",
                checkpoint=policy,
                base_model=sides.base_model,
                sampling=how,
                prompt_token_ids=answer.get("prompt_token_ids"),
                token_ids=choice.get("token_ids"),
                finish_reason=choice.get("finish_reason"),
                features=engine.decoded(choice["features"]) if answer.get("features_from") else None,
                features_from=answer.get("features_from"),
            )
            for policy, (answer, choice, how) in written
        )
        comparisons.add_comparison(
            session,
            project,
            prompt,
            a,
            b,
            source="evaluation",
            purpose="evaluation",
            priority=PRIORITY,
            run_id=run_id,
        )
        run.done += 1
        run.message = f"{run.done} of {run.total} pairs are written."
        live.announce(session, project.id)
