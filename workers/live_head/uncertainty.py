"""How much the heads of the ensemble disagree about the pairs that wait, so that people may be asked those first."""

import numpy as np
from sqlalchemy import bindparam, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased
from sqlalchemy.types import BigInteger, Float

from app.database import open_session
from app.live_head import heads
from app.live_head.heads import Floats
from app.models import ORDINARY, Comparison, LiveHead, Project, Response
from app.models.policies import Labeling

MOST = 2000
"""The newest so many waiting pairs are looked at."""
SAME = 0.01
"""A change smaller than this is not worth a row's new place in the order."""
# Whoever claims or answers at this moment has its row locked: that pair keeps what it had until the next fit.
UPDATE = text("""
    update comparisons set uncertainty = found.uncertainty
    from (
        select comparisons.id, said.uncertainty
        from unnest(:ids, :values) as said (id, uncertainty) join comparisons using (id)
        where comparisons.status = 'waiting'
            and (comparisons.uncertainty is null or abs(comparisons.uncertainty - said.uncertainty) > :same)
        order by comparisons.id for no key update of comparisons skip locked
    ) as found
    where comparisons.id = found.id
""").bindparams(bindparam("ids", type_=ARRAY(BigInteger)), bindparam("values", type_=ARRAY(Float)))


def keep(project_id: int) -> None:
    """Write the uncertainty of the waiting pairs that the head can read, where the project asks uncertain ones first.

    Pairs that are not there to train on, above all the held-out ones, must be a fair sample and must not starve
    either: each gets the value of a training pair drawn at random, whatever the head thinks of it.
    """
    with open_session() as session:
        # The settings page locks the project, too: what was switched off is not written again.
        project = session.get_one(Project, project_id, with_for_update={"read": True})
        if Labeling.from_json(project.labeling).order != "uncertain":
            return
        found = heads.usable(session, project_id)
        if found is None:
            return
        train, others = _waiting(session, project_id, found[0])
        if not train:
            return
        values = disagreement(found[1], _features(session, train, 0), _features(session, train, 1))
        drawn = [float(np.random.default_rng(one).choice(values)) for one in others]
        ids = [*(one for one, _a, _b in train), *others]
        session.execute(UPDATE, {"ids": ids, "values": [*values.tolist(), *drawn], "same": SAME})


def disagreement(head: heads.Head, first: Floats, second: Floats) -> Floats:
    """Return, for features [n, F] of both responses, the standard deviation over the heads of P(first preferred) [n].

    0 where all agree, at most 0.5.
    """
    delta = (head.ensemble_scores(first) - head.ensemble_scores(second)) * head.spread
    return np.asarray((1 / (1 + np.exp(-delta))).std(0))


def _waiting(session: Session, project_id: int, row: LiveHead) -> tuple[list[tuple[int, int, int]], list[int]]:
    """The newest waiting pairs: training ones that the head can read with both responses, and the ids of the others."""
    a, b = aliased(Response), aliased(Response)
    readable = (a.features_from == row.features_from) & (b.features_from == row.features_from)
    read = func.least(func.octet_length(a.features), func.octet_length(b.features)) > 0
    rows = session.execute(
        select(Comparison.id, Comparison.purpose, a.id, b.id, (readable & read).label("readable"))
        .join(a, a.id == Comparison.response_a_id)
        .join(b, b.id == Comparison.response_b_id)
        .where(
            Comparison.project_id == project_id,
            Comparison.status == literal_column("'waiting'"),
            ORDINARY,
        )
        .order_by(Comparison.id.desc())
        .limit(MOST)
    ).all()
    train = [(id, first, second) for id, purpose, first, second, known in rows if purpose == "train" and known]
    return train, [id for id, purpose, *_rest in rows if purpose != "train"]


def _features(session: Session, pairs: list[tuple[int, int, int]], side: int) -> Floats:
    return heads.features_of(session, [pair[1 + side] for pair in pairs])
