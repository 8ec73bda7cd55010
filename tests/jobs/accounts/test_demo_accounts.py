"""Accounts to try a server with: one of each role, whose names nobody else can take."""

from __future__ import annotations

import pytest

from jobs.accounts import demo_accounts, members, people, sign_in
from jobs.accounts.database import Database
from jobs.accounts.roles import ROLES
from jobs.core.errors import UserError
from tests.accounts import PASSWORD, TESTS, add_person, password_hash


def test_an_account_of_each_role_in_each_project(database: Database) -> None:
    hashes = dict.fromkeys(ROLES, password_hash())
    names = database.write(lambda c: demo_accounts.make(c, TESTS, ["crossing", "yard"], hashes))
    assert names == {role: f"demo-{role}" for role in ROLES}
    with database.read() as connection:
        for project in ("crossing", "yard"):
            roles = {member["name"]: member["role"] for member in members.of_project(connection, project)}
            assert roles == {f"demo-{role}": role for role in ROLES}
        assert [person.name for person in people.everyone(connection) if person.is_admin] == ["demo-admin"]
        assert demo_accounts.enabled(connection) == sorted(names.values())


def test_made_once_more_they_are_enabled_with_new_passwords(database: Database) -> None:
    add_person(database, "jane", is_admin=True)
    with database.read() as connection:
        assert demo_accounts.enabled(connection) == []
    database.write(lambda c: demo_accounts.make(c, TESTS, [], dict.fromkeys(ROLES, "an old hash")))
    with database.read() as connection:
        viewer = people.by_name(connection, "demo-viewer")
    database.write(lambda c: people.change(c, TESTS, viewer.user_id, disabled=True))
    with database.read() as connection:
        assert "demo-viewer" not in demo_accounts.enabled(connection)
    database.write(lambda c: demo_accounts.make(c, TESTS, [], dict.fromkeys(ROLES, password_hash())))
    attempt = database.write(lambda c: sign_in.begin(c, "demo-viewer", "10.0.0.1"))
    assert attempt.is_right(PASSWORD)
    assert attempt.user_id == viewer.user_id
    database.write(lambda c: sign_in.succeed(c, attempt, "tests"))


def test_nobody_else_takes_their_names(database: Database) -> None:
    with pytest.raises(UserError, match="reserved"):
        add_person(database, "Demo-Anything")
