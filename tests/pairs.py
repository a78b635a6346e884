"""Prompts, pairs, answers and checkpoints for tests, each made in one line."""

import hashlib

from sqlalchemy.orm import Session

from app.models import DECISIVE, Answer, Checkpoint, Comparison, Project, Prompt, Response, Run, User


def make_prompt(session: Session, project: Project, text: str = "What is a hedge?", *, holdout: bool = False) -> Prompt:
    """A prompt of one user turn."""
    messages = [{"role": "user", "content": text}]
    digest = hashlib.sha256(text.encode()).hexdigest()
    prompt = Prompt(project_id=project.id, messages=messages, hash=digest, holdout=holdout)
    session.add(prompt)
    session.flush()
    return prompt


def make_comparison(
    session: Session,
    prompt: Prompt,
    *,
    policy: Checkpoint | None = None,
    purpose: str = "train",
    status: str = "waiting",
) -> Comparison:
    """Two different responses by a policy (the base model without one), waiting to be compared."""
    a, b = (
        Response(
            prompt_id=prompt.id,
            text=text,
            source="sample",
            checkpoint_id=policy.id if policy else None,
            base_model="tiny",
            prompt_token_ids=[1, 5, 2],
            token_ids=[40 + n, 41, 2],
            finish_reason="stop",
        )
        for n, text in enumerate(("A row of bushes.", "I cannot say."))
    )
    session.add_all((a, b))
    session.flush()
    comparison = Comparison(
        project_id=prompt.project_id,
        prompt_id=prompt.id,
        response_a_id=a.id,
        response_b_id=b.id,
        purpose=purpose,
        source="sample",
        status=status,
        expected_verdict="tie" if purpose == "gold" else None,
    )
    session.add(comparison)
    session.flush()
    return comparison


def make_answer(
    session: Session, comparison: Comparison, person: User, verdict: str = "preferred", *, source: str = "page"
) -> Answer:
    """What the person said: A, a little, unless told otherwise."""
    decided = {"preferred": "a", "strength": 1} if verdict == "preferred" else {}
    answer = Answer(
        project_id=comparison.project_id,
        comparison_id=comparison.id,
        user_id=person.id,
        verdict=verdict,
        source=source,
        **decided,
    )
    session.add(answer)
    comparison.counted += verdict in DECISIVE
    session.flush()
    return answer


def make_checkpoint(session: Session, project: Project, kind: str = "reward", status: str = "candidate") -> Checkpoint:
    """A checkpoint whose files do not matter, and the run that made it."""
    run = Run(project_id=project.id, kind="reward" if kind == "reward" else "ppo", status="succeeded")
    session.add(run)
    session.flush()
    made = Checkpoint(
        project_id=project.id,
        kind=kind,
        status=status,
        base_model="tiny",
        run_id=run.id,
        url=f"file:///nowhere/{run.id}",
        sha256="00",
        gate={"passed": True, "why": "Good.", "forced": False},
    )
    session.add(made)
    session.flush()
    return made
