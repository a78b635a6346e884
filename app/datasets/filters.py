"""Which of a project's answers a snapshot takes, and why the others stay out."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import Session

from app.errors import BadInput
from app.models import PURPOSES, Answer, Comparison, Project, Standing

SOURCES = ("page", "api", "chat", "import", "feedback")
"""Where an answer may come from, as the answers table's own constraint has it."""


EXCLUDED = "excluded"
_of_the_annotator = and_(
    Standing.project_id == Answer.project_id,
    Standing.user_id == Answer.user_id,
    Standing.excluded_at.is_not(None),
)
_excluded = select(Standing.id).where(_of_the_annotator).correlate(Answer).exists()


class Rule(NamedTuple):
    """One reason to leave answers out."""

    reason: str
    why: str
    leaves_out: ColumnElement[bool]


# Answers that measure people and teach nothing are only taken by somebody who asks for their purpose by name.
_MEASURES = {
    "gold": Rule("gold", "They answer gold comparisons, which test people.", Comparison.purpose == "gold"),
    "repeat": Rule(
        "own_repeats", "Their author answered the same two responses before.", Comparison.asks_id.is_not(None)
    ),
}


@dataclass(frozen=True)
class Filters:
    """All empty: every answer of people whom no admin excluded, but for those that only measure people.

    `since` is included, `until` is not; both are about `created_at`.
    """

    simulated: bool = False
    since: datetime | None = None
    until: datetime | None = None
    purposes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, chosen: object) -> Self:
        """Read a request's `filters`; raises BadInput with a sentence for what is not known or makes no sense."""
        if not isinstance(chosen, dict):
            raise BadInput('filters must be an object, such as {"since": "2026-01-31T00:00:00Z"}.')
        known = {field.name for field in fields(cls)}
        unknown = sorted(str(name) for name in set(chosen) - known)
        if unknown:
            raise BadInput(f"{unknown[0]!r} is not a filter. Known are: {', '.join(sorted(known))}.")
        simulated = chosen.get("simulated", False)
        if not isinstance(simulated, bool):
            raise BadInput(f"The filter simulated must be true or false, not {simulated!r}.")
        return cls(
            simulated=simulated,
            since=_moment(chosen.get("since"), "since"),
            until=_moment(chosen.get("until"), "until"),
            purposes=_some_of(chosen.get("purposes"), "purposes", PURPOSES),
            sources=_some_of(chosen.get("sources"), "sources", SOURCES),
        )

    def to_json(self) -> dict[str, Any]:
        """Only what was chosen; `from_json` gives the same filters back."""
        chosen: dict[str, Any] = {"simulated": self.simulated}
        for name in ("since", "until"):
            if (moment := getattr(self, name)) is not None:
                chosen[name] = moment.isoformat()
        for name in ("purposes", "sources"):
            if values := getattr(self, name):
                chosen[name] = list(values)
        return chosen

    def rules(self, session: Session, project: Project) -> list[Rule]:
        """The reasons to leave answers out, in the order in which the first that holds counts."""
        rules = [Rule(EXCLUDED, "An admin excluded an annotator: {reason}", _excluded)]
        if not self.simulated:
            rules.append(Rule("simulated", "Simulated annotators gave these.", Answer.simulated.is_(True)))
        if self.since is not None:
            rules.append(Rule("since", "These are older than the chosen time.", Answer.created_at < self.since))
        if self.until is not None:
            rules.append(Rule("until", "These are newer than the chosen time.", Answer.created_at >= self.until))
        for purpose, rule in _MEASURES.items():
            if purpose not in self.purposes:
                rules.append(rule)
        if self.purposes:
            wrong = Comparison.purpose.not_in(self.purposes)
            rules.append(Rule("purposes", "Their comparisons serve a purpose that was not chosen.", wrong))
        if self.sources:
            wrong = Answer.source.not_in(self.sources)
            rules.append(Rule("sources", "They came from a source that was not chosen.", wrong))
        return rules

    def where(self, session: Session, project: Project) -> list[ColumnElement[bool]]:
        """What an answer, joined with its comparison, must fulfil to be taken."""
        return [Answer.project_id == project.id, *(~rule.leaves_out for rule in self.rules(session, project))]

    def exclusions(self, session: Session, project: Project) -> list[dict[str, Any]]:
        """How many answers each rule leaves out: `{"reason", "answers", "why"}`, each answer counted once.

        The answers of excluded annotators are counted by the admin's words about why.
        """
        rules = self.rules(session, project)
        reason = case(*((rule.leaves_out, rule.reason) for rule in rules))
        because = case((reason == EXCLUDED, Standing.excluded_because), else_="")
        counted = (
            select(reason, because, func.count())
            .select_from(Answer)
            .join(Comparison, Comparison.id == Answer.comparison_id)
            .outerjoin(Standing, _of_the_annotator)
            .where(Answer.project_id == project.id)
            .group_by(reason, because)
            .order_by(because)
        )
        counts = session.execute(counted).all()
        return [
            {"reason": rule.reason, "answers": n, "why": rule.why.format(reason=words)}
            for rule in rules
            for found, words, n in counts
            if found == rule.reason
        ]


def _moment(value: object, name: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise BadInput(f"The filter {name} must be a time such as 2026-01-31T00:00:00Z, not {value!r}.")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _some_of(value: object, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(item in known for item in value):
        raise BadInput(f"The filter {name} must be a list of some of {', '.join(known)}, not {value!r}.")
    return tuple(item for item in known if item in value)
