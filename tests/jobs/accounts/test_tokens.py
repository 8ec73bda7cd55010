"""Sessions, keys, invitations and one-time addresses: how long they hold, for whom, and how often."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import text

from jobs.accounts import invitations, keys, people, sessions
from jobs.accounts.database import Database
from jobs.accounts.errors import NotSignedInError, UnknownAccountError
from jobs.accounts.roles import SCOPES
from jobs.core.errors import UserError
from tests.accounts import TESTS, add_person, begin_session, password_hash

_HOUR_NS = 3600 * 10**9


def _later(hours: float) -> Any:
    now = time.time_ns()
    return mock.patch("time.time_ns", return_value=now + int(hours * _HOUR_NS))


def test_a_session_is_over_after_twelve_idle_hours(database: Database) -> None:
    token = begin_session(database, add_person(database, "jane"))
    with _later(11.9):
        assert sessions.look_up(database, token) is not None
    with _later(12.1):
        assert sessions.look_up(database, token) is None
        with database.read() as connection:
            assert sessions.find(connection, token) is None


def test_a_session_that_is_used_is_over_after_thirty_days(database: Database) -> None:
    jane = add_person(database, "jane")
    token = begin_session(database, jane)
    found = sessions.look_up(database, token)
    assert found is not None
    for days in range(30):
        with _later(24 * days + 12), mock.patch.object(sessions, "IDLE_S", 25 * 3600):
            assert sessions.look_up(database, token) is not None
            database.write(lambda c: sessions.note_use(c, found.session_id, "10.0.0.1"))
    with _later(30 * 24 + 0.1), mock.patch.object(sessions, "IDLE_S", 25 * 3600):
        assert sessions.look_up(database, token) is None
        begin_session(database, jane)
        with database.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM sessions")).scalar() == 1


def test_use_is_noted_once_a_minute(database: Database) -> None:
    token = begin_session(database, add_person(database, "jane"))
    found = sessions.look_up(database, token)
    assert found is not None
    assert not found.is_due(found.seen_ns + 59 * 10**9)
    assert found.is_due(found.seen_ns + 61 * 10**9)
    assert found.is_due(found.seen_ns - 1)


def test_only_hashes_of_tokens_are_stored(database: Database) -> None:
    jane = add_person(database, "jane", is_admin=True)
    secrets = [
        begin_session(database, jane),
        database.write(lambda c: keys.add(c, TESTS, jane.user_id, "nightly", ["read"]))[1].removeprefix("wnw_")[9:],
        database.write(lambda c: invitations.invite(c, TESTS))[1],
        database.write(lambda c: invitations.reset(c, TESTS, jane.user_id))[1],
        database.write(lambda c: invitations.entrance(c, TESTS)),
    ]
    with database.read() as connection:
        stored = [
            str(connection.execute(text(f"SELECT * FROM {table}")).all())
            for table in ("users", "sessions", "keys", "invitations", "audit", "throttle")
        ]
    for secret in secrets:
        assert len(secret) == 43
        assert not any(secret in rows for rows in stored)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("a" if text[-1] != "a" else "b"),
        lambda text: text.removeprefix("wnw_"),
        lambda text: text[:12],
        lambda text: text[:13],
        lambda text: "wnw__" + text[13:],
        lambda text: "wnw_00000000_" + text[13:],
        lambda text: "",
        lambda text: text + "é",
    ],
)
def test_only_the_whole_key_opens(database: Database, change: object) -> None:
    jane = add_person(database, "jane")
    key, text_ = database.write(lambda c: keys.add(c, TESTS, jane.user_id, "nightly", ["submit", "read"], "crossing"))
    found = keys.look_up(database, text_)
    assert found == key
    assert found.scopes == ("read", "submit")
    assert text_.startswith(f"wnw_{key.key_id}_")
    assert callable(change)
    assert keys.look_up(database, change(text_)) is None


def test_a_key_ends_at_its_day_and_when_it_is_revoked(database: Database) -> None:
    jane, maria = add_person(database, "jane"), add_person(database, "maria")
    key, text_ = database.write(lambda c: keys.add(c, TESTS, jane.user_id, "nightly", ["read"], days=2))
    with _later(47.9):
        assert keys.look_up(database, text_) is not None
    with _later(48.1):
        assert keys.look_up(database, text_) is None
    with pytest.raises(UnknownAccountError):
        database.write(lambda c: keys.revoke(c, TESTS, key.key_id, maria.user_id))
    database.write(lambda c: keys.revoke(c, TESTS, key.key_id, jane.user_id))
    assert keys.look_up(database, text_) is None
    with pytest.raises(UnknownAccountError):
        database.write(lambda c: keys.revoke(c, TESTS, key.key_id, None))


def test_a_key_has_the_rights_that_its_owner_has_now(database: Database) -> None:
    add_person(database, "maria", is_admin=True)
    jane = add_person(database, "jane", is_admin=True)
    _, text_ = database.write(lambda c: keys.add(c, TESTS, jane.user_id, "nightly", ["admin"]))
    found = keys.look_up(database, text_)
    assert found is not None
    assert found.owner_is_admin is True
    database.write(lambda c: people.change(c, TESTS, jane.user_id, is_admin=False))
    found = keys.look_up(database, text_)
    assert found is not None
    assert found.owner_is_admin is False


def test_everything_that_is_wrong_with_a_key_is_reported_at_once(database: Database) -> None:
    jane = add_person(database, "jane")
    with pytest.raises(UserError) as refused:
        database.write(lambda c: keys.add(c, TESTS, jane.user_id, "a\nb", ["read", "fly"], days=0))
    assert refused.value.problems == [
        "name: expected 1 to 100 characters that say what the key is for",
        f"scopes: fly unknown; expected some of {', '.join(SCOPES)}",
        "days: expected 1 to 3,660, found 0",
    ]


def test_an_invitation_holds_once_and_for_its_days(database: Database) -> None:
    _, token = database.write(lambda c: invitations.invite(c, TESTS, "crossing", "reviewer", days=1))
    with _later(24.1), database.read() as connection, pytest.raises(NotSignedInError):
        invitations.find(connection, token, "invitation")
    jane = database.write(lambda c: invitations.accept(c, token, "jane", password_hash(), "Jane", "10.0.0.1"))
    assert (jane.name, jane.display_name, jane.is_admin) == ("jane", "Jane", False)
    with pytest.raises(NotSignedInError):
        database.write(lambda c: invitations.accept(c, token, "maria", password_hash(), "", "10.0.0.1"))
    with database.read() as connection:
        assert [person.name for person in people.everyone(connection)] == ["jane"]


def test_a_token_that_two_use_at_once_is_used_by_one(database: Database) -> None:
    _, token = database.write(lambda c: invitations.invite(c, TESTS))

    def accept(n: int) -> bool:
        try:
            database.write(lambda c: invitations.accept(c, token, f"person-{n}", "a hash", "", ""))
        except NotSignedInError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(accept, range(8))) == 1
    with database.read() as connection:
        assert len(people.everyone(connection)) == 1


def test_a_name_that_is_in_use_leaves_the_invitation_open(database: Database) -> None:
    add_person(database, "jane")
    _, token = database.write(lambda c: invitations.invite(c, TESTS))
    with pytest.raises(UserError, match="in use"):
        database.write(lambda c: invitations.accept(c, token, "jane", password_hash(), "", ""))
    database.write(lambda c: invitations.accept(c, token, "maria", password_hash(), "", ""))


def test_tokens_are_good_for_what_they_were_made_for_alone(database: Database) -> None:
    jane = add_person(database, "jane")
    _, reset = database.write(lambda c: invitations.reset(c, TESTS, jane.user_id))
    entrance = database.write(lambda c: invitations.entrance(c, TESTS))
    with pytest.raises(NotSignedInError):
        database.write(lambda c: invitations.use(c, reset, "enter"))
    with pytest.raises(NotSignedInError):
        database.write(lambda c: invitations.accept(c, entrance, "eve", password_hash(), "", ""))


def test_of_two_resets_the_last_one_holds(database: Database) -> None:
    jane = add_person(database, "jane")
    session = begin_session(database, jane)
    _, first = database.write(lambda c: invitations.reset(c, TESTS, jane.user_id))
    _, second = database.write(lambda c: invitations.reset(c, TESTS, jane.user_id))
    with pytest.raises(NotSignedInError):
        database.write(lambda c: invitations.accept(c, first, "", "hash one", "", ""))
    database.write(lambda c: invitations.accept(c, second, "", "hash two", "", ""))
    with database.read() as connection:
        assert people.password_hash_of(connection, jane.user_id) == "hash two"
    assert sessions.look_up(database, session) is None


def test_the_address_of_the_terminal_holds_for_a_minute(database: Database) -> None:
    token = database.write(lambda c: invitations.entrance(c, TESTS))
    with _later(59 / 3600), database.read() as connection:
        assert invitations.find(connection, token, "enter").kind == "enter"
    with _later(61 / 3600), database.read() as connection, pytest.raises(NotSignedInError):
        invitations.find(connection, token, "enter")
