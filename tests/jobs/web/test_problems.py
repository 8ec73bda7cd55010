"""Errors as problems: what is odd gets an answer that repeats no secret, and failures of ours say nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from unittest import mock

import pytest

from jobs.accounts.database import Database
from jobs.web.problems import MEDIA_TYPE
from tests.jobs.web.served import API, Site, served

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
    client = site.client("root")
    with caplog.at_level(logging.WARNING), mock.patch.object(Database, "write", side_effect=ValueError):
        client.delete(f"{API}/keys/a%0Aforged entry")
    assert "\nforged" not in caplog.text
    assert "forged entry" in caplog.text
