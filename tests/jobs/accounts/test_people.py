"""Accounts: names, admins of whom one stays, and what ends with an account that is disabled."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import Connection

from jobs.accounts import audit, invitations, keys, members, people, sessions, sign_in
from jobs.accounts.audit import Actor
from jobs.accounts.database import Database
from jobs.accounts.errors import AccountConflictError, NotSignedInError, UnknownAccountError
from jobs.accounts.names import checked_name
from jobs.core.errors import UserError
from tests.accounts import PASSWORD, TESTS, add_person, begin_session, opened, password_hash


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("jane", "jane"),
        (" Jane ", "jane"),
        ("JANE@Example.org", "jane@example.org"),
        ("\uff2a\uff21\uff2e\uff25", "jane"),
        ("Straße", "strasse"),
        ("jane\u0301", "jané"),
        ("李", "李"),
        ("\u212a", "k"),  # the sign of kelvin
    ],
)
def test_names_are_stored_as_they_are_compared(typed: str, stored: str) -> None:
    assert checked_name(typed) == stored
    assert checked_name(stored) == stored


@pytest.mark.parametrize(
    "typed", ["", " ", "ja ne", "ja\0ne", "ja\u200bne", "\u202ejane", "ja\u00a0ne", "ja\nne", "\ud800", "x" * 101]
)
def test_names_that_nobody_could_type_are_refused(typed: str) -> None:
    with pytest.raises(UserError, match="name: expected 1 to 100 characters"):
        checked_name(typed)


@pytest.mark.parametrize(
    "other", ["JANE", "j\u0430ne", "jan\u0435", "\u0458ane", "\uff4aane", "jane ", "j\u03b1ne", "ja\u0578e"]
)
def test_a_name_that_is_or_looks_like_another_one_is_refused(database: Database, other: str) -> None:
    add_person(database, "jane")
    with pytest.raises(AccountConflictError, match=r"name: .* (is in use|looks like jane, which is in use)"):
        add_person(database, other)


@pytest.mark.parametrize("name", ["local", "Terminal", "?", "\uff4c\uff4f\uff43\uff41\uff4c"])
def test_names_of_the_terminal_are_not_for_people(database: Database, name: str) -> None:
    with pytest.raises(UserError, match="reserved"):
        add_person(database, name)
    token = database.write(lambda c: invitations.entrance(c, TESTS))
    with database.read() as connection:
        found = invitations.find(connection, token, "enter")
        assert found.user_id is not None
        assert people.by_id(connection, found.user_id).is_admin


def _change(database: Database, user_id: str, disabled: bool | None, is_admin: bool | None) -> None:
    database.write(lambda c: people.change(c, TESTS, user_id, disabled, is_admin))


def test_the_last_admin_stays(database: Database) -> None:
    jane, maria = add_person(database, "jane", is_admin=True), add_person(database, "maria", is_admin=True)
    database.write(lambda c: people.change(c, TESTS, maria.user_id, is_admin=False))
    for change in ({"is_admin": False}, {"disabled": True}, {"disabled": True, "is_admin": False}):
        with pytest.raises(AccountConflictError, match="jane is the last admin of this server"):
            _change(database, jane.user_id, change.get("disabled"), change.get("is_admin"))
    with database.read() as connection:
        found = people.by_id(connection, jane.user_id)
        assert (found.is_admin, found.disabled) == (True, False)


def test_an_admin_who_is_disabled_counts_for_none(database: Database) -> None:
    jane, maria = add_person(database, "jane", is_admin=True), add_person(database, "maria", is_admin=True)
    database.write(lambda c: people.change(c, TESTS, maria.user_id, disabled=True))
    with pytest.raises(AccountConflictError):
        database.write(lambda c: people.change(c, TESTS, jane.user_id, is_admin=False))


@pytest.mark.parametrize("change", [{"is_admin": False}, {"disabled": True}])
def test_of_two_admins_who_demote_each_other_at_once_one_stays(
    url: str, database: Database, change: dict[str, bool]
) -> None:
    """Two programs, each with its own connections: what one checks must hold until it commits."""
    jane, maria = add_person(database, "jane", is_admin=True), add_person(database, "maria", is_admin=True)
    both = [opened(url), opened(url)]
    for _ in range(10):
        together = threading.Barrier(2)

        def demote(n: int, together: threading.Barrier = together) -> bool:
            me, other = (jane, maria) if n == 0 else (maria, jane)
            together.wait()

            def work(connection: Connection) -> None:
                person = people.by_id(connection, me.user_id)
                if person.disabled or not person.is_admin:
                    raise NotSignedInError("no admin any more")
                people.change(connection, Actor(me.name, me.user_id), other.user_id, **change)

            try:
                both[n].write(work)
            except UserError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(demote, range(2))) == [False, True]
        with database.read() as connection:
            left = [p.name for p in people.everyone(connection) if p.is_admin and not p.disabled]
        assert len(left) == 1
        for person in (jane, maria):
            again = partial(people.change, actor=TESTS, user_id=person.user_id, disabled=False, is_admin=True)
            database.write(again)
    for one in both:
        one.close()


def test_the_last_admin_of_a_project_stays(database: Database) -> None:
    jane, maria = add_person(database, "jane"), add_person(database, "maria")
    database.write(lambda c: members.put(c, TESTS, "crossing", jane.user_id, "admin"))
    for refused in (
        lambda c: members.put(c, TESTS, "crossing", jane.user_id, "reviewer"),
        lambda c: members.remove(c, TESTS, "crossing", jane.user_id),
        lambda c: people.change(c, TESTS, jane.user_id, disabled=True),
    ):
        with pytest.raises(AccountConflictError, match="jane is the last admin of project crossing"):
            database.write(refused)
    database.write(lambda c: members.put(c, TESTS, "crossing", maria.user_id, "admin"))
    database.write(lambda c: members.put(c, TESTS, "crossing", jane.user_id, "viewer"))
    with database.read() as connection:
        roles = {member["name"]: member["role"] for member in members.of_project(connection, "crossing")}
    assert roles == {"jane": "viewer", "maria": "admin"}
    assert members.look_up_role(database, "crossing", jane.user_id) == "viewer"
    assert members.look_up_role(database, "yard", jane.user_id) is None


def test_a_new_project_has_no_members_of_one_that_had_its_name(database: Database) -> None:
    jane, maria = add_person(database, "jane"), add_person(database, "maria", is_admin=True)
    database.write(lambda c: members.put(c, TESTS, "crossing", jane.user_id, "admin"))
    database.write(lambda c: members.note_creation(c, Actor("maria", maria.user_id), "crossing"))
    with database.read() as connection:
        assert [member["name"] for member in members.of_project(connection, "crossing")] == ["maria"]


def _accept(database: Database, token: str) -> None:
    database.write(lambda c: invitations.accept(c, token, "eve", password_hash(), "", ""))


def test_everything_of_an_account_ends_when_it_is_disabled(database: Database) -> None:
    add_person(database, "maria", is_admin=True)
    jane = add_person(database, "jane", is_admin=True)
    actor = Actor("jane", jane.user_id)
    token = begin_session(database, jane)
    _, key = database.write(lambda c: keys.add(c, actor, jane.user_id, "nightly", ["read"]))
    _, back = database.write(lambda c: invitations.invite(c, actor, is_admin=True))
    _, reset = database.write(lambda c: invitations.reset(c, TESTS, jane.user_id))
    _, of_maria = database.write(lambda c: invitations.invite(c, Actor("maria")))
    database.write(lambda c: people.change(c, TESTS, jane.user_id, disabled=True))

    def nothing_holds() -> None:
        assert sessions.look_up(database, token) is None
        assert keys.look_up(database, key) is None
        for gone in (back, reset):
            with pytest.raises(NotSignedInError):
                _accept(database, gone)

    nothing_holds()
    attempt = database.write(lambda c: sign_in.begin(c, "jane", "10.0.0.1"))
    assert not attempt.is_right(PASSWORD)
    database.write(lambda c: people.change(c, TESTS, jane.user_id, disabled=False))
    nothing_holds()
    with database.read() as connection:
        assert invitations.find(connection, of_maria, "invitation").created_by == "maria"


def test_a_change_of_rights_ends_sessions(database: Database) -> None:
    add_person(database, "maria", is_admin=True)
    jane = add_person(database, "jane")
    token = begin_session(database, jane)
    database.write(lambda c: people.change(c, TESTS, jane.user_id, is_admin=True))
    assert sessions.look_up(database, token) is None
    again = begin_session(database, jane)
    database.write(lambda c: people.change(c, TESTS, jane.user_id, is_admin=True))
    assert sessions.look_up(database, again) is not None


def test_a_new_password_ends_all_sessions_but_the_one_that_set_it(database: Database) -> None:
    jane = add_person(database, "jane")
    kept, other = begin_session(database, jane), begin_session(database, jane)
    found = sessions.look_up(database, kept)
    assert found is not None
    database.write(lambda c: people.set_password(c, TESTS, jane.user_id, "another hash", found.session_id))
    assert sessions.look_up(database, kept) is not None
    assert sessions.look_up(database, other) is None


def test_changes_of_rights_and_their_reasons_are_in_the_audit(database: Database) -> None:
    maria = add_person(database, "maria", is_admin=True)
    jane = add_person(database, "jane")
    actor = Actor("maria", maria.user_id, "10.0.0.7")
    database.write(lambda c: members.put(c, actor, "crossing", jane.user_id, "viewer"))
    database.write(lambda c: members.put(c, actor, "crossing", jane.user_id, "reviewer"))
    database.write(lambda c: members.remove(c, actor, "crossing", jane.user_id))
    key, _ = database.write(lambda c: keys.add(c, actor, jane.user_id, "nightly", ["submit", "read"]))
    database.write(lambda c: keys.revoke(c, actor, key.key_id, None))
    database.write(lambda c: people.change(c, actor, jane.user_id, disabled=True))
    with database.read() as connection:
        found = audit.entries(connection, user="maria")
    assert [(e["action"], e["target"], e["project"], e["detail"], e["address"]) for e in found] == [
        ("user.change", "jane", None, {"disabled": True}, "10.0.0.7"),
        ("key.revoke", key.key_id, None, {}, "10.0.0.7"),
        ("key.add", key.key_id, None, {"days": 90, "scopes": ["read", "submit"]}, "10.0.0.7"),
        ("member.remove", "jane", "crossing", {"before": "reviewer"}, "10.0.0.7"),
        ("member.put", "jane", "crossing", {"before": "viewer", "role": "reviewer"}, "10.0.0.7"),
        ("member.put", "jane", "crossing", {"before": None, "role": "viewer"}, "10.0.0.7"),
    ]
    with database.read() as connection:
        assert [e["action"] for e in audit.entries(connection, before=found[-1]["seq"])] == ["user.add", "user.add"]
        assert len(audit.entries(connection, limit=3)) == 3


def test_people_who_are_not_there_are_named(database: Database) -> None:
    with database.read() as connection, pytest.raises(UnknownAccountError, match="there is no account 'eve'"):
        people.by_name(connection, "eve")
