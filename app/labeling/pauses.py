"""Whether an admin paused somebody's labelling in a project: then nothing is handed out to them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.labeling.room import PERSON, PROJECT, asker
from app.models import Standing

_REASON = select(Standing.paused_because).where(Standing.project_id == PROJECT, Standing.user_id == PERSON)


def reason(session: Session, access: Access) -> str | None:
    """Why this person is paused in this project, in the admin's words; None where they are not."""
    return session.scalar(_REASON, asker(access))
