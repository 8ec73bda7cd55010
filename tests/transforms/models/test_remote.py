"""The client of a server of models, before a server that is busy, rude or gone."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa
import pytest

from tests.peers import peer
from transforms.models import remote
from transforms.models.remote import SENT, InferenceServerError, RemoteModel, Server, read_rows


class Moody(BaseHTTPRequestHandler):
    """Answers with the statuses of `moods`, one after the other, and keeps what it received."""

    moods: tuple[int, ...] = ()
    received: list[tuple[str, bytes]] = []  # noqa: RUF012 - of the one server of a test

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = type(self).moods[min(len(self.received), len(self.moods) - 1)]
        self.received.append((self.headers.get("Authorization", ""), body))
        self.send_response(status)
        if status == 307:
            self.send_header("Location", "/elsewhere")
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


def sent(n: int = 3) -> bytes:
    """Frames as a client sends them; what is in them plays no part here."""
    values: dict[str, Any] = {}
    for field in SENT:
        is_text, is_number = pa.types.is_string(field.type), pa.types.is_integer(field.type)
        plain: Any = "a" if is_text else 0 if is_number else b"ab" if pa.types.is_binary(field.type) else False
        values[field.name] = [[] if pa.types.is_nested(field.type) else plain] * n
        if pa.types.is_struct(field.type):
            values[field.name] = [{}] * n
    return in_stream(pa.table(values, schema=SENT))


def in_stream(rows: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue().to_pybytes())


def test_what_follows_the_end_of_a_stream_is_not_dropped_without_a_word() -> None:
    sound = sent()
    for more, n in ((sound, len(sound)), (b"\0", 1)):
        with pytest.raises(ValueError, match=f"expected the end of the stream, found {n:,} more bytes"):
            read_rows(sound + more, SENT, 6)


def test_a_changed_stream_is_refused_or_can_be_read_whole() -> None:
    rng = random.Random(17)
    sound, refused = sent(), 0
    assert read_rows(sound, SENT, 3).num_rows == 3
    for _ in range(3000):
        body = bytearray(sound)
        for _ in range(rng.choice((1, 1, 3, 20))):
            body[rng.randrange(len(body))] = rng.randrange(256)
        body = body[: rng.choice((len(body), len(body), rng.randrange(len(body))))]
        try:
            read_rows(bytes(body), SENT, 3).to_pylist()
        except ValueError:
            refused += 1
    assert 1000 < refused < 3000


def test_what_does_not_fit_is_refused() -> None:
    rows = read_rows(sent(), SENT, 3)
    wrong = {
        "at most 2 rows": (sent(), 2),
        "not compressed": (in_stream(rows, "zstd"), 3),
        "expected the columns": (in_stream(rows.drop_columns(["whole"])), 3),
        "a schema at the beginning": (sent()[len(in_stream(rows.slice(0, 0))) - 8 :], 3),
        "as an Arrow stream": (b"", 3),
    }
    for why, (body, most) in wrong.items():
        with pytest.raises(ValueError, match=why):
            read_rows(body, SENT, most)
    without = rows.set_column(1, SENT.field(1), pa.array([None] * 3, pa.string()))
    with pytest.raises(ValueError, match="expected a value in every row, found none in stream_id"):
        read_rows(in_stream(without), SENT, 3)


def test_a_server_that_sends_the_client_elsewhere_is_not_followed(url: str) -> None:
    Moody.moods = (307,)
    with pytest.raises(InferenceServerError, match="says 307"):
        Server(url, "secret", tries=2).ask("/", b"frames")
    assert len(Moody.received) == 1


def trickle(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def answer(made: socket.socket) -> None:
        made.sendall(head)
        while True:
            made.sendall(piece)
            time.sleep(0.02)

    return answer


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["status line", "header", "body of a length", "body without a length", "chunks"],
)
def test_an_answer_that_trickles_is_cut_off(monkeypatch: pytest.MonkeyPatch, head: bytes, piece: bytes) -> None:
    monkeypatch.setattr(remote, "_ANSWER_S", 0.5)
    with (
        peer(trickle(head, piece)) as (url, asked),
        pytest.raises(InferenceServerError, match="was cut off"),
    ):
        Server(url, "secret", tries=1).ask("/", b"frames")
    assert len(asked) == 1
    assert b"Bearer secret" in asked[0]


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_MOST_ANSWER_BYTES", 1 << 20)
    body = b"HTTP/1.1 200 OK\r\n\r\n"

    def answer(made: socket.socket) -> None:
        made.sendall(body)
        while True:
            made.sendall(b"x" * (1 << 16))

    with peer(answer) as (url, _), pytest.raises(InferenceServerError, match="larger than 1 MiB"):
        Server(url, tries=1).ask("/", b"frames")
