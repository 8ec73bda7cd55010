"""What holds before any route: hosts, sizes, framing, slow clients, headers of answers, and errors that say nothing."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import httpx
import pytest

from jobs.accounts.database import Database
from jobs.web import connection, guard
from jobs.web.guard import MOST_BYTES
from jobs.web.pages import add_pages
from jobs.web.problems import MEDIA_TYPE
from tests.accounts import PASSWORD
from tests.jobs.web.site import API, Site, served


def _raw(site: Site, *parts: bytes, wait_s: float = 30, ends: bool = False) -> bytes:
    """Send bytes as they are and return all that comes back until the server closes or nothing more comes."""
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        client.settimeout(wait_s)
        try:
            for part in parts:
                client.sendall(part)
            if ends:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        received = b""
        try:
            while more := client.recv(65536):
                received += more
        except (TimeoutError, ConnectionResetError):
            return received + b"<no end>"
        return received


def _head(site: Site, start: str, *lines: str) -> bytes:
    return "\r\n".join([f"{start} HTTP/1.1", f"Host: 127.0.0.1:{site.port}", *lines, "", ""]).encode()


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


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
    behind = {"public_url": "https://Winnow.example.org/", "trusted_proxy": ("127.0.0.1",)}
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
    head = _head(shared, f"POST {API}/session", f"Origin: {shared.origin}", f"Content-Length: {length}")
    answer = _raw(shared, head, b"{}")
    assert _status(answer) in {400, 413}
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
        ["Content-Length: 4\n\nGET /api/v1/users HTTP/1.1"],
    ],
)
def test_requests_that_a_proxy_could_read_otherwise_are_refused_whole(shared: Site, lines: list[str]) -> None:
    head = _head(shared, f"POST {API}/session", f"Origin: {shared.origin}", *lines)
    answer = _raw(shared, head, b"0\r\n\r\n", _head(shared, f"GET {API}/health"))
    assert _status(answer) in {400, 501}
    # What followed was not taken for a request of its own.
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"<no end>" not in answer


def test_requests_one_after_another_on_a_connection_are_each_checked(shared: Site) -> None:
    body = b'{"name": "nobody", "password": "x"}'
    first = _head(shared, f"POST {API}/keys", f"Origin: {shared.origin}", f"Content-Length: {len(body)}")
    second = _head(shared, f"GET {API}/users", "Connection: close")
    answer = _raw(shared, first + body + second)
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
    answer = _raw(shared, _head(shared, start, "Connection: close", f"Cookie: {token}"))
    assert _status(answer) in {400, 404, 405}


def test_large_heads_are_refused(shared: Site) -> None:
    answer = _raw(shared, _head(shared, f"GET {API}/health", *(f"X-{n}: {'x' * 1000}" for n in range(100))))
    assert _status(answer) in {400, 431}
    assert b"<no end>" not in answer


@pytest.mark.parametrize("sent", [b"", b"GET ", b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_a_connection_without_a_whole_head_is_closed(
    shared: Site, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    assert b"<no end>" not in _raw(shared, sent)


def test_a_head_that_comes_byte_by_byte_gets_no_more_time(shared: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    with socket.create_connection(("127.0.0.1", shared.port)) as client:
        client.sendall(_head(shared, f"GET {API}/health", "X-Slow: 1")[:-4])
        sent, is_open = 0, True
        while is_open and sent < 2000:
            try:
                client.sendall(b"x")
                client.settimeout(0.02)
                is_open = client.recv(1) != b""
            except TimeoutError:
                pass
            except OSError:
                is_open = False
            sent += 1
        assert not is_open


def test_a_body_that_does_not_come_is_not_waited_for(shared: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.3)
    head = _head(shared, f"POST {API}/session", f"Origin: {shared.origin}", "Content-Length: 50")
    answer = _raw(shared, head, b'{"name": ')
    assert _status(answer) == 408
    assert b"<no end>" not in answer


def test_half_open_connections_keep_nobody_out(shared: Site) -> None:
    held = [socket.create_connection(("127.0.0.1", shared.port)) for _ in range(300)]
    try:
        for client in held:
            client.sendall(b"POST /api/v1/session HTTP/1.1\r\nContent-")
        assert shared.client("root").get(f"{API}/me").status_code == 200
    finally:
        for client in held:
            client.close()


_BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"planted-word"',
    b"1e999",
    b"NaN",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 100_000,
    b'{"name": "\\ud800", "password": "x"}',
    b'{"name": "a", "name": "b", "password": {"a": 1}}',
    b'{"name": ["root"], "password": true}',
    b'{"name": {"$ne": ""}, "password": {"$ne": ""}}',
    b'{"name": "root", "password": "x", "is_admin": true}',
    b'{"name": "' + b"x" * 500_000 + b'", "password": "x"}',
    b'{"name": "root\\u0000", "password": "\\u0000"}',
    b'{"__proto__": {"is_admin": true}}',
]


@pytest.mark.parametrize("body", _BODIES, ids=range(len(_BODIES)))
@pytest.mark.parametrize("content", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_odd_bodies_are_answered_as_problems(site_of_bodies: Site, body: bytes, content: str) -> None:
    client = site_of_bodies.client("root", **{"content-type": content})
    for path in ("session", "keys", "users", "invitations", "invitations/accept", "session/enter"):
        answer = client.post(f"{API}/{path}", content=body)
        assert answer.status_code in {400, 401, 422, 429}, (path, answer.text)
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert "planted-word" not in answer.text
        assert len(answer.text) < 2000
    assert client.patch(f"{API}/me", content=body).status_code in {400, 422, 200}


@pytest.fixture(scope="module")
def site_of_bodies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("bodies")) as found:
        yield found


def test_what_was_typed_for_a_secret_is_not_repeated(shared: Site) -> None:
    client = shared.client("root")
    for path, body in (
        ("session", {"name": "root", "password": {"planted-word": 1}}),
        ("session", {"name": "root", "password": "planted-word " * 100}),
        ("session/enter", {"token": "planted-word " * 100}),
        ("users", {"name": "jane", "password": "planted"}),
        ("me", {"password": {"old": "planted-word", "new": 5}}),
    ):
        answer = client.request("PATCH" if path == "me" else "POST", f"{API}/{path}", json=body)
        assert answer.status_code in {400, 422}
        assert "planted" not in answer.text


@pytest.mark.parametrize(
    "name", ["..", ".", "%2e%2e", "..%2fyard", "crossing%2f..%2fyard", "crossing%00", "CROSSING", "crossing ", "~", "'"]
)
def test_names_of_projects_lead_nowhere_else(shared: Site, name: str) -> None:
    for who in ("viewer", "root"):
        status = _status(
            _raw(
                shared,
                _head(
                    shared,
                    f"GET {API}/projects/{name.replace(' ', '%20')}/members",
                    "Connection: close",
                    f"Cookie: {shared.client(who).headers['cookie']}",
                ),
            )
        )
        assert status == 404


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a\\b", "", "x" * 300, "a\0b", "c:", "näme", "-rf"])
def test_names_that_no_folder_should_have_are_refused(shared: Site, name: str) -> None:
    before = sorted(str(path) for path in shared.settings.root.rglob("*"))  # type: ignore[union-attr]
    assert shared.client("root").post(f"{API}/projects", json={"name": name}).status_code in {400, 422}
    after = sorted(str(path) for path in shared.settings.root.rglob("*"))  # type: ignore[union-attr]
    assert [path for path in after if "accounts.sqlite" not in path] == [
        p for p in before if "accounts.sqlite" not in p
    ]


def test_a_project_is_made_once(site: Site) -> None:
    client = site.client("root")
    assert client.post(f"{API}/projects", json={"name": "lane"}).status_code == 201
    assert client.post(f"{API}/projects", json={"name": "lane"}).status_code == 409
    assert [p["project"] for p in client.get(f"{API}/projects").json()["projects"]] == ["crossing", "lane", "yard"]
    assert [p["project"] for p in site.client("viewer").get(f"{API}/projects").json()["projects"]] == ["crossing"]
    assert site.client("viewer").get(f"{API}/projects").json()["projects"][0]["path"] is None


def test_failures_of_ours_say_nothing_of_what_is_in_them(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), mock.patch.object(Database, "read", side_effect=ValueError("planted-word")):
        answer = site.client("root").get(f"{API}/users")
    assert answer.status_code == 500
    assert answer.json()["lines"] == ["the server failed at this; its log says how"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "planted-word" not in caplog.text
    assert "ValueError" in caplog.text
    assert site.client("root").get(f"{API}/users").status_code == 200


def test_a_path_makes_no_entries_of_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), mock.patch.object(Database, "write", side_effect=ValueError):
        site.client("root").delete(f"{API}/keys/a%0Aforged entry")
    assert "\nforged" not in caplog.text
    assert "forged entry" in caplog.text


def test_on_a_full_disk_pages_can_be_read_and_writes_say_why(site: Site) -> None:
    from jobs.accounts.errors import DatabaseFullError
    from jobs.accounts.sessions import Session

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
    from jobs.accounts import passwords

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


def test_paths_of_pages_lead_to_their_files_alone(tmp_path: Path) -> None:
    from fastapi import FastAPI

    from jobs.web.guard import Guard

    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<p>the page")
    (folder / "assets" / "app-1234.js").write_text("the script")
    (tmp_path / "secret.txt").write_text("planted-word")
    app = FastAPI()
    add_pages(app, folder)
    app.add_middleware(Guard, origins=frozenset({"http://127.0.0.1"}))
    client = httpx.Client(transport=_transport(app), base_url="http://127.0.0.1")
    script = client.get("/assets/app-1234.js")
    assert (script.text, script.headers["cache-control"]) == ("the script", "public, max-age=31536000, immutable")
    for path in ("/", "/frames", "/jobs/123"):
        assert client.get(path).text == "<p>the page"
        assert client.get(path).headers["cache-control"] == "no-cache"
    for path in (
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "//secret.txt",
        "/..\\secret.txt",
        f"/{tmp_path}/secret.txt",
        "/assets/missing.js",
        "/api/v1/nothing",
        "/api/../secret.txt",
    ):
        answer = client.get(path)
        assert "planted-word" not in answer.text, path
        assert answer.status_code == 404 or answer.text == "<p>the page", path


def _transport(app: object) -> httpx.BaseTransport:
    """Return a way to ask an application without a socket."""
    import asyncio

    class Direct(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            async def ask() -> httpx.Response:
                answer = await httpx.ASGITransport(app=app).handle_async_request(request)  # type: ignore[arg-type]
                content = await answer.aread()
                return httpx.Response(answer.status_code, headers=answer.headers, content=content)

            return asyncio.run(ask())

    return Direct()


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
