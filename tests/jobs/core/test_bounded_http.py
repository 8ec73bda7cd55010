from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from jobs.core.optional_packages import missing
from jobs.vlm.vlm_clients import PACKAGES, Client, EndpointError, connect
from tests.peers import peer
from tests.waiting import PATIENCE_S
from transforms.assess.escalation import Api, EscalateParams, question

KEY = "sk-very-secret-key"
ASKED = question([], ("person",), 80, 60, 1024)
JPEG = b"\xff\xd8\xff\xe0picture"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(params=sorted(PACKAGES))
def api(request: pytest.FixtureRequest) -> Api:
    name: Api = request.param
    if missing("vlm", PACKAGES[name]):
        pytest.skip("the extra `vlm` is not installed")
    return name


def connected(api: Api, url: str, timeout_s: float) -> Client:
    return connect(EscalateParams(api=api, url=url, model="m", timeout_s=timeout_s), KEY)


def failure(api: Api, url: str, timeout_s: float) -> EndpointError:
    with pytest.raises(EndpointError) as caught:
        connected(api, url, timeout_s).ask(ASKED, JPEG)
    assert KEY not in str(caught.value)
    return caught.value


def trickle(head: bytes, forever: bytes) -> Callable[[socket.socket], None]:
    def answer(made: socket.socket) -> None:
        made.sendall(head)
        if not forever:
            # Ends with the connection.
            made.recv(1)
        while True:
            made.sendall(forever or b" ")
            time.sleep(0.05)

    return answer


@pytest.mark.parametrize(
    ("head", "forever"),
    [(HEAD + b"Content-Length: 1000000\r\n\r\n", b" "), (b"HTTP/1.1 200 OK\r\nX-Endless: ", b"a"), (b"", b"")],
    ids=["a body", "a header", "nothing at all"],
)
def test_an_answer_that_trickles_ends_when_its_time_is_over(api: Api, head: bytes, forever: bytes) -> None:
    with peer(trickle(head, forever)) as (url, _):
        began = time.monotonic()
        error = failure(api, url, 1.0)
        assert (error.again, error.for_all) == (True, False)
        assert time.monotonic() - began < PATIENCE_S


def test_an_endless_answer_ends_at_the_largest_size(api: Api) -> None:
    def endless(made: socket.socket) -> None:
        made.sendall(HEAD + b"\r\n")
        while True:
            made.sendall(b" " * 65536)

    with peer(endless) as (url, _):
        error = failure(api, url, PATIENCE_S)
    assert "expected an answer of at most 8,388,608 bytes, found more" in str(error)
    assert not error.again


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed_with_an_image_or_a_key(api: Api, status: int) -> None:
    with peer(lambda made: made.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")) as (elsewhere, asked):
        location = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere}/v1\r\nContent-Length: 0\r\n\r\n".encode()
        with peer(lambda made: made.sendall(location)) as (url, _):
            error = failure(api, url, PATIENCE_S)
    assert asked == []
    assert error.for_all
    assert "found a redirect to 127.0.0.1, which is not followed" in str(error)
