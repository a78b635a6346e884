"""The taste of a project's annotators, or of one, as sentences; and how many answers are missing to tell it."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Select, case, exists, select
from sqlalchemy.orm import Session, aliased

from app.accounts.access import Access
from app.models import Answer, Comparison, GuidelineVersion, Response, Standing
from app.quality import asked_for, taste
from app.quality.features import FEATURES, Feature, read
from app.quality.taste import Weight

FEWEST = 40
"""From how many answers that prefer one response a taste is told."""
MOST = 500
"""How many of them are read, the newest ones: every text is read anew for each page."""


@dataclass(frozen=True)
class Trait:
    """A feature and its weight."""

    feature: Feature
    weight: Weight

    @property
    def liked(self) -> str:
        """What is preferred, the words of the feature."""
        return self.feature.more if self.weight.weight > 0 else self.feature.less

    @property
    def other(self) -> str:
        """What is not preferred."""
        return self.feature.less if self.weight.weight > 0 else self.feature.more

    @property
    def odds(self) -> tuple[int, int, int]:
        """How often, in percent, what is liked is preferred where it is one spread ahead, with the interval's ends."""
        way = 1 if self.weight.weight > 0 else -1
        middle, *ends = (round(100 * taste.chance(way * weight)) for weight in self.weight)
        return middle, min(ends), max(ends)


@dataclass(frozen=True)
class Taste:
    """Of `answers` answers; without enough of them no traits. The clearest traits come first."""

    answers: int
    missing: int
    traits: list[Trait]
    asked: dict[str, bool]
    """What the guidelines in force ask for, as asked_for.read says it."""

    @property
    def against_guidelines(self) -> list[Trait]:
        """The clear traits that go against the guidelines."""
        return [
            trait
            for trait in self.clear
            if self.asked.get(trait.feature.name, trait.weight.weight > 0) != (trait.weight.weight > 0)
        ]

    @property
    def clear(self) -> list[Trait]:
        """The traits that the answers leave no doubt about."""
        return [trait for trait in self.traits if trait.weight.clear]


def of(session: Session, access: Access, person_id: int | None = None, *, simulated: bool = False) -> Taste:
    """The taste of one person in this project, or of all whom no admin excluded."""
    pairs = session.execute(_texts(access, person_id, simulated)).all()
    if len(pairs) < FEWEST:
        return Taste(len(pairs), FEWEST - len(pairs), [], {})
    known: dict[int, list[float]] = {}
    for row in pairs:
        for id, text in ((row.chosen_id, row.chosen), (row.other_id, row.other)):
            known[id] = known.get(id) or read(text)
    differences = np.array([known[row.chosen_id] for row in pairs]) - np.array([known[row.other_id] for row in pairs])
    weights = zip(FEATURES, taste.fit(differences), strict=True)
    traits = [Trait(feature, weight) for feature, weight in weights if weight is not None]
    text = session.scalar(
        select(GuidelineVersion.text)
        .where(GuidelineVersion.project_id == access.project.id)
        .order_by(GuidelineVersion.version.desc())
        .limit(1)
    )
    traits.sort(key=lambda trait: -abs(trait.weight.weight))
    return Taste(len(pairs), 0, traits, asked_for.read(text or ""))


def _texts(access: Access, person_id: int | None, simulated: bool) -> Select[int, str, int, str]:
    """The newest answers that prefer one response: both responses' ids and texts, the preferred one's first."""
    chosen, other = aliased(Response, name="chosen"), aliased(Response, name="other")
    a, b = Comparison.response_a_id, Comparison.response_b_id
    first = Answer.preferred == "a"
    if person_id is not None:
        whose = Answer.user_id == person_id
    else:
        excluded = exists().where(
            Standing.project_id == Answer.project_id,
            Standing.user_id == Answer.user_id,
            Standing.excluded_at.is_not(None),
        )
        whose = Answer.simulated.is_(simulated) & ~excluded
    return (
        select(
            chosen.id.label("chosen_id"),
            chosen.text.label("chosen"),
            other.id.label("other_id"),
            other.text.label("other"),
        )
        .select_from(Answer)
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .join(chosen, chosen.id == case((first, a), else_=b))
        .join(other, other.id == case((first, b), else_=a))
        .where(
            Answer.project_id == access.project.id,
            Answer.verdict == "preferred",
            Answer.source.in_(("page", "api")),
            whose,
        )
        .order_by(Answer.id.desc())
        .limit(MOST)
    )
