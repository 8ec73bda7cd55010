"""What holds for every request before any route sees it: its host, its origin and its size; and headers of answers.

Refused are requests under a name that is not the server's (DNS rebinding), writes that another site's page sends
(cross-site request forgery), and bodies that are larger than any route takes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from typing import Any

from jobs.web.problems import problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 1 << 20
"""Bytes of a request's body."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_CONTENT_SECURITY = (
    b"default-src 'self'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; object-src 'none'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _CONTENT_SECURITY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")


class Guard:
    """Middleware around an application that people reach under some origins alone, `http://127.0.0.1:8080` say."""

    def __init__(self, app: App, origins: frozenset[str]) -> None:
        self._app = app
        self._origins = origins
        self._hosts = frozenset(origin.partition("://")[2] for origin in origins)
        self._headers = [*_HEADERS, *([_HSTS] if all(o.startswith("https:") for o in origins) else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                now = (b"x-server-time", formatdate(time.time(), usegmt=True).encode())
                names = {name for name, _ in message["headers"]}
                own = [header for header in (*self._headers, now) if header[0] not in names]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            status, line = refusal
            await problem(status, [line])(scope, receive, with_headers)
            return
        if "content-length" not in headers:
            receive = _limited(receive)
        await self._app(scope, receive, with_headers)

    def _refusal(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        if headers.get("host", "").lower() not in self._hosts:
            return 421, "this server is not known under this name; --public-url says which one people use"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BYTES:
            return 413, f"body: expected at most {MOST_BYTES:,} bytes"
        if method in _SAFE:
            return None
        origin = headers.get("origin")
        has_key = headers.get("authorization", "").lower().startswith("bearer ")
        if origin is None and has_key and "cookie" not in headers:
            return None
        if origin is None or origin.lower() not in self._origins or headers.get("sec-fetch-site") == "cross-site":
            return 403, "writes are taken from the server's own pages (Origin), or with a key and no cookie"
        return None


def _limited(receive: Receive) -> Receive:
    """Return a body without a length as one that ends too early where it is too large."""
    taken = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MOST_BYTES:
            return {"type": "http.disconnect"}
        return message

    return limited
