"""The fence: reading only, known hosts only, a token when the world can knock, and a strict content policy."""

import ipaddress
from http.cookies import CookieError, SimpleCookie
from secrets import compare_digest
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "digsite_token"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Fence:
    """Wraps the application; what does not pass is answered here."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: frozenset[str] = LOOPBACK,
        token: str | None = None,
        may_write: bool = False,
        taken: frozenset[str] = frozenset(),
    ) -> None:
        """`taken` are the paths to which a visitor may send something that changes no run."""
        self.app = app
        self.may_write, self.taken = may_write, taken
        self.hosts = hosts
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", POLICY)
            await send(message)

        await (self._refusal(scope) or self.app)(scope, receive, fenced)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        sends = scope["method"] == "POST" and (self.may_write or scope["path"] in self.taken)
        if not sends and scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("This server changes no run.", 405)
        if not self._known_host(headers.get("host", "")):
            return PlainTextResponse(
                "This server does not go by that name; see digsite serve --allow-host.", 421
            )
        if self.token is None:
            return None
        return self._token_refusal(scope, headers, self.token)

    def _known_host(self, header: str) -> bool:
        """A page of a foreign name that resolves to us (DNS rebinding) is turned away."""
        host = _without_port(header).lower()
        return host in self.hosts or (self.token is not None and _is_address(host))

    def _token_refusal(self, scope: Scope, headers: Headers, token: str) -> ASGIApp | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if given is not None and _same(given, token):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            # A path such as //evil.example would send the browser elsewhere.
            path = "/" + scope["path"].lstrip("/")
            response = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return response
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if any(_same(candidate, token) for candidate in (bearer, _cookie(headers))):
            return None
        return PlainTextResponse("Open the address that `digsite serve` printed: it carries the token.", 401)


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _same(given: str, token: str) -> bool:
    return compare_digest(given.encode(), token.encode())


def _without_port(header: str) -> str:
    if header.startswith("["):  # [::1]:8000
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
