"""A project's live head as the worker left it: when it is fitted again, what it is worth, what it thinks of responses.

It reads features, a response's pooled states under the base model, which the engine computed. workers/live_head fits.
"""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from app import queue
from app.languages import _
from app.models import DECISIVE, Answer, LiveHead, Project, Response

FEWEST = 20
"""From how many answers that prefer one response there is an estimate."""
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Head:
    """A linear score of F features, with an ensemble of M heads, and what each of T taught answers adds to its loss."""

    centre: Floats
    """[F]: what is taken off each feature."""
    scale: Floats
    """[F]: what each feature is divided by."""
    weights: Floats
    """[F]"""
    ensemble: Floats
    """[M, F]: heads that saw other draws of the prompts; how far they disagree says how sure the head is."""
    spread: Floats
    """The standard deviation of the known responses' raw scores, the unit of a score."""
    ridge: Floats
    answers: NDArray[np.int64]
    """[T]: ids of the answers that taught it."""
    slopes: Floats
    """[T, 1 + K]: first derivatives of each answer's loss by the difference of scores and by K thresholds."""
    curves: Floats
    """[T, 1 + K, 1 + K]: second derivatives."""
    prior: Floats
    """[K]: curvature of the thresholds without any answer."""

    def standard(self, features: Floats) -> Floats:
        """Return features [n, F] centred and scaled."""
        return np.asarray((features - self.centre) / self.scale)

    def scores(self, features: Floats) -> Floats:
        """Return [n] for features [n, F]: 0 is the average of the responses it knows, 1 their standard deviation."""
        return np.asarray(self.standard(features) @ self.weights / self.spread)

    def ensemble_scores(self, features: Floats) -> Floats:
        """Return every head's scores [M, n] in the same unit."""
        return np.asarray(self.ensemble @ self.standard(features).T / self.spread)

    def to_bytes(self) -> bytes:
        """Return the head as one npz file."""
        file = io.BytesIO()
        np.savez(file, **asdict(self))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Head":
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in arrays.files})


def numbers(features: bytes) -> NDArray[np.float32]:
    """Return a response's stored features as numbers [F]."""
    return np.frombuffer(features, dtype="<f2").astype(np.float32)


def features_of(session: Session, responses: Sequence[int]) -> NDArray[np.float32]:
    """Return the stored features [n, F] of some responses, in their order."""
    rows = session.execute(select(Response.id, Response.features).where(Response.id.in_(responses)))
    found = {row.id: row.features for row in rows}
    return np.stack([numbers(found[one] or b"") for one in responses])


def find(session: Session, project_id: int) -> LiveHead | None:
    """The row of a project's head, without its arrays; None before the first fit."""
    return session.get(LiveHead, project_id)


def usable(session: Session, project_id: int) -> tuple[LiveHead, Head] | None:
    """The row and the head itself, where there are enough answers for one."""
    row = session.scalar(
        select(LiveHead)
        .options(undefer(LiveHead.arrays))
        .where(LiveHead.project_id == project_id, LiveHead.arrays.is_not(None))
    )
    return (row, Head.from_bytes(row.arrays)) if row is not None and row.arrays is not None else None


def fit_soon(session: Session, project_id: int) -> None:
    """Have the head fitted again by a worker; one waiting job is enough for any number of answers."""
    if not queue.is_waiting(session, "live_head", project_id=project_id):
        queue.enqueue(session, "live_head", lock=f"live head {project_id}", project_id=project_id)


def look_after(session: Session, project: Project) -> None:
    """Have it fitted where answers came in without a word (an import), or where features are missing."""
    row = find(session, project.id)
    newer = select(Answer.id).where(
        Answer.project_id == project.id,
        Answer.id > (row.newest_answer if row else 0),
        Answer.verdict.in_(DECISIVE),
        ~Answer.measures,
    )
    if (row is not None and row.unread) or session.scalar(newer.limit(1)) is not None:
        fit_soon(session, project.id)


def sentence(row: LiveHead | None) -> str:
    """The estimate in words, or why there is none yet."""
    if row is None or not (row.answers or row.unread):
        return _("An estimate without training appears here after {fewest} answers.").format(fewest=FEWEST)
    unread = _(" The model has yet to read {n} responses.").format(n=f"{row.unread:,}") if row.unread else ""
    if "accuracy" in row.metrics:
        figures = {name: round(100 * row.metrics[name]) for name in row.metrics if name != "seconds"}
        return (
            _(
                "Estimate after {n} answers: {accuracy} % [{accuracy_low}, {accuracy_high}], length alone "
                "{length_baseline} %; no training needed."
            ).format(n=f"{row.answers:,}", **figures)
            + unread
        )
    if row.answers < FEWEST:
        return (
            _("No estimate yet: {n} of {fewest} answers that prefer one response.").format(n=row.answers, fewest=FEWEST)
            + unread
        )
    return _("No estimate yet: all the answers are about one prompt. Label pairs for more prompts.") + unread
