"""Which people's answers led to a response's score, and what it would be without them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, undefer

from app.accounts.access import Access, may
from app.errors import BadInput, Conflict, NotFound
from app.languages import _
from app.live_head import heads, influence
from app.live_head.heads import Head
from app.live_head.influence import Terms
from app.models import Answer, Comparison, LiveHead, Project, Prompt, Response, User

SHOWN = 5
"""How many answers are shown, those that moved the score most."""
NEWEST = 20


@dataclass(frozen=True)
class Influence:
    """An answer and by how much it raised (or lowered) the score."""

    answer: Answer
    moved: float

    @property
    def chosen(self) -> Response:
        """The response that was preferred; the first one where none was."""
        comparison = self.answer.comparison
        return comparison.response_b if self.answer.preferred == "b" else comparison.response_a

    @property
    def other(self) -> Response:
        """The one it was compared with."""
        comparison = self.answer.comparison
        return comparison.response_a if self.answer.preferred == "b" else comparison.response_b


@dataclass(frozen=True)
class Explained:
    """A response's score, the answers that moved it most, and the score without those of `left_out`."""

    response: Response
    score: float
    unsure: float
    """The standard deviation of the ensemble's scores."""
    influences: list[Influence]
    left_out: list[int]
    score_without: float


@dataclass(frozen=True)
class Scored:
    """A response and what the head thinks of it."""

    response: Response
    score: float
    unsure: float


def find_response(session: Session, person: User, response_id: str) -> tuple[Access, Response]:
    """A response of a project that the person operates; NotFound where there is none."""
    number = int(response_id) if response_id.isdecimal() and len(response_id) < 19 else -1
    response = session.scalar(
        select(Response).options(joinedload(Response.prompt), undefer(Response.features)).where(Response.id == number)
    )
    if response is None:
        raise NotFound(_("There is no response {response_id!r} that you may see.").format(response_id=response_id))
    project = session.get_one(Project, response.prompt.project_id)
    return may(session, person, project, "operator"), response


def explain(session: Session, access: Access, response: Response, left_out: Collection[int] = ()) -> Explained:
    """Score the response and say which answers led there.

    Raises Conflict where there is no head yet or the response has not been read, BadInput for an answer that did not
    teach the head.
    """
    row, head = _usable(session, access.project)
    if response.features_from != row.features_from or not response.features:
        raise Conflict(_("The model has not read this response, so it has no score. Choose another one."))
    features = heads.numbers(response.features)
    answers, terms = _terms(session, head)
    if unknown := sorted(set(left_out) - set(answers)):
        raise BadInput(
            _("Answer {unknown} did not teach the live head. Leave out one of those that it names.").format(
                unknown=unknown[0]
            )
        )
    terms, along = influence.spanned(terms, head.standard(features))
    moved = -influence.without_each(terms, along) / float(head.spread)
    score = float(head.scores(features))
    out = np.isin(answers, list(left_out))
    changed = influence.without(terms, along, out) / float(head.spread) if out.any() else 0.0
    most = np.argsort(-np.abs(moved), kind="stable")[:SHOWN]
    known = _with_pairs(session, [answers[place] for place in most])
    influences = [Influence(known[answers[place]], float(moved[place])) for place in most]
    unsure = float(head.ensemble_scores(features).std())
    return Explained(response, score, unsure, influences, sorted(left_out), score + changed)


def newest(session: Session, access: Access) -> list[Scored]:
    """The newest responses that the head can score; none where there is no head."""
    found = heads.usable(session, access.project.id)
    if found is None:
        return []
    row, head = found
    responses = session.scalars(
        select(Response)
        .options(joinedload(Response.prompt), undefer(Response.features))
        .join(Prompt, Prompt.id == Response.prompt_id)
        .where(
            Prompt.project_id == access.project.id,
            Response.features_from == row.features_from,
            Response.features != b"",
        )
        .order_by(Response.id.desc())
        .limit(NEWEST)
    ).all()
    if not responses:
        return []
    features = np.stack([heads.numbers(one.features or b"") for one in responses])
    scores, unsure = head.scores(features), head.ensemble_scores(features).std(0)
    return [Scored(*one) for one in zip(responses, scores.tolist(), unsure.tolist(), strict=True)]


def as_json(found: Explained) -> dict[str, Any]:
    """The API's form; ids are opaque strings."""
    return {
        "response": str(found.response.id),
        "score": found.score,
        "unsure": found.unsure,
        "influences": [
            {
                "answer": str(one.answer.id),
                "comparison": str(one.answer.comparison_id),
                "verdict": one.answer.verdict,
                "preferred": str(one.chosen.id) if one.answer.verdict == "preferred" else None,
                "strength": one.answer.strength,
                "moved": one.moved,
            }
            for one in found.influences
        ],
        "without": [str(one) for one in found.left_out],
        "score_without": found.score_without,
    }


def _usable(session: Session, project: Project) -> tuple[LiveHead, Head]:
    found = heads.usable(session, project.id)
    if found is None:
        raise Conflict(heads.sentence(heads.find(session, project.id)))
    return found


def _terms(session: Session, head: Head) -> tuple[list[int], Terms]:
    """The taught answers that are still there, and their share of the loss."""
    pairs = session.execute(
        select(Answer.id, Comparison.response_a_id, Comparison.response_b_id)
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .where(Answer.id.in_(head.answers.tolist()))
    ).all()
    compared = {pair.id: (pair.response_a_id, pair.response_b_id) for pair in pairs}
    there = np.isin(head.answers, list(compared))
    answers = head.answers[there].tolist()
    responses = sorted({response for pair in compared.values() for response in pair})
    place = {response: row for row, response in enumerate(responses)}
    table = heads.features_of(session, responses) / head.scale
    first, second = np.array([[place[one] for one in compared[answer]] for answer in answers]).T
    slopes, curves = head.slopes[there].astype(np.float64), head.curves[there].astype(np.float64)
    return answers, Terms(
        (table[first] - table[second]).astype(np.float64), slopes, curves, float(head.ridge), head.prior
    )


def _with_pairs(session: Session, answers: Sequence[int]) -> dict[int, Answer]:
    pair = joinedload(Answer.comparison)
    found = session.scalars(
        select(Answer)
        .options(
            pair.joinedload(Comparison.prompt),
            pair.joinedload(Comparison.response_a),
            pair.joinedload(Comparison.response_b),
        )
        .where(Answer.id.in_(answers))
    )
    return {one.id: one for one in found}
