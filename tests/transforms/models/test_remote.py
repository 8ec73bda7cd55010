"""The client of a server of models, before a server that is busy, rude or gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from transforms.models.remote import InferenceServerError, RemoteModel, Server


class Moody(BaseHTTPRequestHandler):
    """Answers with the statuses of `moods`, one after the other, and keeps what it received."""

    moods: tuple[int, ...] = ()
    received: list[tuple[str, bytes]] = []  # noqa: RUF012 - of the one server of a test

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = type(self).moods[min(len(self.received), len(self.moods) - 1)]
        self.received.append((self.headers.get("Authorization", ""), body))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"well\n  said" if status == 200 else b"not now")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Moody) as server:
        Moody.received.clear()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_busy_server_is_retried(url: str) -> None:
    Moody.moods = (503, 429, 200)
    assert Server(url, "secret", tries=3).ask("/", b"frames") == b"well\n  said"
    assert Moody.received == [("Bearer secret", b"frames")] * 3


def test_retries_are_limited_and_refusals_are_not_retried(url: str) -> None:
    Moody.moods = (503,)
    with pytest.raises(InferenceServerError, match="says 503: not now"):
        Server(url, tries=2).ask("/", b"")
    assert len(Moody.received) == 2
    Moody.moods = (409,)
    with pytest.raises(InferenceServerError, match="says 409: not now"):
        Server(url, tries=4).ask("/", b"")
    assert len(Moody.received) == 3


def test_an_unreachable_server_is_named() -> None:
    with pytest.raises(InferenceServerError, match=r"no server of models answers at http://127\.0\.0\.1:1: "):
        Server("http://127.0.0.1:1/", tries=2).ask("/")


def test_the_token_is_in_no_repr() -> None:
    assert "secret" not in repr(RemoteModel("http://gpu:8000", "secret", "annotate", "key"))
