"""Cross-site requests refused, headers that keep the browser strict; plain ASGI so that streams pass untouched."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.settings import settings

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

REFUSAL = (
    "This request came from another site and was refused. If you sent it from a page of Pairloop itself, the address "
    "in your browser is not the one that Pairloop knows: whoever runs it has to set PAIRLOOP_PUBLIC_URL to it."
)


class WebSecurity:
    """Two promises: no other site can act for a signed-in person, and no page runs code that is not ours."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
                if settings.public_url.startswith("https://"):
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        if scope["method"] not in SAFE_METHODS and is_cross_site(Headers(scope=scope)):
            await PlainTextResponse(REFUSAL, 403)(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


def is_cross_site(headers: Headers) -> bool:
    """Whether a browser says that this request comes from another site (the algorithm of Go's CrossOriginProtection).

    Chromium sends no Sec-Fetch-Site to plain-http names, but does send Origin; a client that sends neither is no
    browser. A bearer token without a cookie cannot be sent by another site's form.
    """
    if headers.get("authorization", "").lower().startswith("bearer ") and "cookie" not in headers:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    trusted = {headers.get("host"), urlsplit(settings.public_url).netloc}
    return urlsplit(origin).netloc not in trusted
