"""Signing in through the API: cookies, sessions that change, limits, tokens of one use, and accounts that end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.cookies import SimpleCookie
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from jobs.accounts import audit, invitations, keys, people
from jobs.accounts.tables import SESSIONS
from jobs.web.settings import Settings
from tests.accounts import PASSWORD, TESTS, add_person
from tests.jobs.web.served import API, Site, served

_WRONG = ["name or password: not right, or the account is disabled"]


def _sign_in(client: httpx.Client, name: str = "root", password: str = PASSWORD) -> httpx.Response:
    return client.post(f"{API}/session", json={"name": name, "password": password})


def _cookie(answer: httpx.Response) -> tuple[str, str, set[str]]:
    """Return name, value and flags of the one cookie that an answer sets."""
    (header,) = answer.headers.get_list("set-cookie")
    ((name, morsel),) = SimpleCookie(header).items()
    flags = {part.strip().lower() for part in header.split(";")[1:]}
    return name, morsel.value, flags


def test_the_cookie_on_loopback(site: Site) -> None:
    name, value, flags = _cookie(_sign_in(site.client()))
    assert name == "winnow"
    assert len(value) == 43
    assert flags == {"httponly", "samesite=lax", "path=/", "max-age=2592000"}


def test_the_cookie_behind_https(tmp_path: Path) -> None:
    behind: dict[str, Any] = {"public_url": "https://winnow.example.org", "trusted_proxy": ("127.0.0.1",)}
    with served(tmp_path, **behind) as site:
        answer = _sign_in(site.client())
        name, value, flags = _cookie(answer)
        assert name == "__Host-winnow"
        assert flags == {"httponly", "secure", "samesite=lax", "path=/", "max-age=2592000"}
        assert site.browser(value).get(f"{API}/me").status_code == 200
        # A cookie without the prefix could have been set by a neighbour.
        assert site.browser(value, cookie=f"winnow={value}").get(f"{API}/me").status_code == 401


def test_a_session_of_before_is_neither_taken_nor_kept(any_site: Site) -> None:
    planted = any_site.browser("a-value-that-somebody-planted-in-the-browser")
    _, token, _ = _cookie(_sign_in(planted))
    assert token != "a-value-that-somebody-planted-in-the-browser"
    _, next_token, _ = _cookie(_sign_in(any_site.browser(token)))
    assert next_token != token
    assert any_site.browser(token).get(f"{API}/me").status_code == 401
    assert any_site.browser(next_token).get(f"{API}/me").json()["user"]["name"] == "root"


def test_signing_out_ends_the_session_itself(site: Site) -> None:
    _, token, _ = _cookie(_sign_in(site.client()))
    assert site.browser(token).delete(f"{API}/session").status_code == 204
    assert site.browser(token).get(f"{API}/me").status_code == 401


def test_names_that_nobody_has_get_the_same_answer(site: Site) -> None:
    add_person(site.database, "gone")
    with site.database.read() as connection:
        gone = people.by_name(connection, "gone")
    site.database.write(lambda c: people.change(c, TESTS, gone.user_id, disabled=True))
    answers = [
        _sign_in(site.client(), "root", "wrong-wrong-wrong"),
        _sign_in(site.client(), "nobody-of-this-name"),
        _sign_in(site.client(), "gone"),
    ]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.json()["lines"] == _WRONG
        assert "set-cookie" not in answer.headers
    assert len({(a.text, tuple(k for k, _ in a.headers.items())) for a in answers}) == 1


def test_after_five_failures_the_answer_says_when_to_try_again(site: Site) -> None:
    for _ in range(5):
        assert _sign_in(site.client(), "root", "wrong-wrong-wrong").status_code == 401
    answer = _sign_in(site.client())
    assert answer.status_code == 429
    assert 50 <= int(answer.headers["retry-after"]) <= 60


def test_forged_addresses_are_counted_as_the_one_they_come_from(site: Site) -> None:
    """Without a trusted proxy, X-Forwarded-For is what anybody writes into it."""
    statuses = [
        _sign_in(
            site.client(None, **{"x-forwarded-for": f"10.0.0.{n}", "forwarded": f"for=10.0.0.{n}"}), f"name-{n}", "x"
        ).status_code
        for n in range(7)
    ]
    assert statuses == [401] * 5 + [429] * 2


def test_behind_a_trusted_proxy_clients_are_counted_by_what_it_adds(tmp_path: Path) -> None:
    behind: dict[str, Any] = {"public_url": "https://winnow.example.org", "trusted_proxy": ("127.0.0.0/8",)}
    with served(tmp_path, **behind) as site:

        def status(n: int, forwarded: str) -> int:
            return _sign_in(site.client(None, **{"x-forwarded-for": forwarded}), f"name-{n}", "x").status_code

        # What a client wrote itself is on the left.
        assert [status(n, f"10.9.9.{n}, 10.0.0.1") for n in range(6)] == [401] * 5 + [429]
        assert status(7, "10.0.0.2") == 401
        assert status(8, "10.0.0.1:4711") == 429
        # Of IPv6, a client has a whole network to choose from.
        assert [status(10 + n, f"2001:db8::{n + 1}") for n in range(6)] == [401] * 5 + [429]


def test_a_hundred_tries_at_once(any_site: Site) -> None:
    def attempt(_: int) -> int:
        with any_site.client() as client:
            return _sign_in(client, "root", "wrong-wrong-wrong").status_code

    with ThreadPoolExecutor(25) as pool:
        statuses = list(pool.map(attempt, range(100)))
    assert statuses.count(401) == 5
    assert statuses.count(429) == 95


def test_two_admins_who_demote_each_other_at_once(any_site: Site) -> None:
    for _ in range(5):
        together = threading.Barrier(2)
        root, second = any_site.people["root"], any_site.people["second"]

        def demote(pair: tuple[str, str], together: threading.Barrier = together) -> int:
            me, other = pair
            with any_site.client(me) as client:
                together.wait()
                address = f"{API}/users/{any_site.people[other].user_id}"
                return client.patch(address, json={"is_admin": False}).status_code

        with ThreadPoolExecutor(2) as pool:
            statuses = sorted(pool.map(demote, [("root", "second"), ("second", "root")]))
        assert statuses[0] == 200
        # Who comes second lost the session with the rights, or the rights, or would be the last one to lose them.
        assert statuses[1] in {401, 403, 409}
        with any_site.database.read() as connection:
            left = [person for person in people.everyone(connection) if person.is_admin and not person.disabled]
        assert len(left) == 1
        for person in (root, second):
            any_site.database.write(partial(people.change, actor=TESTS, user_id=person.user_id, is_admin=True))


def test_somebody_who_is_disabled_is_out_at_once(any_site: Site) -> None:
    viewer = any_site.people["viewer"]
    _, key = any_site.database.write(lambda c: keys.add(c, TESTS, viewer.user_id, "nightly", ["read"]))
    browser, program = any_site.client("viewer"), any_site.program(key)
    assert browser.get(f"{API}/me").status_code == 200
    assert program.get(f"{API}/me").status_code == 200
    assert any_site.client("root").patch(f"{API}/users/{viewer.user_id}", json={"disabled": True}).status_code == 200
    assert browser.get(f"{API}/me").status_code == 401
    assert program.get(f"{API}/me").status_code == 401
    assert _sign_in(any_site.client(), viewer.name).status_code == 401
    any_site.client("root").patch(f"{API}/users/{viewer.user_id}", json={"disabled": False})
    assert browser.get(f"{API}/me").status_code == 401
    assert program.get(f"{API}/me").status_code == 401
    assert _sign_in(any_site.client(), viewer.name).status_code == 200


def test_an_invitation_from_its_making_to_the_first_page(any_site: Site) -> None:
    made = any_site.client("root").post(f"{API}/invitations", json={"project": "crossing", "role": "reviewer"})
    assert made.status_code == 201
    token = made.json()["token"]
    assert made.json()["address"] == f"/invite#{token}"
    guest = any_site.client()
    checked = guest.post(f"{API}/invitations/check", json={"token": token}).json()
    assert checked == {"kind": "invitation", "project": "crossing", "role": "reviewer", "name": None}
    choice = {"token": token, "name": "jane", "password": "seven quiet herons", "display_name": "Jane"}
    accepted = guest.post(f"{API}/invitations/accept", json=choice)
    assert accepted.status_code == 201
    assert accepted.json()["projects"] == [{"project": "crossing", "role": "reviewer"}]
    _, session, _ = _cookie(accepted)
    assert any_site.browser(session).get(f"{API}/me").json() == accepted.json()
    assert guest.post(f"{API}/invitations/accept", json={**choice, "name": "maria"}).status_code == 401
    assert token not in any_site.client("root").get(f"{API}/invitations").text
    assert _sign_in(any_site.client(), "jane", "seven quiet herons").status_code == 200


def test_a_new_password_by_its_address(site: Site) -> None:
    viewer = site.people["viewer"]
    before = site.client("viewer")
    made = site.client("root").post(f"{API}/users/{viewer.user_id}/reset").json()
    checked = site.client().post(f"{API}/invitations/check", json={"token": made["token"]}).json()
    assert checked == {"kind": "reset", "project": None, "role": None, "name": viewer.name}
    answer = site.client().post(
        f"{API}/invitations/accept", json={"token": made["token"], "password": viewer.name + "-or-more"}
    )
    assert answer.status_code == 201
    assert before.get(f"{API}/me").status_code == 401
    assert _sign_in(site.client(), viewer.name, viewer.name + "-or-more").status_code == 200


def test_the_password_of_a_disabled_account_cannot_be_set_by_an_old_address(site: Site) -> None:
    viewer = site.people["viewer"]
    token = site.client("root").post(f"{API}/users/{viewer.user_id}/reset").json()["token"]
    site.client("root").patch(f"{API}/users/{viewer.user_id}", json={"disabled": True})
    answer = site.client().post(f"{API}/invitations/accept", json={"token": token, "password": "seven quiet herons"})
    assert answer.status_code == 401


def test_an_admin_who_left_does_not_come_back_by_an_invitation_of_their_own(site: Site) -> None:
    token = site.client("second").post(f"{API}/invitations", json={"is_admin": True}).json()["token"]
    address = f"{API}/users/{site.people['second'].user_id}"
    assert site.client("root").patch(address, json={"is_admin": False}).status_code == 200
    choice = {"token": token, "name": "back", "password": "seven quiet herons"}
    assert site.client().post(f"{API}/invitations/accept", json=choice).status_code == 401


def test_ones_own_password(site: Site) -> None:
    client, other = site.client("viewer"), site.client("viewer")
    change = {"password": {"old": PASSWORD, "new": "seven quiet herons"}}
    wrong = client.patch(f"{API}/me", json={"password": {"old": "wrong", "new": "seven quiet herons"}})
    assert wrong.status_code == 400
    # What is wrong with one part leaves the other one undone.
    both = client.patch(f"{API}/me", json={**change, "display_name": "a\u0007b"})
    assert both.status_code == 400
    assert other.get(f"{API}/me").status_code == 200
    assert client.patch(f"{API}/me", json={**change, "display_name": "Vera"}).status_code == 200
    assert client.get(f"{API}/me").json()["user"]["display_name"] == "Vera"
    assert other.get(f"{API}/me").status_code == 401
    words = ["seven quiet herons", "eight quiet herons"] * 4
    for old, new in pairwise(words):
        assert client.patch(f"{API}/me", json={"password": {"old": old, "new": new}}).status_code == 200


def test_ones_sessions(site: Site) -> None:
    here, there = site.client("viewer", **{"user-agent": "one"}), site.client("viewer")
    found = here.get(f"{API}/sessions").json()["sessions"]
    assert [session["current"] for session in found].count(True) == 1
    elsewhere = next(session["session_id"] for session in found if not session["current"])
    assert site.client("root").delete(f"{API}/sessions/{elsewhere}").status_code == 404
    assert here.delete(f"{API}/sessions/{elsewhere}").status_code == 204
    assert there.get(f"{API}/me").status_code == 401
    assert here.get(f"{API}/me").status_code == 200


def test_the_address_of_the_terminal_signs_in_once(site: Site) -> None:
    token = site.database.write(lambda c: invitations.entrance(c, TESTS))
    answer = site.client().post(f"{API}/session/enter", json={"token": token})
    assert answer.json()["user"]["is_admin"] is True
    _, session, _ = _cookie(answer)
    assert site.browser(session).get(f"{API}/users").status_code == 200
    assert site.client().post(f"{API}/session/enter", json={"token": token}).status_code == 401


def test_the_address_of_the_terminal_is_not_for_others(tmp_path: Path) -> None:
    """Behind a proxy, a client may claim any address, and the machine's own too."""
    behind: dict[str, Any] = {"public_url": "https://winnow.example.org", "trusted_proxy": ("127.0.0.1", "10.0.0.0/8")}
    with served(tmp_path, **behind) as site:
        for forwarded in ("192.0.2.1", "127.0.0.1", "::1", "127.0.0.1, 10.1.1.1", "localhost"):
            token = site.database.write(lambda c: invitations.entrance(c, TESTS))
            client = site.client(None, **{"x-forwarded-for": forwarded})
            assert client.post(f"{API}/session/enter", json={"token": token}).status_code == 403
        with site.database.read() as connection:
            assert connection.execute(select(SESSIONS.c.session_id)).all() == []


