"""The audit log's pages: everything for admins, and what was done in a project for its admins."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.accounts import audit, downloads
from app.accounts.access import Admin, AdminOf, page_context
from app.accounts.audit import ACTIONS, Wanted
from app.database import Transaction
from app.errors import NotFound
from app.languages import _
from app.models import Project
from app.templating import page

pages = APIRouter()
api = APIRouter(prefix="/api/v1", tags=["audit"])

Filters = Annotated[Wanted, Query()]
FORMATS = {"csv": (audit.as_csv, "text/csv; charset=utf-8"), "json": (audit.as_json, "application/json")}


def _actions() -> dict[str, str]:
    return dict(sorted(((code, _(words)) for code, words in ACTIONS.items()), key=lambda item: item[1].lower()))


@pages.get("/audit")
def audit_page(request: Request, session: Transaction, admin: Admin, wanted: Filters) -> Response:
    values = {"listing": audit.listed(session, wanted, "/audit"), "actions": _actions(), "wanted": wanted}
    return page(request, "accounts/audit.html", values | {"projects": audit.projects(session)})


@pages.get("/audit.{format}")
def take_audit(format: str, session: Transaction, admin: Admin, wanted: Filters) -> Response:
    return _take(format, session, wanted, None)


@pages.get("/projects/{slug}/audit")
def project_audit_page(request: Request, session: Transaction, access: AdminOf, wanted: Filters) -> Response:
    path = f"/projects/{access.project.slug}/audit"
    values = {"listing": audit.listed(session, wanted, path, access.project), "actions": _actions(), "wanted": wanted}
    return page(request, "accounts/project_audit.html", page_context(access, "settings") | values)


@pages.get("/projects/{slug}/audit.{format}")
def take_project_audit(format: str, session: Transaction, access: AdminOf, wanted: Filters) -> Response:
    return _take(format, session, wanted, access.project)


def _take(format: str, session: Transaction, wanted: Wanted, project: Project | None) -> Response:
    if format not in FORMATS:
        raise NotFound
    write, media_type = FORMATS[format]
    name = f"audit-{project.slug}" if project else "audit"
    response = downloads.send(write(session, wanted, project), f"{name}-{date.today()}.{format}", media_type)
    audit.record(session, "audit_taken", project=project, format=format)
    return response


@api.get("/audit")
def read_audit(session: Transaction, admin: Admin, wanted: Filters) -> dict[str, object]:
    """Who did what, newest first; `q`, `action`, `project`, `since` and `until` narrow it. Admins."""
    found = audit.listed(session, wanted, "/api/v1/audit")
    return {"items": [audit.row_of(line) for line in found.rows], "next": found.next}


@api.get("/projects/{slug}/audit")
def read_project_audit(session: Transaction, access: AdminOf, wanted: Filters) -> dict[str, object]:
    """Who did what in this project, newest first; the same filters."""
    found = audit.listed(session, wanted, f"/api/v1/projects/{access.project.slug}/audit", access.project)
    return {"items": [audit.row_of(line) for line in found.rows], "next": found.next}
