"""One comparison and what everybody said of it; an admin who looks at it may adjudicate."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.accounts import audit
from app.accounts.access import Access
from app.errors import BadInput, Conflict, NotFound
from app.labeling import answers, leases, words
from app.labeling.answers import Spoken
from app.languages import _
from app.models import DECISIVE, Answer, Assignment, Comparison, User, now
from app.models.policies import Labeling
from app.templating import called

EXCERPT = 160
OF_OTHERS = ("chat", "feedback")
"""Where choices come from that are a person's alone: nobody else saw the responses."""


@dataclass(frozen=True)
class Said:
    """An answer and whose it is."""

    answer: Answer
    name: str
    strengths: int
    """How many steps of strength the project asks for."""

    def words(self, shown_left: str) -> str:
        """What was said, in the words of the button that says it where this response is on the left."""
        return words.said(self.answer, shown_left, self.strengths)


@dataclass(frozen=True)
class Looked:
    """A comparison and its answers, oldest first."""

    comparison: Comparison
    said: list[Said]

    @property
    def asked(self) -> str:
        """The beginning of the prompt's last turn."""
        text = " ".join(str(self.comparison.prompt.messages[-1]["content"]).split())
        return text if len(text) <= EXCERPT else text[: EXCERPT - 1].rstrip() + "…"


def look(session: Session, access: Access, ids: Sequence[int]) -> list[Looked]:
    """Comparisons of the project with their texts and answers, in the order asked for; unknown ones are left out."""
    found = session.scalars(
        select(Comparison)
        .options(joinedload(Comparison.prompt), joinedload(Comparison.response_a), joinedload(Comparison.response_b))
        .where(Comparison.id.in_(ids), Comparison.project_id == access.project.id)
        .execution_options(populate_existing=True)
    )
    known = {comparison.id: comparison for comparison in found}
    said = _said_of(session, access, known)
    return [Looked(known[id], [one for one in said if one.answer.comparison_id == id]) for id in ids if id in known]


def find(session: Session, access: Access, id: int) -> Looked:
    """One comparison of the project; raises NotFound."""
    found = look(session, access, [id])
    if not found:
        raise NotFound(_("There is no comparison {id} in this project.").format(id=id))
    return found[0]


def why_not(access: Access, looked: Looked) -> str | None:
    """Why this person cannot adjudicate here, as a sentence; None where they can."""
    comparison = looked.comparison
    if comparison.purpose == "gold":
        return _("This is a gold comparison: what is right about it is known, and people are tested by it.")
    if comparison.asks_id is not None:
        return _("This was one person's own earlier pair, asked again. The first comparison is the one to decide.")
    if "admin" not in access.roles:
        return _("Admins adjudicate. Ask one of them to decide.")
    if comparison.source in OF_OTHERS:
        return _("What people chose in a chat or a product is theirs alone, so nobody decides about it.")
    if comparison.status != "complete":
        return _("This comparison still waits for answers. Look again when it has them.")
    if any(one.answer.user_id == access.person.id for one in looked.said):
        return _("You answered this comparison yourself, so somebody else has to decide.")
    if not any(one.answer.verdict in DECISIVE for one in looked.said):
        return _("Nobody has judged this comparison, so there is nothing to decide.")
    return None


def begin(session: Session, access: Access, comparison: Comparison) -> Assignment:
    """Note that this person looks at the comparison now, and on which side they see each response."""
    assignment = leases.assign(session, access, comparison)
    if assignment.status != "answered":
        assignment.claimed_at = now()
    return assignment


def adjudicate(session: Session, access: Access, looked: Looked, spoken: Spoken) -> Answer:
    """Keep one more answer, which the consensus follows; nobody's answer is changed.

    Raises Conflict where this person cannot, BadInput for an answer that decides nothing.
    """
    if spoken.verdict not in DECISIVE:
        raise BadInput(_("Choose a step or both bad: that decides. If you cannot, leave the comparison open."))
    refused = why_not(access, looked)
    assignment = leases.assign(session, access, looked.comparison)
    # Sent twice, the answer is there already: `record` gives it back, or says that it was another one.
    if refused is not None and assignment.status != "answered":
        raise Conflict(refused)
    if assignment.status != "answered":
        audit.record(session, "adjudicated", project=access.project, comparison=looked.comparison.id)
    return answers.record(session, access, assignment.id, spoken, adjudicates=True)


def _said_of(session: Session, access: Access, comparisons: Collection[int]) -> list[Said]:
    rows = session.execute(
        select(Answer, User)
        .outerjoin(User, User.id == Answer.user_id)
        .where(Answer.comparison_id.in_(comparisons))
        .order_by(Answer.id)
    )
    strengths = Labeling.from_json(access.project.labeling).strengths
    return [Said(answer, _("Imported") if person is None else called(person), strengths) for answer, person in rows]