@pytest.mark.parametrize(
    ("options", "is_private"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost"}, True),
        ({"host": "192.0.2.1"}, False),
        ({"public_url": "https://winnow.example.org"}, False),
        ({"trusted_proxy": ("127.0.0.1",)}, False),
    ],
)
def test_only_a_server_that_no_other_machine_reaches_is_private(options: dict[str, object], is_private: bool) -> None:
    assert Settings(workspace="w", **options).is_private is is_private  # type: ignore[arg-type]


def test_who_signed_in_is_in_the_audit_without_what_was_typed(site: Site) -> None:
    _sign_in(site.client(None, **{"x-forwarded-for": "10.0.0.9"}))
    _sign_in(site.client(), "planted-password-in-the-name", "x")
    found = site.client("root").get(f"{API}/audit", params={"limit": 2}).json()["entries"]
    assert [(e["action"], e["actor"], e["address"]) for e in found] == [
        ("session.refused", "?", "127.0.0.1"),
        ("session.begin", "root", "127.0.0.1"),
    ]
    with site.database.read() as connection:
        assert "planted" not in str(audit.entries(connection, limit=500))


def test_a_key_of_a_project_sees_its_owner_and_that_project_alone(site: Site) -> None:
    root = site.people["root"]
    _, key = site.database.write(lambda c: keys.add(c, TESTS, root.user_id, "nightly", ["read"], "crossing"))
    with site.program(key) as program:
        me = program.get(f"{API}/me").json()
        assert (me["user"]["name"], [row["project"] for row in me["projects"]]) == ("root", ["crossing"])
        assert [row["project"] for row in program.get(f"{API}/projects").json()["projects"]] == ["crossing"]
        assert program.get(f"{API}/keys").status_code == 403
