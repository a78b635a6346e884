"""How often something may be tried, counted in Postgres so that every web process counts the same."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import open_session
from app.errors import TooMany
from app.languages import N_, _, span
from app.models import RateLimit, now

KEPT = timedelta(days=1)


@dataclass(frozen=True)
class Limit:
    """So many times in each window of this length; `refusal` is said beyond that."""

    name: str
    refusal: str
    times: int
    window: timedelta = timedelta(minutes=15)


SIGN_IN = N_("Too many attempts to sign in. Try again in {span}.")
SIGN_IN_BY_EMAIL = Limit("sign-in e-mail", SIGN_IN, 10)
# Many people may share one address, behind an office's router or a proxy; right passwords do not count.
SIGN_IN_BY_ADDRESS = Limit("sign-in address", SIGN_IN, 100)
PASSWORD_BY_PERSON = Limit("password person", N_("Too many attempts to change the password. Try again in {span}."), 10)


def hit(limit: Limit, key: str) -> None:
    """Count one attempt; TooMany, with the moment to try again, once the window is full.

    Counted in a transaction of its own: it stays counted however the request ends, and others who try the same wait
    for this line alone and not for a password to be hashed.
    """
    window = func.date_bin(limit.window, func.now(), datetime(1970, 1, 1, tzinfo=UTC))
    counted = (
        insert(RateLimit)
        .values(key=_key(limit, key), window_start=window, hits=1)
        .on_conflict_do_update(index_elements=["key", "window_start"], set_={"hits": RateLimit.hits + 1})
        .returning(RateLimit.hits, RateLimit.window_start)
    )
    with open_session() as session:
        hits, window_start = session.execute(counted).one()
        if hits == 1:
            _forget_old(session)
    if hits > limit.times:
        seconds = max(1, ceil((window_start + limit.window - now()).total_seconds()))
        whole_minutes = ceil(seconds / 60) * 60
        raise TooMany(_(limit.refusal).format(span=span(whole_minutes)), retry_after=seconds)


def forgive(limit: Limit, key: str) -> None:
    """Take the latest attempt back, because it was right."""
    newest = select(func.max(RateLimit.window_start)).where(RateLimit.key == _key(limit, key)).scalar_subquery()
    with open_session() as session:
        session.execute(
            update(RateLimit)
            .where(RateLimit.key == _key(limit, key), RateLimit.window_start == newest, RateLimit.hits > 0)
            .values(hits=RateLimit.hits - 1)
        )


def _key(limit: Limit, key: str) -> str:
    return f"{limit.name} {key[:254]}"


def _forget_old(session: Session) -> None:
    # Two requests that clean up at once share the work instead of waiting for each other.
    old = (
        select(RateLimit.key, RateLimit.window_start)
        .where(RateLimit.window_start < now() - KEPT)
        .with_for_update(skip_locked=True)
    )
    session.execute(
        delete(RateLimit)
        .where(tuple_(RateLimit.key, RateLimit.window_start).in_(old))
        .execution_options(synchronize_session=False)
    )
