"""The cast: Alice annotates, Bob administers, Olga operates, Mallory has no role; each made in one line."""

from fastapi.testclient import TestClient
from sqlalchemy import select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts import sessions
from app.accounts.access import COOKIE, token_hash
from app.models import ApiToken, GuidelineReading, GuidelineVersion, Project, User


def make_person(session: Session, name: str, *roles: str, kind: str = "person") -> User:
    """A person with these global roles; the e-mail address is the name at example.org."""
    person = User(email=f"{name}@example.org", name=name.title(), roles=list(roles), kind=kind)
    session.add(person)
    session.flush()
    _everybody_has_read_everything(session)
    return person


def bearer(session: Session, person: User) -> dict[str, str]:
    """Headers that sign this person in to the API."""
    token = f"test-token-of-{person.email}"
    session.add(ApiToken(user_id=person.id, name="test", prefix=token[:8], token_hash=token_hash(token)))
    session.flush()
    return {"Authorization": f"Bearer {token}"}


def browse_as(client: TestClient, session: Session, person: User) -> TestClient:
    """The same client as a browser in which this person is signed in."""
    client.cookies.set(COOKIE, sessions.start(session, person, "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"))
    return client


def make_project(session: Session, slug: str = "garden", *, labels_per_comparison: int = 1) -> Project:
    """A project on the tiny model with one version of guidelines; nothing retrains by itself."""
    project = Project(slug=slug, name=slug.title(), base_model="tiny", labels_per_comparison=labels_per_comparison)
    project.guidelines.append(GuidelineVersion(version=1, text="Prefer the answer you would rather receive."))
    session.add(project)
    session.flush()
    _everybody_has_read_everything(session)
    return project


def _everybody_has_read_everything(session: Session) -> None:
    """Note that the cast knows the guidelines so far, so that the label page does not ask for that first."""
    everything = select(User.id, GuidelineVersion.id).select_from(User).join(GuidelineVersion, true())
    session.execute(
        insert(GuidelineReading).from_select(["user_id", "version_id"], everything).on_conflict_do_nothing()
    )
