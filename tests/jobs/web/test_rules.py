"""Every route of the API, as its own document lists them, called by everybody: who gets in is what the table says.

A route that is added is covered without an edit of this file: what it needs is in the document, `x-winnow-role` and
`x-winnow-scope`. Somebody who may use a route is let through to it and finds that the thing is not there, or that the
body is not right: nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from jobs.accounts import keys, people
from jobs.accounts.roles import ROLES, SCOPES
from jobs.accounts.tables import SESSIONS
from jobs.accounts.tokens import digest
from jobs.web.app import create_app
from jobs.web.rules import RULES
from jobs.web.settings import Settings
from tests.accounts import TESTS, add_person, begin_session
from tests.jobs.web.served import OTHER, PROJECT, Site

# Answers to `head` have no lines; a test of its own asks for their status.
_METHODS = {"get", "put", "post", "delete", "patch", "options", "trace"}
_WRITES = {"put", "post", "delete", "patch"}


@dataclass(frozen=True)
class Route:
    """A route: what the document says of it."""

    method: str
    path: str
    needs: str
    scope: str | None
    name: str = ""

    def at(self, project: str) -> str:
        """Return an address of it, of things that are not there, in a project."""
        parts = [
            (project if part == "{project}" else "nothing-here") if part.startswith("{") else part
            for part in self.path.split("/")
        ]
        return "/".join(parts)

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@cache
def routes() -> tuple[Route, ...]:
    document = create_app(Settings(root=Path("/"), has_pages=False), None, 1).openapi()  # type: ignore[arg-type]
    return tuple(
        Route(method, path, about["x-winnow-role"], about.get("x-winnow-scope"), about["operationId"])
        for path, methods in document["paths"].items()
        for method, about in methods.items()
        if method in _METHODS
    )


def ask(client: httpx.Client, route: Route, project: str = PROJECT) -> tuple[int, list[str]]:
    """Return the status of an answer, and the lines of a problem; a stream is not waited for."""
    body = {"content": b"{}", "headers": {"content-type": "application/json"}} if route.method in _WRITES else {}
    with client, client.stream(route.method.upper(), route.at(project), **body) as answer:  # type: ignore[arg-type]
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            answer.read()
            found: Any = answer.json()
            assert found["status"] == answer.status_code
            assert set(found) == {"title", "status", "code", "lines"}
            return answer.status_code, found["lines"]
        return answer.status_code, []


def is_let_in(answer: tuple[int, list[str]]) -> bool:
    """Return whether an answer comes from the route itself, not from the check before it."""
    status, lines = answer
    assert status < 500, answer
    hidden = status == 404 and any(line.startswith("there is no project") for line in lines)
    return status not in {401, 403} and not hidden


def may(needs: str, who: str) -> bool:
    """Return whether somebody may use a route: the table of roles, written down once more."""
    if needs in {"nobody", "person"} or who in {"root", "second"}:
        return True
    return needs in ROLES and who in ROLES and ROLES.index(who) >= ROLES.index(needs)


def test_a_route_without_a_rule_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES, "me")
    with pytest.raises(LookupError, match=r"routes without a rule in jobs/web/rules\.py: me"):
        create_app(Settings(root=Path("/"), has_pages=False), None, 1)  # type: ignore[arg-type]


def all_of(check: Callable[[Route], object]) -> None:
    """Check every route and fail with all that are not as they should be."""
    wrong = []
    for route in routes():
        try:
            check(route)
        except AssertionError as error:
            wrong.append(f"{route}: {str(error).splitlines()[0]}")
    assert wrong == []


def test_nobody(shared: Site) -> None:
    def check(route: Route) -> None:
        answer = ask(shared.client(), route)
        if route.needs == "nobody":
            assert is_let_in(answer), answer
        else:
            assert answer == (401, ["sign in first, or send a key as Authorization: Bearer wnw_…"]), answer

    all_of(check)


@pytest.mark.parametrize("who", [*ROLES, "stranger", "root"])
def test_people(shared: Site, who: str) -> None:
    def check(route: Route) -> None:
        answer = ask(shared.client(who), route)
        assert is_let_in(answer) == may(route.needs, who), answer
        if not is_let_in(answer):
            # A project that one may not know of is no other than one that is not there.
            is_hidden = who == "stranger" and "{project}" in route.path and route.needs in ROLES
            assert answer[0] == (404 if is_hidden else 403), answer

    all_of(check)


def test_heads_alone(shared: Site) -> None:
    at = f"/api/v1/projects/{{}}/uploads/{'0' * 32}"
    asked = {None: (401, 401), "viewer": (403, 404), "annotator": (412, 404), "stranger": (404, 412)}
    for who, expected in asked.items():
        with shared.client(who) as client:
            assert tuple(client.head(at.format(name)).status_code for name in (PROJECT, OTHER)) == expected


@pytest.mark.parametrize("who", ROLES)
def test_a_project_of_others_is_not_there(shared: Site, who: str) -> None:
    def check(route: Route) -> None:
        if "{project}" in route.path and route.needs in ROLES:
            for project in (OTHER, "no-such"):
                answer = ask(shared.client(who), route, project)
                assert answer == (404, [f"there is no project '{project}'"]), answer

    all_of(check)


@pytest.mark.parametrize("token", ["", "nonsense", "%E9", "x" * 5000, "expired", "disabled", "hash"])
def test_sessions_that_do_not_hold(shared: Site, token: str) -> None:
    if token == "expired":
        token = begin_session(shared.database, shared.people["root"])
        old = update(SESSIONS).where(SESSIONS.c.token_hash == digest(token)).values(seen_ns=1)
        shared.database.write(lambda c: c.execute(old))
    elif token == "disabled":
        person = add_person(shared.database, "disabled", is_admin=True)
        shared.database.write(lambda c: people.change(c, TESTS, person.user_id, disabled=True))
        token = begin_session(shared.database, person)
    elif token == "hash":
        token = digest(begin_session(shared.database, shared.people["root"]))

    def check(route: Route) -> None:
        if route.needs != "nobody":
            answer = ask(shared.browser(token), route)
            assert answer[0] == 401, answer

    all_of(check)


@pytest.fixture(scope="module")
def made_keys(shared: Site) -> dict[tuple[str, str], str]:
    """One key of each scope of an admin, one with all scopes of each person, and one for a single project."""
    found = {}

    def add(who: str, name: str, scopes: list[str], project: str | None = None) -> None:
        person = shared.people[who].user_id
        found[who, name] = shared.database.write(lambda c: keys.add(c, TESTS, person, name, scopes, project))[1]

    for scope in SCOPES:
        add("root", scope, [scope])
    for who in (*ROLES, "stranger", "root"):
        add(who, "all", list(SCOPES))
    add("root", "for the other project", list(SCOPES), OTHER)
    return found


@pytest.mark.parametrize("scope", SCOPES)
def test_keys_of_each_scope(shared: Site, made_keys: dict[tuple[str, str], str], scope: str) -> None:
    def check(route: Route) -> None:
        # Routes for nobody in particular read no keys; those for signing in want a page of ours.
        if route.needs != "nobody":
            answer = ask(shared.program(made_keys["root", scope]), route)
            assert is_let_in(answer) == (route.scope == scope), answer
            assert route.scope == scope or answer[0] == 403, answer

    all_of(check)


@pytest.mark.parametrize("who", [*ROLES, "stranger"])
def test_keys_have_no_more_rights_than_their_owners(
    shared: Site, made_keys: dict[tuple[str, str], str], who: str
) -> None:
    def check(route: Route) -> None:
        if route.needs != "nobody":
            answer = ask(shared.program(made_keys[who, "all"]), route)
            assert is_let_in(answer) == (route.scope is not None and may(route.needs, who)), answer

    all_of(check)


def test_a_key_of_a_project_reaches_no_other_one(shared: Site, made_keys: dict[tuple[str, str], str]) -> None:
    key = made_keys["root", "for the other project"]

    def check(route: Route) -> None:
        if route.needs != "nobody":
            answer = ask(shared.program(key), route)
            assert is_let_in(answer) == RULES[route.name].is_narrowed, answer
            if "{project}" in route.path and route.scope is not None:
                answer = ask(shared.program(key), route, OTHER)
                assert is_let_in(answer), answer

    all_of(check)


def test_writes_that_another_site_sends_are_refused(shared: Site) -> None:
    forged = [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": shared.origin.replace("127.0.0.1", "127.0.0.2")},
        {"origin": f"http://127.0.0.1:{shared.port + 1}"},
        {"origin": shared.origin + ".evil.example"},
        {"sec-fetch-site": "cross-site"},
    ]

    def check(route: Route) -> None:
        if route.method in _WRITES:
            clients = [shared.client("root", **headers) for headers in forged]
            without = shared.client("root")
            del without.headers["origin"]
            for client in (*clients, without):
                status, lines = ask(client, route)
                assert status == 403, (status, lines)
                assert lines[0].startswith("writes are taken from the server's own pages"), lines

    all_of(check)


def test_other_methods_are_refused(shared: Site) -> None:
    known: dict[str, set[str]] = {}
    for route in routes():
        known.setdefault(route.path, set()).add(route.method)
    for path, methods in known.items():
        for method in sorted(_METHODS - methods):
            status, _ = ask(shared.client("root"), Route(method, path, "", None))
            # 404 where the address is one of another route with this method, and of nothing there; 412 where that
            # route is one of uploads, which first want to know the version of the protocol.
            assert status in {404, 405, 412}, (method, path)
