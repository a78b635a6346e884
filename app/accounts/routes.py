"""The door of app/accounts: signing in and out, the links that let people in, the page about oneself."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import (
    audit,
    downloads,
    erasure,
    invitations,
    limits,
    passwords,
    people,
    personal_data,
    quotas,
    sessions,
    sign_in_links,
    tokens,
)
from app.accounts.access import COOKIE, Person, anyone, signed_in_if_any, token_hash, visible_projects
from app.accounts.audit_pages import api as audit_api
from app.accounts.audit_pages import pages as audit_pages
from app.accounts.people_pages import pages as people_pages
from app.database import Transaction
from app.errors import BadInput, Conflict, SignInNeeded, TooMany
from app.languages import LANGUAGES, _
from app.models import Invitation, Project, User
from app.templating import page

pages = APIRouter()
pages.include_router(people_pages)
pages.include_router(audit_pages)
api = APIRouter()
api.include_router(audit_api)

Text = Annotated[str, Form()]
public = [Depends(anyone)]


def own_path(address: str) -> str:
    """The path if it leads to a page of ours, else the start page."""
    parts = urlsplit(address)
    harmless = address.isprintable() and "\\" not in address and not address.startswith("//")
    return address if harmless and address.startswith("/") and not parts.netloc and not parts.scheme else "/"


def _signed_in(request: Request, session: Transaction, person: User, to: str) -> Response:
    response = RedirectResponse(to, 303)
    agent = request.headers.get("user-agent", "")
    sessions.keep(response, sessions.start(session, person, agent, instead_of=request.cookies.get(COOKIE)))
    return response


@pages.get("/")
def start_page(person: Person, session: Transaction) -> Response:
    """The one project somebody works in, else the list of them."""
    projects = [project for project in visible_projects(session, person) if project.archived_at is None]
    return RedirectResponse(f"/projects/{projects[0].slug}" if len(projects) == 1 else "/projects", 303)


@pages.get("/sign-in", dependencies=public)
def sign_in_page(request: Request, session: Transaction, next: str = "/") -> Response:
    if signed_in_if_any(request, session) is not None:
        return RedirectResponse(own_path(next), 303)
    return _sign_in_form(request, session, "", own_path(next))


def _sign_in_form(
    request: Request, session: Transaction, email: str, to: str, problem: str = "", status: int = 200
) -> Response:
    nobody = not invitations.has_first_person(session)
    values = {"email": email, "next": to, "problem": problem, "nobody": nobody}
    return page(request, "accounts/sign_in.html", values, status=status)


@pages.post("/sign-in", dependencies=public)
def sign_in(
    request: Request, session: Transaction, email: Text = "", password: Text = "", next: Text = "/"
) -> Response:
    address = request.client.host if request.client else "unknown"
    # The form again rather than an error page, so that what was typed is not lost.
    try:
        person = sessions.sign_in(session, email, password, address)
    except TooMany as problem:
        response = _sign_in_form(request, session, email, own_path(next), problem.message, problem.status)
        response.headers["Retry-After"] = str(problem.extra["retry_after"])
        return response
    if person is None:
        sentence = _("The e-mail address or the password is not right. Check both and try again.")
        return _sign_in_form(request, session, email, own_path(next), sentence, 422)
    return _signed_in(request, session, person, own_path(next))


@pages.post("/sign-out", dependencies=public)
def sign_out(request: Request, session: Transaction) -> Response:
    if token := request.cookies.get(COOKIE):
        sessions.leave(session, token)
    response = RedirectResponse("/sign-in", 303)
    sessions.forget(response)
    return response


@pages.get("/invitations/{token}", dependencies=public)
def invitation_page(token: str, request: Request, session: Transaction) -> Response:
    signed_in_if_any(request, session)
    return _invitation(request, session, invitations.find(session, token))


def _invitation(
    request: Request,
    session: Transaction,
    invitation: Invitation,
    email: str = "",
    name: str = "",
    problem: str = "",
    status: int = 200,
) -> Response:
    values = {
        "invitation": invitation,
        "invited_into": session.get(Project, invitation.project_id) if invitation.project_id else None,
        "email": email or invitation.email or "",
        "name": name,
        "problem": problem,
    }
    return page(request, "accounts/invitation.html", values, status=status)


@pages.post("/invitations/{token}", dependencies=public)
def accept_invitation(
    token: str, request: Request, session: Transaction, email: Text = "", name: Text = "", password: Text = ""
) -> Response:
    try:
        person = invitations.accept(session, token, email, name, password)
    except BadInput as problem:
        invitation = invitations.find(session, token)
        return _invitation(request, session, invitation, email, name, problem.message, problem.status)
    return _signed_in(request, session, person, "/")


@pages.post("/invitations/{token}/join", dependencies=public)
def join_project(token: str, request: Request, session: Transaction) -> Response:
    """Whoever is signed in takes the roles in the project that the link gives."""
    person = signed_in_if_any(request, session)
    if person is None:
        raise SignInNeeded
    try:
        project = invitations.join(session, token, person)
    except BadInput as problem:
        invitation = invitations.find(session, token)
        return _invitation(request, session, invitation, problem=problem.message, status=problem.status)
    return RedirectResponse(f"/projects/{project.slug}", 303)


@pages.get("/sign-in-links/{token}", dependencies=public)
def sign_in_link_page(token: str, request: Request, session: Transaction) -> Response:
    values = {"whose": sign_in_links.find(session, token), "problem": ""}
    return page(request, "accounts/sign_in_link.html", values)


@pages.post("/sign-in-links/{token}", dependencies=public)
def use_sign_in_link(token: str, request: Request, session: Transaction, password: Text = "") -> Response:
    try:
        person = sign_in_links.use(session, token, password)
    except BadInput as problem:
        values = {"whose": sign_in_links.find(session, token), "problem": problem.message}
        return page(request, "accounts/sign_in_link.html", values, status=problem.status)
    return _signed_in(request, session, person, "/")


@pages.get("/me")
def me_page(request: Request, session: Transaction, person: Person) -> Response:
    return _me(request, session, person)


def _me(request: Request, session: Transaction, person: User, status: int = 200, **values: Any) -> Response:
    open_tokens = tokens.open_tokens(session, person)
    shown = {
        "person": person,
        "sessions": sessions.open_sessions(session, person),
        "current_hash": token_hash(request.cookies.get(COOKIE, "")),
        "browser_name": sessions.browser_name,
        "tokens": open_tokens,
        "token_limits": quotas.of(session, open_tokens),
        "token_uses": quotas.uses(session, open_tokens),
        "languages": LANGUAGES,
        "breaks": people.BREAKS,
        "new_token": None,
        "said": "",
        "problem": "",
        "problem_with": "",
    }
    return page(request, "accounts/me.html", {**shown, **values}, status=status)


@pages.post("/me/name")
def change_name(request: Request, session: Transaction, person: Person, name: Text = "") -> Response:
    try:
        person.name = people.checked_name(name)
    except BadInput as problem:
        return _me(request, session, person, problem.status, problem=problem.message, problem_with="name")
    return RedirectResponse("/me", 303)


@pages.post("/me/language")
def change_language(session: Transaction, person: Person, language: Text = "") -> Response:
    """In which language one reads the pages; empty: in the browser's."""
    people.choose_language(person, language)
    return RedirectResponse("/me", 303)


