"""Leases: one person per frame, until they end by the clock."""

from __future__ import annotations

import pytest

from jobs.accounts import people as of_accounts
from jobs.accounts.database import Database
from jobs.editing import leases
from jobs.editing.errors import UnknownFrameError
from tests.accounts import TESTS
from tests.jobs.editing.material import people

LONG = 600_000_000_000
PLACES = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_two_people_never_get_one_frame(database: Database) -> None:
    ann, ben, _ = people(database)
    first = database.write(lambda c: leases.take(c, "p", ann, PLACES, 2, LONG))
    second = database.write(lambda c: leases.take(c, "p", ben, PLACES, 3, LONG))
    assert [(x.stream_id, x.frame_idx) for x in first] == PLACES[:2]
    assert [(x.stream_id, x.frame_idx) for x in second] == PLACES[2:]
    other = database.write(lambda c: leases.take(c, "other", ben, PLACES, 1, LONG))
    assert [(x.stream_id, x.frame_idx) for x in other] == PLACES[:1]


def test_a_lease_that_has_ended_goes_to_somebody_else(database: Database) -> None:
    ann, ben, _ = people(database)
    (ended,) = database.write(lambda c: leases.take(c, "p", ann, PLACES, 1, -1))
    (taken,) = database.write(lambda c: leases.take(c, "p", ben, PLACES, 1, LONG))
    assert (taken.stream_id, taken.frame_idx) == PLACES[0]
    assert taken.lease_id != ended.lease_id
    with pytest.raises(UnknownFrameError, match="this lease has ended"):
        database.write(lambda c: leases.lengthen(c, "p", ended.lease_id, ann.user_id, LONG))
    with pytest.raises(UnknownFrameError):
        database.write(lambda c: leases.release(c, "p", taken.lease_id, ann.user_id))


def test_a_lease_is_lengthened_given_back_and_skipped(database: Database) -> None:
    ann, ben, _ = people(database)
    (lease,) = database.write(lambda c: leases.take(c, "p", ann, PLACES, 1, LONG))
    longer = database.write(lambda c: leases.lengthen(c, "p", lease.lease_id, ann.user_id, 2 * LONG))
    assert longer.until_ns > lease.until_ns
    (same,) = database.write(lambda c: leases.take(c, "p", ann, PLACES, 1, LONG))
    assert same.lease_id == lease.lease_id
    database.write(lambda c: leases.release(c, "p", lease.lease_id, ann.user_id, is_skipped=True))
    (again,) = database.write(lambda c: leases.take(c, "p", ann, PLACES, 1, LONG))
    database.write(lambda c: leases.release(c, "p", again.lease_id, ann.user_id, is_skipped=True))
    with database.read() as connection:
        assert leases.active(connection, "p") == []
        assert leases.skipped(connection, "p", ann.user_id) == PLACES[:1]
        assert leases.skipped(connection, "p", ben.user_id) == []


def test_what_somebody_had_who_is_disabled_goes_to_others_at_once(database: Database) -> None:
    ann, ben, _ = people(database)
    database.write(lambda c: leases.take(c, "p", ann, PLACES, 4, LONG))
    database.write(lambda c: of_accounts.change(c, TESTS, ann.user_id, disabled=True))
    with database.read() as connection:
        assert leases.active(connection, "p") == []
        assert leases.of_frame(connection, "p", PLACES[0]) is None
    taken = database.write(lambda c: leases.take(c, "p", ben, PLACES, 4, LONG))
    assert [(x.stream_id, x.frame_idx) for x in taken] == PLACES
