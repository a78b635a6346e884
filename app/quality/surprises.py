"""What the newest reward model finds surprising among people's answers: a slip, or something it has yet to learn?"""

from dataclasses import dataclass

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased

from app.accounts.access import Access
from app.models import Comparison, Run
from app.quality import comparisons
from app.quality.comparisons import Looked


@dataclass(frozen=True)
class Surprise:
    """A comparison, how likely the model found what was said of it, and whether people were asked again."""

    looked: Looked
    probability: float
    asked_again: bool


@dataclass(frozen=True)
class Surprises:
    """What the newest `reward` run that has ended well lists; no run: nothing has been trained yet."""

    run: Run | None
    listed: list[Surprise]


def newest(session: Session, access: Access) -> Surprises:
    """The surprises of the newest reward model, the greatest first."""
    run = session.scalar(
        select(Run)
        .where(Run.project_id == access.project.id, Run.kind == "reward", Run.status == "succeeded")
        .order_by(Run.id.desc())
        .limit(1)
    )
    likely = (
        {int(one["comparison"]): float(one["probability"]) for one in run.result.get("surprising", [])} if run else {}
    )
    looked = comparisons.look(session, access, list(likely))
    again = _asked_again(session, likely)
    return Surprises(run, [Surprise(one, likely[one.comparison.id], one.comparison.id in again) for one in looked])


def _asked_again(session: Session, ids: dict[int, float]) -> set[int]:
    """Those whose two responses people were asked about once more."""
    repeat = aliased(Comparison)
    same = exists().where(
        repeat.purpose == "repeat",
        repeat.status != "withdrawn",
        repeat.asks_id.is_(None),
        func.least(repeat.response_a_id, repeat.response_b_id)
        == func.least(Comparison.response_a_id, Comparison.response_b_id),
        func.greatest(repeat.response_a_id, repeat.response_b_id)
        == func.greatest(Comparison.response_a_id, Comparison.response_b_id),
    )
    return set(session.scalars(select(Comparison.id).where(Comparison.id.in_(ids), same)))