@pages.post("/me/break")
def change_break(session: Transaction, person: Person, minutes: Annotated[int, Form()] = 0) -> Response:
    """After how long the label page reminds oneself of a break."""
    people.choose_break(person, minutes)
    return RedirectResponse("/me", 303)


@pages.post("/me/password")
def change_password(
    request: Request, session: Transaction, person: Person, current: Text = "", new: Text = ""
) -> Response:
    try:
        limits.hit(limits.PASSWORD_BY_PERSON, str(person.id))
        if person.password_hash is not None and not passwords.is_password_of(person, current):
            raise BadInput(_("This is not your current password. Nothing was changed."))
        person.password_hash = passwords.hash_password(new)
        audit.record(session, "password_changed")
    except BadInput as problem:
        return _me(request, session, person, problem.status, problem=problem.message, problem_with="password")
    limits.forgive(limits.PASSWORD_BY_PERSON, str(person.id))
    sessions.sign_out_everywhere(session, person, but=request.cookies.get(COOKIE, ""))
    return _me(request, session, person, said=_("Your password is changed. Every other browser was signed out."))


@pages.post("/me/sign-out-everywhere")
def sign_out_everywhere(session: Transaction, person: Person) -> Response:
    sessions.sign_out_everywhere(session, person)
    audit.record(session, "signed_out_everywhere")
    response = RedirectResponse("/sign-in", 303)
    sessions.forget(response)
    return response


@pages.post("/me/tokens")
def create_token(request: Request, session: Transaction, person: Person, name: Text = "") -> Response:
    try:
        token = tokens.create_token(session, person, name)
    except BadInput as problem:
        return _me(request, session, person, problem.status, problem=problem.message, problem_with="token")
    return _me(request, session, person, 201, new_token=token)


@pages.post("/me/tokens/{token_id}/limits")
def limit_token(
    token_id: int, request: Request, session: Transaction, person: Person, per_minute: Text = "", per_day: Text = ""
) -> Response:
    """How much a token may ask of the model; empty: as much as it likes."""
    try:
        quotas.choose(session, person, token_id, per_minute, per_day)
    except BadInput as problem:
        return _me(request, session, person, problem.status, problem=problem.message, problem_with="token")
    return RedirectResponse("/me#tokens", 303)


@pages.post("/me/tokens/{token_id}/revoke")
def revoke_token(token_id: int, session: Transaction, person: Person) -> Response:
    tokens.revoke(session, person, token_id)
    return RedirectResponse("/me#tokens", 303)


@pages.get("/me/data")
def take_own_data(session: Transaction, person: Person) -> Response:
    """Everything that is kept about oneself."""
    return downloads.send(personal_data.text(session, person), "my-pairloop-data.json", "application/json")


@pages.post("/me/erase")
def erase_oneself(request: Request, session: Transaction, person: Person, email: Text = "") -> Response:
    try:
        erasure.erase(session, person, email)
    except (BadInput, Conflict) as problem:
        return _me(request, session, person, problem.status, problem=problem.message, problem_with="erase")
    response = RedirectResponse("/sign-in", 303)
    sessions.forget(response)
    return response
