"""The language of each answer: the person's own, else the browser's, else English; its sentences, moments and numbers.

    _("Saved.")            in a function: translated now, for whoever asked
    N_("Saved.")           in a constant: only marked, so that the catalogues hold it; `_()` it where it is shown
    _("{n} more").format(n=n)

Programs (the JSON API), workers and commands speak English.
"""

import gettext as catalogues
import io
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

CATALOGUES = Path(__file__).resolve().parent.parent / "translations"
CODES = ("en", *sorted(path.parent.parent.name for path in CATALOGUES.glob("*/LC_MESSAGES/pairloop.po")))
LANGUAGES = {code: (Locale.parse(code).get_display_name() or code).capitalize() for code in CODES}
"""Every language there is, by its own name."""
FOR_PROGRAMS = ("/api/", "/v1/")


class _Answer:
    """One answer on its way: the threads that make it share this object, though each has a context of its own."""

    def __init__(self, language: str, zone: tzinfo = UTC) -> None:
        self.language = language
        self.zone = zone


_answer: ContextVar[_Answer | None] = ContextVar("answer", default=None)


class SpeakTheirLanguage:
    """Answers people in the language of their browser until `speak` knows better; plain ASGI, so that streams pass."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            _answer.set(None if scope["path"].startswith(FOR_PROGRAMS) else _answer_to(HTTPConnection(scope)))
        await self.app(scope, receive, send)


def _answer_to(request: HTTPConnection) -> _Answer:
    return _Answer(
        of_browser(request.headers.get("accept-language", "")), _zone_of(request.cookies.get("timezone", ""))
    )


def _zone_of(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return UTC


def of_browser(accept_language: str) -> str:
    """The first language that the browser prefers (RFC 9110, section 12.5.4) and that there is, else English."""
    wanted: list[tuple[float, int, str]] = []
    for part in accept_language.split(","):
        tag, _semicolon, quality = part.replace(" ", "").partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        if tag and weight > 0:
            wanted.append((-weight, len(wanted), tag))
    return negotiate_locale([tag for _weight, _place, tag in sorted(wanted)], CODES, sep="-") or "en"


def speak(chosen: str | None) -> None:
    """Go on in the language that the person chose; None leaves the browser's."""
    answer = _answer.get()
    if answer is not None and chosen in LANGUAGES:
        answer.language = chosen


def language() -> str:
    """The code of the language that this answer is in."""
    answer = _answer.get()
    return answer.language if answer is not None else "en"


def zone() -> tzinfo:
    """The browser's time zone, which app.js keeps in a cookie; UTC without one."""
    answer = _answer.get()
    return answer.zone if answer is not None else UTC


@cache
def _catalogue(code: str) -> catalogues.NullTranslations:
    path = CATALOGUES / code / "LC_MESSAGES" / "pairloop.po"
    if not path.exists():
        return catalogues.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(path.read_bytes()), locale=code))
    compiled.seek(0)
    return catalogues.GNUTranslations(compiled)


def gettext(message: str) -> str:
    """Say a message in the language of this answer."""
    # The empty message is the catalogue's own header.
    return _catalogue(language()).gettext(message) if message else ""


def messages(code: str) -> tuple[str, ...]:
    """Every message without a plural that there is in a language, as it stands in the code."""
    path = CATALOGUES / code / "LC_MESSAGES" / "pairloop.po"
    if not path.exists():
        return ()
    entries = read_po(io.BytesIO(path.read_bytes()), locale=code)
    return tuple(one.id for one in entries if isinstance(one.id, str) and one.id)


def ngettext(one: str, many: str, n: int) -> str:
    """Say the form of a message that goes with a number."""
    return _catalogue(language()).ngettext(one, many, n)


def N_(message: str) -> str:
    """Mark a constant for the catalogues; it is translated where it is shown."""
    return message


_ = gettext


_UNITS: tuple[tuple[Literal["day", "hour", "minute"], int], ...] = (("day", 86400), ("hour", 3600), ("minute", 60))
WORDS = (
    *(N_("annotator"), N_("admin"), N_("operator")),
    *(N_("queued"), N_("running"), N_("succeeded"), N_("failed"), N_("cancelled")),
    *(N_("candidate"), N_("promoted"), N_("retired")),
    *(N_("standard"), N_("quick"), N_("thorough")),
    *(N_("train"), N_("holdout"), N_("gold"), N_("evaluation"), N_("repeat")),
    *(N_("page"), N_("api"), N_("chat"), N_("import"), N_("feedback"), N_("sample")),
    *(N_("reward"), N_("policy"), N_("evaluate"), N_("chain"), N_("export")),
)
"""Codes of the database and the API that pages show as words: `run.status | gettext`."""


def span(seconds: float) -> str:
    """A length of time in the unit that people would say it in: `2 hours`."""
    for unit, size in _UNITS:
        if seconds >= 0.95 * size:
            return _in_units(round(seconds / size), unit)
    return _in_units(max(1, round(seconds)), "second")


def ago(seconds: float) -> str:
    """How long it is since a moment, or until one that is to come (below 0): `4 minutes ago`, `in 7 days`.

    What begins seven days from now is in 7 days a moment later too; what is past has been so for whole units.
    """
    for unit, size in _UNITS:
        n = int(seconds // size) if seconds > 0 else -round(-seconds / size)
        if n:
            return _in_units(-n, unit, direction=True)
    return _("just now")


def _in_units(n: int, unit: Literal["day", "hour", "minute", "second"], direction: bool = False) -> str:
    # Nothing reaches an infinite threshold, so the unit stays the one that was chosen.
    return format_timedelta(
        timedelta(**{f"{unit}s": n}),
        granularity=unit,
        threshold=float("inf"),
        add_direction=direction,
        locale=language(),
    )


def moment(at: datetime) -> str:
    """A date with its time and time zone."""
    there = at.astimezone(zone())
    return f"{format_date(there, 'long', language())} {there:%H:%M:%S %Z}"


def number(value: float, digits: int = 0) -> str:
    """A number with so many decimals, grouped as the language groups them."""
    return format_decimal(value, format=f"#,##0.{'0' * digits}", locale=language())
