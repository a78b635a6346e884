"""Draw pairs of responses through the engine: the first is on the label page within seconds, the rest follow."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import engine
from app.checkpoints import checkpoints
from app.database import open_session
from app.engine import Draw
from app.errors import BadInput, Unavailable
from app.labeling import comparisons
from app.models import Checkpoint, Project, Prompt, Run, now
from app.models.policies import Sampling
from app.runs import facts, live, steps
from app.runs.due import missing_pairs
from app.runs.progress import Failed, PutBack

AT_ONCE = 8
"""Prompts under way at the same time, so that the engine answers them as one batch."""
TRIES = 3
"""How often a pair that is no pair (two equal responses, an empty one) is drawn before the prompt is passed over."""
WAIT = 5  # s until a run tries again while the engine is down
DROPS_IN_A_ROW = 24


@dataclass(frozen=True)
class Task:
    """One prompt to answer twice, by this policy (the base model without one)."""

    prompt_id: int
    messages: list[dict[str, Any]]
    times_sampled: int
    base_model: str
    policy: Checkpoint | None
    draw: Draw


@dataclass(frozen=True)
class Pair:
    """Two different responses, as the engine gave them, and how they were drawn."""

    choices: tuple[dict[str, Any], dict[str, Any]]
    prompt_token_ids: list[int] | None
    sampling: tuple[dict[str, Any], dict[str, Any]]
    features_from: str | None = None
    """What made the choices' features; None where the engine is another server, which has none."""


