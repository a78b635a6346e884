"""Answers about responses whose features are known, so that what the head must say can be computed."""

import numpy as np
from sqlalchemy.orm import Session

from app.models import Answer, Comparison, Project, Prompt, Response, User
from workers.live_head import refit

NAME = "tiny layer 1 mean+sum+last+words"
FEATURES = 6


def add_answers(
    session: Session,
    project: Project,
    person: User,
    count: int,
    *,
    prompts: int = 6,
    start: int = 0,
    size: int = FEATURES,
) -> list[Answer]:
    """`count` answers that prefer the response with the higher first feature, about `prompts` prompts in turn."""
    generator = np.random.default_rng(7 + start)
    asked = []
    for number in range(prompts):
        text = f"Question {number}?"
        prompt = session.query(Prompt).filter_by(project_id=project.id, hash=text).one_or_none()
        if prompt is None:
            messages = [{"role": "user", "content": text}]
            prompt = Prompt(project_id=project.id, messages=messages, hash=text, holdout=False)
            session.add(prompt)
            session.flush()
        asked.append(prompt)
    made = []
    for number in range(start, start + count):
        prompt = asked[number % prompts]
        # Later features are larger, as a language model's are of very different sizes.
        features = (generator.normal(size=(2, size)) * np.linspace(1, 4, size)).astype("<f2")
        a, b = (add_response(session, prompt, f"Answer {number} {side}", features[side]) for side in (0, 1))
        comparison = Comparison(
            project_id=project.id,
            prompt_id=prompt.id,
            response_a_id=a.id,
            response_b_id=b.id,
            source="sample",
            status="complete",
        )
        session.add(comparison)
        session.flush()
        preferred = "a" if features[0, 0] > features[1, 0] else "b"
        made.append(
            Answer(
                project_id=project.id,
                comparison_id=comparison.id,
                user_id=person.id,
                verdict="preferred",
                preferred=preferred,
                strength=1,
                source="api",
            )
        )
        session.add(made[-1])
    session.flush()
    return made


def add_response(session: Session, prompt: Prompt, text: str, features: np.ndarray | None) -> Response:
    """A response with these features, or without any."""
    response = Response(
        prompt_id=prompt.id,
        text=text,
        source="sample",
        base_model="tiny",
        features=None if features is None else features.astype("<f2").tobytes(),
        features_from=None if features is None else NAME,
    )
    session.add(response)
    session.flush()
    return response


def fit_now(session: Session, project: Project) -> None:
    """Fit the head as a worker does, within the test's own transaction."""
    refit._known.clear()
    refit.keep(session, project)
