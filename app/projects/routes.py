"""The door of app/projects: the list, a project's own page, its guidelines, and the JSON API."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.orm import Session

from app.accounts.access import Access, Admin, AdminOf, MemberOf, Person, find_project, page_context
from app.database import Transaction
from app.errors import BadInput
from app.lists import Asked
from app.projects import guidelines, projects, standing
from app.projects.forms import EVERY, LABELS, as_copied, number, served_bases
from app.projects.member_pages import api as member_api
from app.projects.member_pages import pages as member_pages
from app.projects.schemas import NewProject, ProjectChanges, ProjectList, ShownProject
from app.projects.settings_page import pages as settings_pages
from app.runs import live_page, loop
from app.settings import settings
from app.templating import environment, page

pages = APIRouter(prefix="/projects")
api = APIRouter(prefix="/api/v1/projects", tags=["projects"])

Text = Annotated[str, Form()]


@pages.get("")
def projects_page(request: Request, session: Transaction, person: Person, asked: Annotated[Asked, Query()]) -> Response:
    return page(request, "projects/projects.html", {"listing": standing.listed(session, person, asked)})


@pages.get("/new")
def new_project_page(request: Request, session: Transaction, admin: Admin, like: str = "") -> Response:
    usual = {"base_model": settings.base_model, "labels_per_comparison": "1", "every": "200"}
    typed = {"name": "", "guidelines": "", "like": ""} | usual
    if like:
        typed |= as_copied(session, find_project(session, admin, like, "admin").project)
    return _new(request, session, admin, typed)


def _new(
    request: Request, session: Session, admin: Admin, typed: dict[str, str], problem: str = "", status: int = 200
) -> Response:
    like = find_project(session, admin, typed["like"], "admin").project if typed["like"] else None
    values = {"typed": typed, "like": like, "bases": served_bases(), "problem": problem}
    return page(request, "projects/new.html", values, status=status)


@pages.post("/new")
def create_project(
    request: Request,
    session: Transaction,
    admin: Admin,
    name: Text = "",
    base_model: Text = "",
    guidelines: Text = "",
    labels_per_comparison: Text = "1",
    every: Text = "",
    like: Text = "",
) -> Response:
    typed = {
        "like": like,
        "name": name,
        "base_model": base_model,
        "guidelines": guidelines,
        "labels_per_comparison": labels_per_comparison,
        "every": every,
    }
    try:
        labels = number(labels_per_comparison, int, LABELS)
        new = NewProject(
            name=name,
            base_model=base_model,
            guidelines=guidelines,
            labels_per_comparison=1 if labels is None else labels,
            **({"like": like} if like else {"retraining": {"every": number(every, int, EVERY)}}),
        )
        project = projects.create(session, admin, new)
    except BadInput as problem:
        return _new(request, session, admin, typed, problem.message, problem.status)
    return RedirectResponse(f"/projects/{project.slug}", 303)


pages.include_router(settings_pages)
pages.include_router(member_pages)


@pages.get("/{slug}")
def project_page(request: Request, session: Transaction, access: MemberOf) -> Response:
    values = _standing(session, access) | {"guidelines": guidelines.current(session, access.project)}
    return page(request, "projects/project.html", values)


@pages.get("/{slug}/live", response_class=EventSourceResponse)
async def live_project(access: MemberOf) -> AsyncIterator[ServerSentEvent]:
    """Where the project stands, again after every change."""

    def render(session: Session, access: Access) -> dict[str, str]:
        template = environment.get_template("projects/_standing.html")
        return {"standing": template.render(_standing(session, access))}

    async for event in live_page.events(access, None, render):
        yield event


def _standing(session: Session, access: Access) -> dict[str, Any]:
    stands = loop.of(session, access.project)
    next_sentences = standing.what_happens_next(session, access, stands)
    return page_context(access, "project") | {"stands": stands, "next_sentences": next_sentences}


@pages.get("/{slug}/guidelines")
def guidelines_page(request: Request, session: Transaction, access: MemberOf, version: int | None = None) -> Response:
    return _guidelines(request, session, access, version)


def _guidelines(
    request: Request,
    session: Transaction,
    access: MemberOf,
    version: int | None = None,
    typed: str = "",
    problem: str = "",
) -> Response:
    newest = guidelines.current(session, access.project)
    shown = newest if version is None else guidelines.numbered(session, access.project, version)
    values = {
        "shown": shown,
        "newest": newest,
        "versions": guidelines.versions(session, access.project),
        "typed": typed or (newest.text if newest else ""),
        "problem": problem,
    }
    return page(
        request, "projects/guidelines.html", page_context(access, "guidelines") | values, status=422 if problem else 200
    )


@pages.post("/{slug}/guidelines")
def write_guidelines(request: Request, session: Transaction, access: AdminOf, text: Text = "") -> Response:
    try:
        guidelines.write(session, access.project, text, access.person)
    except BadInput as problem:
        return _guidelines(request, session, access, typed=text, problem=problem.message)
    return RedirectResponse(f"/projects/{access.project.slug}/guidelines", 303)


@api.post("", status_code=201)
def create(new: NewProject, session: Transaction, admin: Admin) -> ShownProject:
    """Make a project. Without `retraining`, nothing trains by itself."""
    project = projects.create(session, admin, new)
    return ShownProject.of(project, guidelines.current(session, project))


@api.get("")
def list_projects(
    session: Transaction,
    person: Person,
    cursor: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ProjectList:
    """The projects you may see, newest first; `next` of one page is the `cursor` of the following one."""
    found = projects.listed(session, person, cursor, limit + 1)
    shown, more = found[:limit], len(found) > limit
    texts = guidelines.current_of(session, shown)
    return ProjectList(
        items=[ShownProject.of(project, texts.get(project.id)) for project in shown],
        next=str(shown[-1].id) if more else None,
    )


@api.get("/{slug}")
def read(session: Transaction, access: MemberOf) -> ShownProject:
    """One project with every setting."""
    return ShownProject.of(access.project, guidelines.current(session, access.project))


@api.patch("/{slug}")
def change(changes: ProjectChanges, session: Transaction, access: AdminOf) -> ShownProject:
    """Change what is sent and nothing else; `archived` puts a project away or brings it back."""
    project = projects.change(session, access.person, access.project, changes)
    return ShownProject.of(project, guidelines.current(session, project))


api.include_router(member_api)
