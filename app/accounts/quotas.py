"""How much each API token may ask of the language model, and how much it did: requests a minute, tokens a day."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts import limits
from app.accounts.tokens import find
from app.errors import BadInput, TooMany
from app.languages import N_, _
from app.models import ApiToken, TokenLimit, TokenUse, User, now

REQUESTS = N_("This token may ask so many times a minute, and has. Ask again in {span}.")
MOST = 2**31 - 1


def choose(session: Session, person: User, token_id: int, per_minute: str, per_day: str) -> None:
    """Set the limits of a person's own token; empty: none. Raises BadInput for what is no whole number above 0."""
    token = find(session, person, token_id)
    chosen = {"requests_per_minute": _number(per_minute), "tokens_per_day": _number(per_day)}
    known = insert(TokenLimit).values(token_id=token.id, **chosen)
    session.execute(known.on_conflict_do_update(index_elements=["token_id"], set_=chosen))


def _number(typed: str) -> int | None:
    text = typed.strip().replace(",", "")
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text[:20]) <= MOST:
        raise BadInput(
            _("A limit must be a whole number above 0, or empty for none, not {given!r}.").format(given=text[:40])
        )
    return int(text)


def check(session: Session, token: ApiToken | None) -> None:
    """Count one request of a token; raises TooMany, with the moment to try again, where it has had its share.

    Somebody in a browser has no token and no limit.
    """
    found = session.get(TokenLimit, token.id) if token is not None else None
    if token is None or found is None:
        return
    if found.requests_per_minute is not None:
        limit = limits.Limit("model requests", REQUESTS, found.requests_per_minute, timedelta(minutes=1))
        limits.hit(limit, str(token.id))
    if found.tokens_per_day is not None and used_today(session, token.id) >= found.tokens_per_day:
        raise TooMany(
            _("This token has had its {n:,} tokens of today. Tomorrow (UTC) there are as many again.").format(
                n=found.tokens_per_day
            ),
            retry_after=_seconds_of_today_left(),
        )


def used_today(session: Session, token_id: int) -> int:
    """Tokens that were read and written for it since midnight, UTC."""
    today = session.get(TokenUse, (token_id, now().date()), populate_existing=True)
    return today.prompt_tokens + today.completion_tokens if today else 0


def count(session: Session, token_id: int, prompt_tokens: int, completion_tokens: int) -> None:
    """Add one request and what the model read and wrote for it to the token's day."""
    use = insert(TokenUse).values(
        token_id=token_id,
        day=now().date(),
        requests=1,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )
    more = {
        "requests": TokenUse.requests + 1,
        "prompt_tokens": TokenUse.prompt_tokens + prompt_tokens,
        "completion_tokens": TokenUse.completion_tokens + completion_tokens,
    }
    session.execute(use.on_conflict_do_update(index_elements=["token_id", "day"], set_=more))


def of(session: Session, tokens: Sequence[ApiToken]) -> dict[int, TokenLimit]:
    """The limits of some tokens, by the token's id; those without any are left out."""
    found = session.scalars(select(TokenLimit).where(TokenLimit.token_id.in_([token.id for token in tokens])))
    return {limit.token_id: limit for limit in found}


def uses(session: Session, tokens: Sequence[ApiToken]) -> dict[int, int]:
    """What was read and written today for each of some tokens."""
    return {token.id: used_today(session, token.id) for token in tokens}


def _seconds_of_today_left() -> int:
    moment = now()
    tomorrow = datetime.combine(moment.date() + timedelta(days=1), datetime.min.time(), UTC)
    return max(1, round((tomorrow - moment).total_seconds()))
