"""Whether an admin paused somebody's labelling in a project: then nothing is handed out to them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.models import Standing


def reason(session: Session, access: Access) -> str | None:
    """Why this person is paused in this project, in the admin's words; None where they are not."""
    mine = (Standing.project_id == access.project.id, Standing.user_id == access.person.id)
    return session.scalar(select(Standing.paused_because).where(*mine))
