"""The job behind an answer: the project's head fitted again and put where the pages look for it."""

import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app import queue
from app.database import open_session
from app.live_head.heads import FEWEST, Head, features_of
from app.models import LiveHead, Project, now
from app.runs import live
from workers.live_head import answers, uncertainty
from workers.live_head.answers import Said
from workers.live_head.fit import Basis, LiveFit, fit, make_basis, teaching
from workers.reward.loss import Floats

GROWTH = 1.1
"""Axes and ridge are chosen anew when the answers have become more or fewer by this factor."""
MOST_PROJECTS = 8


@dataclass
class Known:
    """What a worker remembers of a project between two fits; after a restart it is made again from the database."""

    features_from: str
    basis: Basis
    taught: int
    """How many answers the basis was chosen with."""
    place: dict[int, int]
    """Response id to row of `coordinates`."""
    coordinates: Floats
    before: LiveFit | None = None


_known: OrderedDict[int, Known] = OrderedDict()


def refit(project_id: int) -> None:
    """Fit the head to the answers as they are now, keep it, have missing features read, say what it is unsure about."""
    with open_session() as session:
        project = session.get(Project, project_id)
        if project is None or project.archived_at is not None:
            return
        said = keep(session, project)
        if said.unread and not queue.is_waiting(session, "features", project_id=project_id):
            queue.enqueue(session, "features", lock=f"features {project_id}", project_id=project_id)
        live.announce(session, project_id)
    uncertainty.keep(project_id)


def keep(session: Session, project: Project) -> Said:
    """Fit the head to the project's answers and put it into its row; returns what was said."""
    said = answers.gather(session, project)
    begun = time.perf_counter()
    head, metrics = _fitted(session, project.id, said)
    row = {
        "features_from": said.features_from,
        "newest_answer": said.newest,
        "answers": int((said.arrays.sign != 0).sum()),
        "unread": len(said.unread),
        "metrics": {**metrics, "seconds": time.perf_counter() - begun},
        "arrays": head.to_bytes() if head is not None else None,
        "fitted_at": now(),
    }
    made = insert(LiveHead).values(project_id=project.id, **row)
    session.execute(made.on_conflict_do_update(index_elements=["project_id"], set_=row))
    return said


def _fitted(session: Session, project_id: int, said: Said) -> tuple[Head | None, dict[str, float]]:
    """The head and its figures, or nothing where the answers are too few or all about one prompt."""
    if said.features_from is None or (said.arrays.sign != 0).sum() < FEWEST:
        return None, {}
    try:
        known = _remember(session, project_id, said, said.features_from)
    except ValueError:  # one prompt
        return None, {}
    rows = np.array([known.place[response] for response in said.responses])
    arrays = said.arrays._replace(first=rows[said.arrays.first], second=rows[said.arrays.second])
    found = known.before = fit(known.basis, known.coordinates, arrays, known.before)
    axes, basis = known.basis.axes, known.basis
    head = Head(
        centre=basis.centre.astype(np.float32),
        scale=basis.scale.astype(np.float32),
        weights=(axes @ found.theta).astype(np.float32),
        ensemble=(axes @ found.ensemble).T.astype(np.float32),
        spread=np.array(max(float((known.coordinates[rows] @ found.theta).std()), 1e-6)),
        ridge=np.array(basis.ridge),
        answers=np.array(said.answers, dtype=np.int64)[found.rows],
        slopes=found.slopes.astype(np.float32),
        curves=found.curves.astype(np.float32),
        prior=found.prior,
    )
    return head, found.metrics


def _remember(session: Session, project_id: int, said: Said, features_from: str) -> Known:
    """Return what is known of the project, with the responses that came since. Raises ValueError for one prompt."""
    known = _known.pop(project_id, None)
    taught = int(teaching(said.arrays).sum())
    if known is None or known.features_from != features_from or not 1 / GROWTH < taught / known.taught < GROWTH:
        features = features_of(session, said.responses)
        basis = make_basis(features, said.arrays)
        place = {response: row for row, response in enumerate(said.responses)}
        known = Known(features_from, basis, taught, place, basis.coordinates(features))
    elif new := [response for response in said.responses if response not in known.place]:
        known.place |= {response: len(known.place) + row for row, response in enumerate(new)}
        more = known.basis.coordinates(features_of(session, new))
        known.coordinates = np.concatenate([known.coordinates, more])
    _known[project_id] = known
    while len(_known) > MOST_PROJECTS:
        _known.popitem(last=False)
    return known
