"""Bounded HTTP client for untrusted endpoints: a total time, a largest answer, no redirects.

A timeout of the library is for each read, so that an answer that trickles never ends. Here a watch ends the connection
when the time of the whole call is over. A redirect would take the image, and with some libraries the key, to a host
that the user has not named.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import httpx2

from transforms.io.connection_watch import ConnectionWatch

MOST_BYTES = 8 << 20
"""The largest answer; the longest that `escalate.max_tokens` allows is far smaller."""

# A reconstructed answer is neither compressed nor in chunks any more.
_OF_THE_WAY = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class RefusedAnswerError(Exception):
    """An answer that is not taken: too large, or a redirect. `for_all`: so would be that to any other call."""

    def __init__(self, text: str, for_all: bool = False) -> None:
        self.for_all = for_all
        super().__init__(text)


class BoundedClient(httpx2.Client):
    """A client whose calls take at most `total_s` seconds and `most_bytes`, and follow no redirect."""

    def __init__(self, total_s: float, most_bytes: int = MOST_BYTES, setting: str = "escalate.url") -> None:
        """`setting` is where the address of the endpoint is set, for those who have to change it."""
        # A new connection for every call: the watch knows the connection that it may end.
        limits = httpx2.Limits(max_keepalive_connections=0)
        super().__init__(timeout=total_s, limits=limits, follow_redirects=False)
        self._total_s = total_s
        self._most_bytes = most_bytes
        self._setting = setting

    def send(self, request: httpx2.Request, *, auth: Any = None, **_: Any) -> httpx2.Response:
        """Send a request and return the whole answer. Raises `RefusedAnswerError`, and errors of httpx2."""
        started = time.monotonic()
        watch = ConnectionWatch(self._total_s)
        request.extensions = {**request.extensions, "trace": watch.on_event}
        try:
            answer = super().send(request, stream=True, auth=auth, follow_redirects=False)
            try:
                data = self._whole(answer)
            finally:
                answer.close()
        except httpx2.HTTPError as error:
            if watch.is_over:
                raise httpx2.ReadTimeout(f"no whole answer within {self._total_s:g} s", request=request) from error
            raise
        finally:
            watch.stop()
        headers = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _OF_THE_WAY]
        whole = httpx2.Response(answer.status_code, headers=headers, content=data, request=request)
        whole.elapsed = timedelta(seconds=time.monotonic() - started)
        return whole

    def _whole(self, answer: httpx2.Response) -> bytes:
        if 300 <= answer.status_code < 400:
            host = httpx2.URL(answer.headers.get("location", "")).host or "another address"
            raise RefusedAnswerError(
                f"expected an answer, found a redirect to {host}, which is not followed; name the address of the "
                f"endpoint itself in {self._setting}",
                for_all=True,
            )
        data = bytearray()
        for piece in answer.iter_bytes():
            data += piece
            if len(data) > self._most_bytes:
                raise RefusedAnswerError(f"expected an answer of at most {self._most_bytes:,} bytes, found more")
        return bytes(data)
