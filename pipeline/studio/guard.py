"""Who may ask the studio what: the token, hosts, origins, and the headers of every answer."""

import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
EVERY_ANSWER = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
OPEN = "/static/"  # holds nothing of the user's
CHANGING = ("POST", "DELETE")


@dataclass(frozen=True)
class Guard:
    """Lets a request through to the app, or answers it."""

    app: ASGIApp
    token: str
    hosts: tuple[str, ...] | None
    """Names this server is called by, without the port; None: any, since it is not local."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in EVERY_ANSWER.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._answer(scope)
        await (answer or self.app)(scope, receive, headed)

    def _answer(self, scope: Scope) -> Response | None:
        """What is said to a request that does not pass."""
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        # A foreign name that resolves to this machine must not reach the page (DNS rebinding).
        if self.hosts is not None and _name(host) not in self.hosts:
            return PlainTextResponse("only this machine is served", 403)
        if scope["method"] in CHANGING and not _is_own(headers, host):
            return PlainTextResponse("another site asks this: refused", 403)
        if path.startswith(OPEN):
            return None
        cookie = cookie_name(host)
        if path == "/":
            query = parse_qs(scope["query_string"].decode("latin-1"))
            if self._is_token((query.get("token") or [""])[-1]):
                answer = RedirectResponse("/", 303)
                answer.set_cookie(cookie, self.token, httponly=True, samesite="lax")
                return answer
        if self._is_token(_cookie(headers, cookie)):
            return None
        return PlainTextResponse(
            "open the address that `nvgctl studio` has printed: it ends in ?token=...", 403
        )

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())


def cookie_name(host: str) -> str:
    """A studio on another port has another cookie: browsers keep them by name of the host alone."""
    return f"nvg-studio-{host.rpartition(':')[2] if ':' in host else 80}"


def _name(host: str) -> str | None:
    """A host without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _is_own(headers: Headers, host: str) -> bool:
    """Whether a page of this server asks, or no page at all."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == host
