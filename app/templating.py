"""Jinja2 set up once: autoescape, StrictUndefined, gettext, and the few filters that pages share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from app import __version__, languages
from app.languages import _, gettext, ngettext, number
from app.models import User
from app.recorded import recorded
from app.rendering import markdown, name_deceptive
from app.settings import settings

ROOT = Path(__file__).resolve().parent.parent

environment = Environment(
    loader=FileSystemLoader(ROOT / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    extensions=["jinja2.ext.i18n"],
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.policies["ext.i18n.trimmed"] = True
environment.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]


def ago(moment: datetime | None) -> Markup:
    """`4 minutes ago`, with the exact time on hover."""
    if moment is None:
        return Markup("–")
    seconds = (datetime.now(UTC) - moment).total_seconds()
    exact = moment.astimezone(UTC).isoformat(timespec="seconds")
    said = (exact, languages.moment(moment), languages.ago(seconds))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(*said)


def since(moment: datetime | None) -> str:
    """`4 minutes ago` as plain text, for drawings; an en dash for never."""
    return "–" if moment is None else languages.ago((datetime.now(UTC) - moment).total_seconds())


def percent(share: float | None, digits: int = 0) -> str:
    """0.613 -> `61 %`; nothing known -> an en dash."""
    return "–" if share is None else f"{number(share * 100, digits)} %"


def figure(value: float | None, digits: int = 2) -> str:
    """A number for a table cell: grouped thousands for integers, fixed decimals otherwise."""
    if value is None:
        return "–"
    return number(value, 0 if isinstance(value, int) else digits)


def short(value: float | None, digits: int = 4) -> str:
    """A number of any size to so many digits, for axes and long tables; whole ones are grouped in thousands."""
    if value is None:
        return "–"
    whole = float(value).is_integer() or 10**digits <= abs(value) < 1e15
    return number(value) if whole else f"{value:.{digits}g}"


def called(person: User) -> str:
    """What people call somebody: by name, else by e-mail address; who was erased has neither."""
    return person.name or person.email or _("Erased person {n}").format(n=person.id)


@pass_context
def asset(context: Context, name: str) -> str:
    """The address of a file under static/, changed with every change of the file so browsers may cache it for ever."""
    path = ROOT / "static" / name
    return f"/static/{escape(name)}?{int(path.stat().st_mtime) if path.exists() else __version__}"


environment.filters.update(ago=ago, since=since, percent=percent, figure=figure, short=short)
environment.filters.update(
    markdown=markdown, as_written=name_deceptive, gettext=gettext, called=called, recorded=recorded
)
environment.globals.update(
    asset=asset, version=__version__, public_url=settings.public_url, language=languages.language
)


def page(request: Request, template: str, values: dict[str, Any] | None = None, *, status: int = 200) -> HTMLResponse:
    """Render a template. `person` (or None) and `request` are always there; a fragment's name starts with `_`."""
    person = getattr(request.state, "person", None)
    html = environment.get_template(template).render({"request": request, "person": person, **(values or {})})
    return HTMLResponse(html, status)