class Drawing:
    """One `sample` run under way."""

    def __init__(self, run_id: int, wanted: int | None, check: Callable[[], None]) -> None:
        self.run_id = run_id
        self.wanted = wanted
        self.check = check
        self.under_way: dict[asyncio.Task[Pair | None], Task] = {}
        self.drops = 0
        self.withdrawn: list[dict[str, str]] = []

    async def go_on(self) -> None:
        """Draw until the stock is full or the wanted number is made.

        Raises what `check` raises to end the work, PutBack while the engine is down, Failed when it refuses.
        """
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=AT_ONCE)) as client:
            try:
                while self._fill(client) or self.under_way:
                    self.check()
                    done, _ = await asyncio.wait(self.under_way, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                    for answered in done:
                        self._take_in(answered, self.under_way.pop(answered))
            finally:
                for answering in self.under_way:
                    answering.cancel()
                await asyncio.gather(*self.under_way, return_exceptions=True)

    def _fill(self, client: httpx.AsyncClient) -> bool:
        """Keep enough prompts under way; say whether any more are."""
        if self.drops >= DROPS_IN_A_ROW:
            return False
        with open_session() as session:
            run = session.get_one(Run, self.run_id)
            project = session.get_one(Project, run.project_id)
            missing = self._missing(session, run, project)
            tasks = self._next_tasks(session, project, min(AT_ONCE, missing) - len(self.under_way))
            run.total = run.done + missing
        for task in tasks:
            self.under_way[asyncio.create_task(draw_pair(client, task))] = task
        return bool(tasks)

    def _missing(self, session: Session, run: Run, project: Project) -> int:
        if self.wanted is not None:
            return max(0, self.wanted - run.done)
        return missing_pairs(session, project)

    def _next_tasks(self, session: Session, project: Project, n: int) -> list[Task]:
        """The least-used prompts that are not under way, with the policy in use now."""
        if n <= 0:
            return []
        policy = checkpoints.promoted(session, project.id, "policy")
        sampling = Sampling.from_json(project.sampling)
        prompts = session.scalars(
            select(Prompt)
            .where(
                Prompt.project_id == project.id,
                Prompt.sampled,
                Prompt.withdrawn_at.is_(None),
                Prompt.id.not_in([task.prompt_id for task in self.under_way.values()]),
            )
            .order_by(Prompt.times_sampled, Prompt.priority.desc(), Prompt.id)
            .limit(n)
        )
        return [
            Task(one.id, one.messages, one.times_sampled, project.base_model, policy, draw_for(one, sampling))
            for one in prompts
        ]

    def _take_in(self, answered: "asyncio.Task[Pair | None]", task: Task) -> None:
        """Store the pair at once, so that people see it; or pass the prompt over, or withdraw it."""
        try:
            pair = answered.result()
        except Unavailable as problem:
            raise PutBack(f"{problem.message} This run tries again every {WAIT} seconds.", WAIT) from problem
        except BadInput as problem:
            if problem.extra.get("code") != "context_length_exceeded":
                raise Failed(f"The language model refused: {problem.message}") from problem
            return self._withdraw(task, problem.message)
        if pair is None:
            self.drops += 1
            return self._pass_over(task)
        self.drops = 0
        return self._store(task, pair)

    def _store(self, task: Task, pair: Pair) -> None:
        with open_session() as session:
            # Promotions wait for this row, so that no pair of an older policy comes in behind one.
            project = session.scalars(
                select(Project)
                .join(Run, Run.project_id == Project.id)
                .where(Run.id == self.run_id)
                .with_for_update(read=True, of=Project)
            ).one()
            policy = checkpoints.promoted(session, project.id, "policy")
            if (policy.id if policy else None) != (task.policy.id if task.policy else None):
                return
            prompt = session.get_one(Prompt, task.prompt_id)
            prompt.times_sampled += 1
            a, b = (
                comparisons.add_response(
                    session,
                    prompt,
                    choice["message"]["content"],
                    source="sample",
                    checkpoint=policy,
                    base_model=task.base_model,
                    sampling=sampling,
                    prompt_token_ids=pair.prompt_token_ids,
                    token_ids=choice.get("token_ids"),
                    finish_reason=choice.get("finish_reason"),
                    features=engine.decoded(choice["features"]) if pair.features_from else None,
                    features_from=pair.features_from,
                )
                for choice, sampling in zip(pair.choices, pair.sampling, strict=True)
            )
            comparisons.add_comparison(session, project, prompt, a, b, source="sample", run_id=self.run_id)
            run = session.get_one(Run, self.run_id)
            run.done += 1
            run.message = f"{run.done} of {max(run.total, run.done)} pairs are written."
            live.announce(session, project.id)

    def _pass_over(self, task: Task) -> None:
        with open_session() as session:
            session.get_one(Prompt, task.prompt_id).times_sampled += 1
            run = session.get_one(Run, self.run_id)
            run.result = {**run.result, "dropped": run.result.get("dropped", 0) + 1}

    def _withdraw(self, task: Task, why: str) -> None:
        with open_session() as session:
            session.get_one(Prompt, task.prompt_id).withdrawn_at = now()
            run = session.get_one(Run, self.run_id)
            gone = [*run.result.get("withdrawn", []), {"prompt": str(task.prompt_id), "why": why}]
            run.result = {**run.result, "withdrawn": gone}
            live.announce(session, run.project_id)


def draw_for(prompt: Prompt, sampling: Sampling) -> Draw:
    """How the prompt's next pair is drawn: its seed follows from how often it was sampled, so no pair comes twice.

    A share of the pairs is drawn from the full distribution, which PPO draws from too.
    """
    digest = hashlib.sha256(f"{prompt.id} {prompt.times_sampled}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big") >> 1
    if int.from_bytes(digest[4:8], "big") / 2**32 < sampling.full_distribution:
        return Draw(temperature=1.0, top_p=1.0, max_tokens=sampling.max_tokens, seed=seed)
    return Draw(sampling.temperature, sampling.top_p, sampling.max_tokens, seed)


async def draw_pair(client: httpx.AsyncClient, task: Task) -> Pair | None:
    """Two different, non-empty responses; None where the model wrote none in a few tries.

    Raises Unavailable while the engine is down and BadInput with the engine's own sentence.
    """
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = []
    prompt_token_ids: list[int] | None = None
    seed = task.draw.seed or 0
    for attempt in range(TRIES):
        # Choice i of a request has the seed s + i.
        draw = replace(task.draw, seed=(seed + attempt * 2) % 2**31)
        more = {"n": 2, "return_token_ids": True, "return_features": True}
        body = engine.request_body(task.base_model, task.policy, task.messages, draw, **more)
        answer = await engine.complete_async(client, task.base_model, body)
        prompt_token_ids = answer.get("prompt_token_ids")
        for index, choice in enumerate(answer["choices"]):
            said = (choice["message"]["content"] or "").strip()
            if said and "\x00" not in said and all(said != other["message"]["content"].strip() for other, _ in kept):
                kept.append((choice, _sampling(draw, index)))
        if len(kept) >= 2:
            (a, how_a), (b, how_b) = kept[:2]
            return Pair((a, b), prompt_token_ids, (how_a, how_b), answer.get("features_from"))
    return None


def _sampling(draw: Draw, index: int) -> dict[str, Any]:
    return {
        "temperature": draw.temperature,
        "top_p": draw.top_p,
        "max_tokens": draw.max_tokens,
        "seed": (draw.seed or 0) + index,
    }


def draw(run_id: int, check: Callable[[], None]) -> None:
    """Do the work of a `sample` run and say what came of it; `check` is asked often and raises to end it."""
    with open_session() as session:
        run = session.get_one(Run, run_id)
        project = session.get_one(Project, run.project_id)
        wanted = run.params.get("comparisons")
        try:
            engine.url_for(project.base_model)
        except BadInput as problem:
            raise Failed(problem.message) from problem
        before = run.done
    drawing, begun = Drawing(run_id, wanted, check), time.monotonic()
    asyncio.run(drawing.go_on())
    with open_session() as session:
        run = session.get_one(Run, run_id)
        facts.worked(run, "sample", time.monotonic() - begun, run.done - before)
        steps.succeeded(session, run, {}, _what_came_of_it(run, drawing.drops >= DROPS_IN_A_ROW))


def _what_came_of_it(run: Run, gave_up: bool) -> str:
    said = "One pair was written." if run.done == 1 else f"{run.done} pairs were written."
    if dropped := run.result.get("dropped"):
        said += f" {dropped} times the model found no two different responses to a prompt."
    if gave_up:
        said += " It was given up after many of those in a row: raise the temperature, or bring other prompts."
    if withdrawn := run.result.get("withdrawn"):
        said += f" Withdrawn prompts: {len(withdrawn)}; the first one: {withdrawn[0]['why']}"
    return said
