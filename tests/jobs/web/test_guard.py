"""What holds before any route: hosts, sizes, framing, slow clients, headers of answers, and errors that say nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from jobs.accounts import passwords
from jobs.accounts.database import Database
from jobs.accounts.errors import DatabaseFullError
from jobs.accounts.sessions import Session
from jobs.web import guard
from jobs.web.guard import MOST_BYTES
from jobs.web.problems import MEDIA_TYPE
from tests.accounts import PASSWORD
from tests.jobs.web.served import API, Site, head, raw, served, status_of


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}.evil.example", "", "[::1]:1"],
)
def test_a_server_answers_under_its_own_names_alone(shared: Site, host: str) -> None:
    answer = shared.client("root", host=host.format(port=shared.port)).get(f"{API}/me")
    assert answer.status_code == 421
    assert answer.headers["content-type"] == MEDIA_TYPE


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_names_of_this_machine_are_known(shared: Site, host: str) -> None:
    assert shared.client("root", host=host.format(port=shared.port)).get(f"{API}/me").status_code == 200


def test_a_server_has_its_public_name(tmp_path: Path) -> None:
    behind: dict[str, Any] = {"public_url": "https://Winnow.example.org/", "trusted_proxy": ("127.0.0.1",)}
    with served(tmp_path, **behind) as site:
        client = site.client(None, host="winnow.example.org", origin="https://winnow.example.org")
        assert client.get(f"{API}/health").status_code == 200
        assert client.post(f"{API}/session", json={"name": "root", "password": PASSWORD}).status_code == 200
        forwarded = site.client(None, host="evil.example", **{"x-forwarded-host": "winnow.example.org"})
        assert forwarded.get(f"{API}/health").status_code == 421


def test_headers_of_every_answer(shared: Site) -> None:
    answers = [
        shared.client().get(f"{API}/health"),
        shared.client().get(f"{API}/me"),
        shared.client("root").get(f"{API}/me"),
        shared.client().get("/nothing"),
        shared.client(None, host="evil.example").get(f"{API}/me"),
        shared.client("root").post(f"{API}/keys", content=b"{"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_large_bodies_are_refused(shared: Site) -> None:
    client = shared.client("root")
    assert client.post(f"{API}/session", content=b"x" * MOST_BYTES).status_code in {400, 422}
    assert client.post(f"{API}/session", content=b"x" * (MOST_BYTES + 1)).status_code == 413


def _chunks(total: int, size: int = 65536) -> Iterator[bytes]:
    for at in range(0, total, size):
        yield b"x" * min(size, total - at)


def test_large_bodies_without_a_length_are_refused(shared: Site) -> None:
    client = shared.client("root")
    assert client.post(f"{API}/session", content=_chunks(MOST_BYTES)).status_code in {400, 422}
    answer = client.post(f"{API}/session", content=_chunks(MOST_BYTES + 65536))
    assert answer.status_code == 413
    assert answer.json()["lines"][0].startswith("body: expected at most 1,048,576 bytes")


@pytest.mark.parametrize("length", ["-1", "+5", "5, 6", "0x5", "1e3", "\u0665", "9" * 30, "99999999999"])
def test_odd_lengths_are_refused(shared: Site, length: str) -> None:
    start = head(shared, f"POST {API}/session", f"Origin: {shared.origin}", f"Content-Length: {length}")
    answer = raw(shared, start, b"{}")
    assert status_of(answer) in {400, 413}
    assert b"<no end>" not in answer


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 60"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding: chunked, gzip"],
        ["Content-Length: 4", "Host: evil.example"],
        ["Content-Length: 4", "Origin: https://evil.example"],
    ],
)
def test_requests_that_a_proxy_could_read_otherwise_are_refused_whole(shared: Site, lines: list[str]) -> None:
    start = head(shared, f"POST {API}/session", f"Origin: {shared.origin}", *lines)
    answer = raw(shared, start, b"0\r\n\r\n", head(shared, f"GET {API}/health"))
    assert status_of(answer) in {400, 501}
    # What followed was not taken for a request of its own.
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"<no end>" not in answer


def test_requests_one_after_another_on_a_connection_are_each_checked(shared: Site) -> None:
    body = b'{"name": "nobody", "password": "x"}'
    first = head(shared, f"POST {API}/keys", f"Origin: {shared.origin}", f"Content-Length: {len(body)}")
    second = head(shared, f"GET {API}/users", "Connection: close")
    answer = raw(shared, first + body + second)
    assert answer.count(b"HTTP/1.1 401") == 2


@pytest.mark.parametrize(
    "start",
    [
        "GET http://evil.example/api/v1/health",
        "GET /api/v1/../v1/users",
        "GET /api/v1/%2e%2e/v1/users",
        "GET //api/v1/users",
        "GET /api/v1/users/",
        "GET /API/V1/USERS",
        "GET /api/v1/users%00",
        "GET /api/v1/health;/../users",
        "OPTIONS *",
        "CONNECT 127.0.0.1:22",
        "PRI *",
    ],
)
def test_odd_targets_reach_nothing(shared: Site, start: str) -> None:
    token = shared.client("root").headers["cookie"]
    answer = raw(shared, head(shared, start, "Connection: close", f"Cookie: {token}"))
    assert status_of(answer) in {400, 403, 404, 405}


def test_large_heads_are_refused(shared: Site) -> None:
    answer = raw(shared, head(shared, f"GET {API}/health", *(f"X-{n}: {'x' * 1000}" for n in range(100))))
    assert status_of(answer) in {400, 431}
    assert b"<no end>" not in answer


def test_a_body_that_does_not_come_is_not_waited_for(shared: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.3)
    start = head(shared, f"POST {API}/session", f"Origin: {shared.origin}", "Content-Length: 50")
    answer = raw(shared, start, b'{"name": ')
    assert status_of(answer) == 408
    assert b"<no end>" not in answer


def test_on_a_full_disk_pages_can_be_read_and_writes_say_why(site: Site) -> None:
    client = site.client("root")
    full = DatabaseFullError("the disk of the accounts is full; nothing was changed. Free some space and try again")
    # Noting that a session is in use is a write of its own, which is due here.
    with (
        mock.patch.object(Database, "write", side_effect=full),
        mock.patch.object(Session, "is_due", return_value=True),
    ):
        assert client.get(f"{API}/me").status_code == 200
        answer = client.post(f"{API}/invitations", json={})
    assert answer.status_code == 507
    assert answer.json()["lines"] == full.problems
    assert answer.json()["code"] == 1


def test_bad_sign_ins_leave_other_requests_alone(site: Site) -> None:
    """No time is asserted: what is counted is that only the tries that are checked take a thread for long."""
    done = threading.Event()
    statuses: list[int] = []

    def flood() -> None:
        with site.client() as client:
            for n in range(300):
                answer = client.post(f"{API}/session", json={"name": f"name-{n}", "password": "x"})
                statuses.append(answer.status_code)
        done.set()

    client = site.client("root")
    with mock.patch.object(passwords, "is_right", side_effect=passwords.is_right) as checked:
        thread = threading.Thread(target=flood)
        thread.start()
        asked = 0
        while not done.is_set():
            assert client.get(f"{API}/me").status_code == 200
            asked += 1
        thread.join()
    assert checked.call_count == 5
    assert statuses.count(429) == 295
    assert asked > 20


def test_the_document_of_the_api_needs_no_account(shared: Site) -> None:
    document = shared.client().get(f"{API}/openapi.json")
    assert document.status_code == 200
    assert json.loads(document.text)["info"]["title"] == "Winnow"


def test_use_of_a_session_is_written_once_a_minute_at_most(site: Site) -> None:
    client = site.client("root")
    client.get(f"{API}/me")
    with mock.patch.object(Database, "write", side_effect=Database.write, autospec=True) as written:
        for _ in range(20):
            assert client.get(f"{API}/me").status_code == 200
        assert written.call_count == 0
        now = time.time_ns()
        with mock.patch("time.time_ns", return_value=now + 61 * 10**9):
            for _ in range(20):
                assert client.get(f"{API}/me").status_code == 200
        assert written.call_count == 1
