"""What holds for every request before any route sees it: its host, its origin and its size; and headers of answers.

Refused are requests under a name that is not the server's (DNS rebinding), writes that another site's page sends
(cross-site request forgery), and bodies that are larger than any route takes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from email.utils import formatdate
from typing import Any

from starlette.requests import Request

from jobs.web.problems import of_failure, problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 1 << 20
"""Bytes of a request's body."""

BODY_S = 30.0
"""Seconds in which a body has to be there."""

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
# What one person gets is kept by no cache, unless a route says otherwise.
_NO_STORE = (b"cache-control", b"no-store")
# Two of one kind could mean one thing to a proxy and another one here.
_SINGLE = frozenset({b"host", b"origin", b"content-length", b"transfer-encoding", b"authorization", b"content-type"})
_DIGITS = 15
# The parser's own limit is for heads that come in parts.
_MOST_HEAD = 1 << 16
_HSTS = (b"strict-transport-security", b"max-age=31536000")


class Guard:
    """Middleware around an application that people reach under some origins alone, `http://127.0.0.1:8080` say."""

    def __init__(
        self,
        app: App,
        origins: frozenset[str],
        answers: Counter[int] | None = None,
        streams: Callable[[Scope], bool] = lambda _: False,
    ) -> None:
        """Guard an application; `answers` counts answers by their status.

        `streams` says which requests are read piece by piece by a route that has limits of its own.
        """
        self._app = app
        self._streams = streams
        self._answers = Counter[int]() if answers is None else answers
        self._origins = origins
        self._hosts = frozenset(origin.partition("://")[2] for origin in origins)
        self._headers = [*_HEADERS, *([_HSTS] if all(o.startswith("https:") for o in origins) else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        answer = _Answer(send, self._headers, self._answers)
        refusal = self._refusal(scope)
        if refusal is not None:
            status, line = refusal
            # The rest of what was sent is not read: it must not be taken for another request.
            await problem(status, [line], headers={"connection": "close"})(scope, receive, answer.send)
            return
        body = _Body(receive, self._streams(scope))
        try:
            await self._app(scope, body.receive, answer.guarded(body))
        except Exception as error:
            if not body.is_refused:
                if answer.has_begun:
                    of_failure(Request(scope), error)
                    raise RuntimeError("an answer was cut off; what failed is logged before this") from None
                await of_failure(Request(scope), error)(scope, receive, answer.send)
        if body.is_refused and not answer.has_begun:
            line = f"body: expected at most {MOST_BYTES:,} bytes within {BODY_S:.0f} s"
            await problem(413 if body.is_large else 408, [line], headers={"connection": "close"})(
                scope, receive, answer.send
            )

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if (problem_of_head := _problem_of(scope, headers)) is not None:
            return problem_of_head
        if headers.get("host", "").lower() not in self._hosts:
            return 421, "this server is not known under this name; --public-url says which one people use"
        length = headers.get("content-length", "0")
        is_number = length.isascii() and length.isdigit() and len(length) <= _DIGITS
        if not is_number or (int(length) > MOST_BYTES and not self._streams(scope)):
            return 413, f"body: expected at most {MOST_BYTES:,} bytes"
        if scope["method"] in _SAFE or self._is_ours(headers):
            return None
        return 403, "writes are taken from the server's own pages (Origin), or with a key and no cookie"

    def _is_ours(self, headers: dict[str, str]) -> bool:
        """Return whether a write comes from a page of this server, or from a program with a key."""
        origin = headers.get("origin")
        if origin is None:
            return headers.get("authorization", "").lower().startswith("bearer ") and "cookie" not in headers
        return origin.lower() in self._origins and headers.get("sec-fetch-site") != "cross-site"


def _problem_of(scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
    """Return what is wrong with a head itself: what others could read in another way, and what nobody needs."""
    count = Counter(name for name, _ in scope["headers"])
    if any(count[name] > 1 for name in _SINGLE) or ("content-length" in headers and "transfer-encoding" in headers):
        return 400, "expected one Host, Origin, Authorization and Content-Type, and one length of the body"
    if b"%00" in (scope.get("raw_path") or b"") or b"%00" in scope["query_string"]:
        return 400, "address: expected no null characters"
    if sum(len(name) + len(value) for name, value in scope["headers"]) > _MOST_HEAD:
        return 431, f"headers: expected at most {_MOST_HEAD:,} bytes"
    return None


class _Answer:
    """The way of an answer to the client, with headers that all of them have."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], answers: Counter[int]) -> None:
        self._send = send
        self._answers = answers
        self._headers = headers
        self.has_begun = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._answers[message["status"]] += 1
            now = (b"x-server-time", formatdate(time.time(), usegmt=True).encode())
            names = {name for name, _ in message["headers"]}
            own = [header for header in (*self._headers, _NO_STORE, now) if header[0] not in names]
            message["headers"] = [*message["headers"], *own]
        await self._send(message)

    def guarded(self, body: _Body) -> Send:
        """Return the way of what the application says, which is heard no more once its body was refused."""

        async def send(message: MutableMapping[str, Any]) -> None:
            if not body.is_refused or self.has_begun:
                await self.send(message)

        return send


class _Body:
    """A body as the application receives it: it ends too early where it is too large, or comes too slowly."""

    def __init__(self, receive: Receive, is_stream: bool) -> None:
        self._receive = receive
        self._taken = 0
        self._has_ended = is_stream
        self._until = time.monotonic() + BODY_S
        self.is_large = False
        self.is_refused = False

    async def receive(self) -> MutableMapping[str, Any]:
        if self._has_ended:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            return self._refused()
        self._taken += len(message.get("body", b""))
        self._has_ended = not message.get("more_body", False)
        if self._taken > MOST_BYTES:
            self.is_large = True
            return self._refused()
        return message

    def _refused(self) -> MutableMapping[str, Any]:
        self.is_refused = True
        return {"type": "http.disconnect"}
