"""What may go wrong, each with a status and a sentence that says what to do; one handler tells people and programs.

DomainError
├── BadInput (422)          what was sent cannot be used
├── SignInNeeded (401)      nobody is signed in
├── NotAllowed (403)        signed in, but without the role
├── NotFound (404)          not there, or not yours to see
├── Conflict (409)          true a moment ago, not any more
├── Gone (410)              the lease is lost
├── TooLarge (413)          more than is taken at once
├── TooMany (429)           slow down
└── Unavailable (503)       something this needs is down
"""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.languages import N_, _
from app.templating import page
from app.web_security import HEADERS


class DomainError(Exception):
    """Something was asked for that the rules do not allow; `sentence` is what a person reads, if no other is given."""

    status = 400
    sentence = N_("This cannot be done.")

    def __init__(self, message: str | None = None, **extra: Any) -> None:
        self.message = message or _(self.sentence)
        self.extra = extra
        super().__init__(self.message)


class BadInput(DomainError):
    status = 422
    sentence = N_("What was sent cannot be used.")


class SignInNeeded(DomainError):
    status = 401
    sentence = N_("Sign in first, or send a valid bearer token.")


class NotAllowed(DomainError):
    status = 403
    sentence = N_("Your roles do not allow this. Ask an admin of this installation for the role you need.")


class NotFound(DomainError):
    status = 404
    sentence = N_("There is nothing here, or it is not yours to see. Check the address.")


class Conflict(DomainError):
    status = 409
    sentence = N_("Somebody was faster, or this was done already. Reload and look again.")


class Gone(DomainError):
    status = 410
    sentence = N_("The time to answer ran out and somebody else has this comparison now. Take the next one.")


class TooLarge(DomainError):
    status = 413
    sentence = N_("This is more than Pairloop takes at once. Send it in smaller parts.")


class TooMany(DomainError):
    status = 429
    sentence = N_("Too many attempts. Wait a few minutes and try again.")


class Unavailable(DomainError):
    status = 503
    sentence = N_("A part of Pairloop that this needs is not running. Try again in a minute.")


TITLES = (
    *(
        N_("Bad Request"),
        N_("Unauthorized"),
        N_("Forbidden"),
        N_("Not Found"),
        N_("Method Not Allowed"),
        N_("Conflict"),
    ),
    *(N_("Gone"), N_("Content Too Large"), N_("Unprocessable Content"), N_("Too Many Requests")),
    *(N_("Request Entity Too Large"), N_("Unprocessable Entity"), N_("Internal Server Error")),
    N_("Service Unavailable"),
)
"""What Python calls the statuses; some have two names, by its version."""


def install_error_handlers(app: FastAPI) -> None:
    """Problem documents for programs, a toast for htmx, a page for people."""

    @app.exception_handler(DomainError)
    def domain_error(request: Request, error: DomainError) -> Response:
        response = _answer(request, error.status, error.message, error.extra)
        if "retry_after" in error.extra:
            response.headers["Retry-After"] = str(error.extra["retry_after"])
        return response

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = " → ".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return _answer(request, 422, f"{where}: {first['msg']}." if where else f"{first['msg']}.", {})

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        sentence = _(NotFound.sentence) if error.status_code == 404 else str(error.detail)
        return _answer(request, error.status_code, sentence, {})

    # A NUL byte, half of a surrogate pair, an id beyond 64 bits: nothing that a form or program of good will sends, so
    # it is answered once, here, instead of being looked for in every field.
    @app.exception_handler(DataError)
    @app.exception_handler(UnicodeEncodeError)
    def cannot_be_stored(request: Request, error: Exception) -> Response:
        sentence = _(
            "What you sent holds a character or a number that cannot be stored, such as a NUL byte. "
            "Remove it and send it again."
        )
        return _answer(request, 422, sentence, {})

    @app.exception_handler(ClientDisconnect)
    def gone(request: Request, error: ClientDisconnect) -> Response:
        # Who left while they sent something reads no answer, and nothing of it was done: no error of ours.
        return Response(status_code=400)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> Response:
        sentence = _(
            "Something broke on our side; nothing you sent was half saved. Try again, and tell an admin if it stays."
        )
        response = _answer(request, 500, sentence, {})
        # This answer is sent from outside the security layer, which the exception tore through.
        response.headers.update(HEADERS)
        return response


def _answer(request: Request, status: int, sentence: str, extra: dict[str, Any]) -> Response:
    path = request.url.path
    title = HTTPStatus(status).phrase
    if path.startswith("/v1/"):
        body = {"error": {"message": sentence, "type": title, "code": extra.get("code")}}
        return JSONResponse(body, status)
    if path.startswith("/api/"):
        problem = {"type": "about:blank", "title": title, "status": status, "detail": sentence, **extra}
        return JSONResponse(problem, status, media_type="application/problem+json")
    if status == 401 and request.method == "GET" and "hx-request" not in request.headers:
        back = f"{path}?{request.url.query}" if request.url.query else path
        return RedirectResponse(f"/sign-in?next={quote(back, safe='/')}", 303)
    if "hx-request" in request.headers:
        # A status that htmx swaps, told to swap nothing but the out-of-band toast.
        response = page(request, "_toast.html", {"sentence": sentence, "status": status}, status=status)
        response.headers["HX-Reswap"] = "none"
        return response
    return page(request, "error.html", {"sentence": sentence, "status": status, "title": _(title)}, status=status)
