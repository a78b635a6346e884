"""Jinja2 set up once: autoescape, StrictUndefined, gettext, and the few filters that pages share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from app import __version__
from app.rendering import markdown
from app.settings import settings

ROOT = Path(__file__).resolve().parent.parent


def _(text: str) -> str:
    """Mark a string of Python code for translation (English now; catalogues come with the second language)."""
    return text


def _many(one: str, many: str, n: int) -> str:
    return one if n == 1 else many


environment = Environment(
    loader=FileSystemLoader(ROOT / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    extensions=["jinja2.ext.i18n"],
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.policies["ext.i18n.trimmed"] = True
environment.install_gettext_callables(_, _many, newstyle=True)  # type: ignore[attr-defined]


def ago(moment: datetime | None) -> Markup:
    """`4 minutes ago`, with the exact time on hover."""
    if moment is None:
        return Markup("–")
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for size, one, many in ((86400, "day", "days"), (3600, "hour", "hours"), (60, "minute", "minutes")):
        # What begins seven days from now is in 7 days a moment later too; what is past has been so for whole ones.
        n = int(seconds // size) if seconds > 0 else round(-seconds / size)
        if n:
            words = f"{n} {one if n == 1 else many}"
            break
    else:
        return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(_iso(moment), _("just now"))
    said = _("{span} ago") if seconds > 0 else _("in {span}")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(_iso(moment), said.format(span=words))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def percent(share: float | None, digits: int = 0) -> str:
    """0.613 -> `61 %`; nothing known -> an en dash."""
    return "–" if share is None else f"{share * 100:.{digits}f} %"


def figure(number: float | None, digits: int = 2) -> str:
    """A number for a table cell: grouped thousands for integers, fixed decimals otherwise."""
    if number is None:
        return "–"
    return f"{number:,}" if isinstance(number, int) else f"{number:,.{digits}f}"


def short(number: float | None, digits: int = 4) -> str:
    """A number of any size to so many digits, for axes and long tables; whole ones are grouped in thousands."""
    if number is None:
        return "–"
    whole = float(number).is_integer() or 10**digits <= abs(number) < 1e15
    return f"{number:,.0f}" if whole else f"{number:.{digits}g}"


@pass_context
def asset(context: Context, name: str) -> str:
    """The address of a file under static/, changed with every change of the file so browsers may cache it for ever."""
    path = ROOT / "static" / name
    return f"/static/{escape(name)}?{int(path.stat().st_mtime) if path.exists() else __version__}"


environment.filters.update(ago=ago, percent=percent, figure=figure, short=short, markdown=markdown)
environment.globals.update(asset=asset, version=__version__, public_url=settings.public_url)


def page(request: Request, template: str, values: dict[str, Any] | None = None, *, status: int = 200) -> HTMLResponse:
    """Render a template. `person` (or None) and `request` are always there; a fragment's name starts with `_`."""
    person = getattr(request.state, "person", None)
    html = environment.get_template(template).render({"request": request, "person": person, **(values or {})})
    return HTMLResponse(html, status)
