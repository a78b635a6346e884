"""What filters mean in SQL, and why answers stay out."""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, not_, or_, select
from sqlalchemy.orm import Session

from app.datasets.filters import BASE, OUTSIDE, Filters
from app.datasets.pseudonyms import pseudonym
from app.models import DECISIVE, Answer, Comparison, Project, Prompt, Response, Standing

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


def rules(session: Session, project: Project, filters: Filters) -> list[Rule]:
    """The reasons to leave answers out, in the order in which the first that holds counts."""
    found = [Rule(EXCLUDED, "An admin excluded an annotator: {reason}", _excluded)]

    def leave_out(reason: str, why: str, condition: ColumnElement[bool]) -> None:
        found.append(Rule(reason, why, condition))

    if not filters.simulated:
        leave_out("simulated", "Simulated annotators gave these.", Answer.simulated.is_(True))
    if filters.since is not None:
        leave_out("since", "These are older than the chosen time.", Answer.created_at < filters.since)
    if filters.until is not None:
        leave_out("until", "These are newer than the chosen time.", Answer.created_at >= filters.until)
    found.extend(rule for purpose, rule in _MEASURES.items() if purpose not in filters.purposes)
    if filters.purposes:
        wrong = Comparison.purpose.not_in(filters.purposes)
        leave_out("purposes", "Their comparisons serve a purpose that was not chosen.", wrong)
    if filters.sources:
        wrong = Answer.source.not_in(filters.sources)
        leave_out("sources", "They came from a source that was not chosen.", wrong)
    if filters.annotators:
        chosen = Answer.user_id.in_(_people(session, project, filters.annotators))
        leave_out("annotators", "Somebody gave these who was not chosen.", not_(func.coalesce(chosen, False)))
    if filters.tags:
        leave_out("tags", "Their prompts have none of the chosen tags.", not_(_tagged(filters.tags)))
    if filters.checkpoints:
        both = and_(
            *(_wrote(side, filters.checkpoints) for side in (Comparison.response_a_id, Comparison.response_b_id))
        )
        leave_out("checkpoints", "Not both of their responses come from a chosen checkpoint.", not_(both))
    if filters.strength is not None:
        weak = and_(Answer.verdict == "preferred", Answer.strength < filters.strength)
        leave_out("strength", "They prefer a response by less than was chosen.", weak)
    if filters.agreement is not None:
        wrong = Answer.comparison_id.in_(_disputed(project, found, filters.agreement))
        leave_out("agreement", "People agree less about their comparisons than was chosen.", wrong)
    return found


def where(session: Session, project: Project, filters: Filters) -> list[ColumnElement[bool]]:
    """What an answer, joined with its comparison, must fulfil to be taken."""
    return [Answer.project_id == project.id, *(~rule.leaves_out for rule in rules(session, project, filters))]


def exclusions(session: Session, project: Project, filters: Filters) -> list[dict[str, Any]]:
    """How many answers each rule leaves out: `{"reason", "answers", "why"}`, each answer counted once.

    The answers of excluded annotators are counted by the admin's words about why.
    """
    asked = rules(session, project, filters)
    reason = case(*((rule.leaves_out, rule.reason) for rule in asked))
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
        for rule in asked
        for found, words, n in counts
        if found == rule.reason
    ]


def people_of(session: Session, project: Project) -> dict[str, int]:
    """Whoever answered in the project: their ids by their pseudonyms."""
    answered = select(Answer.user_id).where(Answer.project_id == project.id, Answer.user_id.is_not(None)).distinct()
    return {pseudonym(person): person for person in session.scalars(answered) if person is not None}


def _people(session: Session, project: Project, names: tuple[str, ...]) -> list[int]:
    known = people_of(session, project)
    return [known[name] for name in names if name in known]


def _tagged(tags: tuple[str, ...]) -> ColumnElement[bool]:
    has_one = and_(Prompt.id == Comparison.prompt_id, Prompt.tags.overlap(list(tags)))
    return select(Prompt.id).where(has_one).correlate(Comparison).exists()


def _wrote(response: Any, checkpoints: tuple[str, ...]) -> ColumnElement[bool]:
    """Whether one of the chosen checkpoints wrote the response with this id."""
    ids = [int(one) for one in checkpoints if one not in (BASE, OUTSIDE)]
    ways: list[ColumnElement[bool]] = [Response.checkpoint_id.in_(ids)]
    if BASE in checkpoints:
        ways.append(and_(Response.checkpoint_id.is_(None), Response.base_model.is_not(None)))
    if OUTSIDE in checkpoints:
        ways.append(and_(Response.checkpoint_id.is_(None), Response.base_model.is_(None)))
    return select(Response.id).where(Response.id == response, or_(*ways)).correlate(Comparison).exists()


def _disputed(project: Project, so_far: list[Rule], least: float) -> Any:
    """Comparisons of whose decisive answers, among those taken so far, less than this share say the same."""
    says = case((Answer.verdict == "preferred", Answer.preferred), else_=Answer.verdict)
    most = func.greatest(*(func.count().filter(says == one) for one in ("a", "b", "tie", "both_bad")))
    return (
        select(Answer.comparison_id)
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .where(Answer.project_id == project.id, Answer.verdict.in_(DECISIVE), *(~rule.leaves_out for rule in so_far))
        .group_by(Answer.comparison_id)
        .having(most < least * func.count())
        .correlate(None)
    )
