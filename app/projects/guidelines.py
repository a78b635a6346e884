"""Guidelines in versions: what annotators were told when they answered stays known."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.accounts import audit
from app.errors import BadInput, NotFound
from app.languages import _
from app.models import GuidelineVersion, Project, User

LONGEST = 20_000


def current(session: Session, project: Project) -> GuidelineVersion | None:
    """The version in force, None while there is none."""
    return session.scalar(
        select(GuidelineVersion)
        .where(GuidelineVersion.project_id == project.id)
        .order_by(GuidelineVersion.version.desc())
        .limit(1)
    )


def current_of(session: Session, projects: Sequence[Project]) -> dict[int, GuidelineVersion]:
    """The versions in force of several projects, by project id."""
    found = session.scalars(
        select(GuidelineVersion)
        .ext(distinct_on(GuidelineVersion.project_id))
        .where(GuidelineVersion.project_id.in_([project.id for project in projects]))
        .order_by(GuidelineVersion.project_id, GuidelineVersion.version.desc())
    )
    return {version.project_id: version for version in found}


def versions(session: Session, project: Project) -> list[tuple[GuidelineVersion, User | None]]:
    """Every version with who wrote it, newest first."""
    rows = session.execute(
        select(GuidelineVersion, User)
        .outerjoin(User, User.id == GuidelineVersion.written_by_id)
        .where(GuidelineVersion.project_id == project.id)
        .order_by(GuidelineVersion.version.desc())
    )
    return [(version, writer) for version, writer in rows]


def numbered(session: Session, project: Project, version: int) -> GuidelineVersion:
    """One version by its number; raises NotFound."""
    found = session.scalar(
        select(GuidelineVersion).where(GuidelineVersion.project_id == project.id, GuidelineVersion.version == version)
    )
    if found is None:
        raise NotFound(_("These guidelines have no version {version}.").format(version=version))
    return found


def write(session: Session, project: Project, text: str, by: User | None) -> GuidelineVersion | None:
    """Make the text a new version; the same text again, or none where there was none, changes nothing."""
    text = text.replace("\r\n", "\n").strip()
    if len(text) > LONGEST:
        raise BadInput(
            _("These guidelines have {n:,} characters; at most {longest:,} can be shown. Shorten them.").format(
                n=len(text), longest=LONGEST
            )
        )
    # Two who write at once get two versions, one after the other.
    session.execute(select(Project.id).where(Project.id == project.id).with_for_update())
    before = current(session, project)
    if text == (before.text if before else ""):
        return before
    version = GuidelineVersion(
        project_id=project.id,
        version=before.version + 1 if before else 1,
        text=text,
        written_by_id=by.id if by else None,
    )
    session.add(version)
    session.flush()
    audit.record(session, "guidelines_written", project=project, version=version.version)
    return version
