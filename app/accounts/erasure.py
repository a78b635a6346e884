"""Erasure: a person becomes nobody; what they answered stays, and nothing says whose it was."""

from sqlalchemy import case, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.people import deactivate
from app.errors import BadInput, Conflict
from app.languages import _
from app.models import (
    Answer,
    ApiToken,
    Chat,
    ChatConsent,
    Comparison,
    Invitation,
    LoginSession,
    Membership,
    Prompt,
    RateLimit,
    Response,
    SignInLink,
    Standing,
    User,
    now,
)
from app.queue import enqueue

REMOVED = "(removed)"


def erase(session: Session, person: User, typed: str) -> None:
    """Forget who a person is, at once; rationales in snapshots that were kept follow by the queue.

    `typed` is their e-mail address once more, because nothing brings them back. Raises BadInput where it is another
    one, Conflict for the last admin. Deactivates first, so that no door is open while the rest goes.
    """
    if person.erased_at is not None:
        raise Conflict(_("This person was erased already."))
    if typed.strip().lower() != person.email:
        raise BadInput(_("This is not their e-mail address. Nothing was erased."))
    deactivate(session, person)
    _forget_addresses(session, person)
    for table in (LoginSession, ApiToken, SignInLink, Membership, Chat, ChatConsent):
        session.execute(delete(table).where(table.user_id == person.id))
    # An exclusion goes on; why it was decided is about the person.
    session.execute(
        update(Standing)
        .where(Standing.user_id == person.id)
        .values(
            paused_at=None, paused_because=None, excluded_because=case((Standing.excluded_at.is_not(None), REMOVED))
        )
    )
    _remove_words(session, person)
    person.email = person.password_hash = person.language = person.abilities = None
    person.name, person.roles, person.erased_at = "", [], now()
    session.flush()
    audit.record(session, "erased", about=person)
    enqueue(session, "erase", user_id=person.id)


def _forget_addresses(session: Session, person: User) -> None:
    """In counted attempts to sign in and in invitations, open ones of theirs too."""
    session.execute(
        delete(RateLimit)
        .where(RateLimit.key.endswith(f" {person.email}", autoescape=True))
        .execution_options(synchronize_session=False)
    )
    theirs = or_(Invitation.used_by_id == person.id, func.lower(Invitation.email) == person.email)
    session.execute(
        update(Invitation)
        .where(theirs)
        .values(email=None, revoked_at=case((Invitation.used_at.is_(None), now()), else_=Invitation.revoked_at))
        .execution_options(synchronize_session=False)
    )


def _remove_words(session: Session, person: User) -> None:
    """Take away the reasons they wrote, and what they said in chats from which a comparison was made.

    Such a comparison and its answer stay as numbers, skipped: nothing can be learnt from texts that are gone.
    """
    session.execute(update(Answer).where(Answer.user_id == person.id, Answer.rationale != "").values(rationale=""))
    chat = Answer.user_id == person.id, Answer.source == "chat"
    comparisons = select(Answer.comparison_id).where(*chat)
    prompts = select(Comparison.prompt_id).where(Comparison.id.in_(comparisons))
    a, b = (
        select(side).where(Comparison.id.in_(comparisons))
        for side in (Comparison.response_a_id, Comparison.response_b_id)
    )
    nothing = {"text": REMOVED, "prompt_token_ids": None, "token_ids": None, "features": None, "features_from": None}
    session.execute(
        update(Response)
        .where(Response.source == "chat", or_(Response.id.in_(a), Response.id.in_(b)))
        .values(**nothing)
        .execution_options(synchronize_session=False)
    )
    of_others = exists().where(
        Comparison.prompt_id == Prompt.id, Answer.comparison_id == Comparison.id, Answer.user_id != person.id
    )
    session.execute(
        update(Prompt)
        .where(Prompt.source == "chat", Prompt.id.in_(prompts), ~of_others)
        .values(
            messages=[{"role": "user", "content": REMOVED}],
            hash=func.concat("erased-", Prompt.id),
            withdrawn_at=func.coalesce(Prompt.withdrawn_at, now()),
        )
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(Answer).where(*chat).values(verdict="skipped", preferred=None, strength=None, skip_reason="erased")
    )
