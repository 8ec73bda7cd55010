"""Signing in: what is checked for names that nobody has, limits on guessing, and passwords with old hashes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from unittest import mock

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, text

from jobs.accounts import audit, passwords, people, sessions, sign_in, throttle
from jobs.accounts.database import Database
from jobs.accounts.errors import NotSignedInError, TooManyTriesError
from jobs.accounts.tables import THROTTLE
from jobs.core.errors import UserError
from tests.accounts import PASSWORD, TESTS, add_person, opened

_OTHER = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1)
_OF_USERS = passwords._hasher


def _try(database: Database, name: str, password: str = "wrong-wrong", address: str = "10.0.0.1") -> str:
    """Try to sign in as the server does; return the token of the session."""
    attempt = database.write(lambda c: sign_in.begin(c, name, address))
    if not attempt.is_right(password):
        database.write(lambda c: sign_in.fail(c, attempt))
        raise NotSignedInError(sign_in.WRONG)
    return database.write(lambda c: sign_in.succeed(c, attempt, "tests"))


@pytest.mark.parametrize("name", ["nobody", "jane", "disabled", "without-password", "ja\0ne", "x" * 500])
def test_a_hash_is_verified_for_every_name_and_the_answer_is_the_same(database: Database, name: str) -> None:
    for known in ("jane", "disabled"):
        add_person(database, known)
    add_person(database, "without-password", has_password=False)
    with database.read() as connection:
        disabled = people.by_name(connection, "disabled").user_id
    database.write(lambda c: people.change(c, TESTS, disabled, disabled=True))
    passwords.decoy()
    with mock.patch.object(PasswordHasher, "verify", autospec=True, side_effect=PasswordHasher.verify) as verify:
        with pytest.raises(NotSignedInError) as refused:
            _try(database, name, PASSWORD if name != "jane" else "wrong-wrong")
        assert verify.call_count == 1
    assert refused.value.problems == [sign_in.WRONG]


def test_hashes_of_users_are_as_dear_as_rfc_9106_recommends() -> None:
    """The tests' own are not, and so say nothing of it."""
    assert _OF_USERS().hash(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_the_decoy_costs_what_a_hash_of_now_costs() -> None:
    assert not passwords.is_outdated(passwords.decoy())


def test_after_five_failures_one_try_a_minute_is_heard(database: Database) -> None:
    add_person(database, "jane")
    for _ in range(throttle.FREE):
        with pytest.raises(NotSignedInError):
            _try(database, "jane")
    with pytest.raises(TooManyTriesError) as wait:
        _try(database, "jane", address="10.0.0.2")
    assert 50 < wait.value.wait_s <= 60
    with pytest.raises(TooManyTriesError):
        _try(database, "maria", address="10.0.0.1")
    now = time.time_ns()
    with mock.patch("time.time_ns", return_value=now + 61 * 10**9):
        with pytest.raises(NotSignedInError):
            _try(database, "jane", address="10.0.0.2")
        with pytest.raises(TooManyTriesError):
            _try(database, "jane", address="10.0.0.2")


def test_a_restart_forgets_no_failures(url: str) -> None:
    for _ in range(throttle.FREE):
        database = opened(url)
        with pytest.raises(NotSignedInError):
            _try(database, "jane")
        database.close()
    database = opened(url)
    with pytest.raises(TooManyTriesError):
        _try(database, "jane")
    database.close()


def test_of_a_hundred_tries_at_once_five_are_checked(database: Database) -> None:
    def attempt(_: int) -> str:
        try:
            _try(database, "jane")
        except UserError as error:
            return type(error).__name__
        return "signed in"

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(attempt, range(100)))
    assert answers.count("NotSignedInError") == throttle.FREE
    assert answers.count("TooManyTriesError") == 100 - throttle.FREE


