"""What somebody sees before the next pair: guidelines to read, the practice pairs to come, or how those went."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.labeling import golds, pauses, readings, rounds
from app.labeling.readings import ToRead
from app.languages import _, ngettext
from app.models.policies import Labeling


@dataclass(frozen=True)
class First:
    """A title, a sentence and one button; `action` is where it goes below the label page's own address."""

    title: str
    sentence: str
    button: str
    action: str
    to_read: ToRead | None = None


def of(session: Session, access: Access) -> First | None:
    """What comes before the next pair of this person, if anything does."""
    if access.project.archived_at is not None or pauses.reason(session, access) is not None:
        return None
    if (to_read := readings.due(session, access)) is not None:
        return _guidelines(to_read)
    if rounds.stage(session, access) == "due":
        return _practice(access)
    return _how_it_went(session, access)


def _guidelines(to_read: ToRead) -> First:
    title, sentence = _("The guidelines come first"), _("They say what to prefer in this project.")
    if to_read.before is not None:
        title = _("The guidelines have changed")
        sentence = _("Lines marked + are new since you read version {before}, lines marked − are gone.").format(
            before=to_read.before
        )
    return First(title, sentence, _("I have read them"), f"guidelines/{to_read.version.version}", to_read)


def _practice(access: Access) -> First:
    policy = Labeling.from_json(access.project.labeling)
    asked, needed = policy.qualification, golds.needed(policy.qualification, policy.qualification_share)
    return First(
        ngettext("One practice pair comes first", "{n} practice pairs come first", asked).format(n=asked),
        _(
            "Their answers are known. When {needed} of {asked} come out as expected, the real pairs follow by "
            "themselves. A pair that you skip counts as not expected. Take your time."
        ).format(needed=needed, asked=asked),
        _("Begin"),
        "practice",
    )


def _how_it_went(session: Session, access: Access) -> First | None:
    round = rounds.of(session, access.project, access.person)
    if round is None or not round.passed or round.told_at is not None:
        return None
    return First(
        _("The practice pairs are done"),
        _("{right} of {asked} came out as expected. From now on your answers teach the model.").format(
            right=round.right, asked=round.asked
        ),
        _("Go on"),
        "practice/seen",
    )