def test_a_clock_that_is_set_back_locks_nobody_out_for_longer(database: Database) -> None:
    for _ in range(throttle.FREE):
        with pytest.raises(NotSignedInError):
            _try(database, "jane")
    before = time.time_ns() - 24 * 3600 * 10**9
    # The times of the failures are a day ahead now; one try is heard, and then one a minute, as ever.
    for waited_s in (0, 61, 122):
        with mock.patch("time.time_ns", return_value=before + waited_s * 10**9):
            with pytest.raises(NotSignedInError):
                _try(database, "jane")
            with pytest.raises(TooManyTriesError) as wait:
                _try(database, "jane")
        assert 50 < wait.value.wait_s <= 60


def test_the_right_password_clears_the_name_and_gives_its_address_nothing(database: Database) -> None:
    add_person(database, "jane")
    for _ in range(throttle.FREE - 1):
        with pytest.raises(NotSignedInError):
            _try(database, "jane")
    token = _try(database, "Jane", PASSWORD)
    assert sessions.look_up(database, token) is not None
    with database.read() as connection:
        left = {row[0]: row[1] for row in connection.execute(select(THROTTLE.c.bucket, THROTTLE.c.failures))}
    assert left == {"address:10.0.0.1": throttle.FREE - 1}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", ""),
        ("x" * 1000, "x" * 100),
    ],
)
def test_clients_are_counted_by_the_network_that_they_choose_addresses_in(address: str, network: str) -> None:
    assert sign_in.network_of(address) == network


def test_what_somebody_typed_as_a_name_is_stored_nowhere(database: Database) -> None:
    with pytest.raises(NotSignedInError):
        _try(database, "planted-password-1234")
    with database.read() as connection:
        for table in ("throttle", "audit", "users"):
            assert "planted" not in str(connection.execute(text(f"SELECT * FROM {table}")).all())
        assert [(e["action"], e["actor"]) for e in audit.entries(connection)] == [("session.refused", "?")]


def test_a_try_that_was_not_checked_counts_as_none(database: Database) -> None:
    for _ in range(20):
        attempt = database.write(lambda c: sign_in.begin(c, "jane", "10.0.0.1"))
        database.write(partial(sign_in.give_up, attempt=attempt))
    with pytest.raises(NotSignedInError):
        _try(database, "jane")


def test_a_hash_of_other_parameters_is_replaced_at_sign_in(database: Database) -> None:
    old = _OTHER.hash(PASSWORD)
    jane = database.write(lambda c: people.add(c, TESTS, "jane", old))
    attempt = database.write(lambda c: sign_in.begin(c, "jane", "10.0.0.1"))
    assert attempt.is_right(PASSWORD)
    assert passwords.is_outdated(old)
    new = passwords.hashed(PASSWORD)
    database.write(lambda c: sign_in.succeed(c, attempt, "tests", new))
    with database.read() as connection:
        stored = people.password_hash_of(connection, jane.user_id)
    assert stored == new
    assert not passwords.is_outdated(new)
    assert passwords.is_right(PASSWORD, new)


def test_a_password_that_was_changed_meanwhile_signs_nobody_in(database: Database) -> None:
    jane = add_person(database, "jane")
    attempt = database.write(lambda c: sign_in.begin(c, "jane", "10.0.0.1"))
    assert attempt.is_right(PASSWORD)
    database.write(lambda c: people.set_password(c, TESTS, jane.user_id, "another hash"))
    with pytest.raises(NotSignedInError):
        database.write(lambda c: sign_in.succeed(c, attempt, "tests", "a third hash"))
    with database.read() as connection:
        assert people.password_hash_of(connection, jane.user_id) == "another hash"


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("short", "at least 10 characters, found 5"),
        ("x" * 1025, "at most 1,024 characters, found 1,025"),
        ("aaaaaaaaaaaa", "one character"),
        ("Jane-of-the-yard", "found the name"),
        ("1234567890", "one of the most common ones"),
        ("Password123", "one of the most common ones"),
    ],
)
def test_passwords_that_others_guess_are_refused(password: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as refused:
        passwords.check_acceptable(password, "jane-of-the-yard")
    assert password not in str(refused.value)


def test_passwords_need_no_digits_or_signs() -> None:
    passwords.check_acceptable("seven quiet herons", "jane")
    assert passwords.is_right("日本語のパスワードです", passwords.hashed("日本語のパスワードです"))
