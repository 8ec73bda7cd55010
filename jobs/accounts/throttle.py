"""Limits on guessing: after five failures in a row, one try a minute, by name and by address.

The counters are in the database, so that a restart resets none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from jobs.accounts.errors import TooManyTriesError
from jobs.accounts.tables import THROTTLE

FREE = 5
"""Failures in a row after which each try has to wait."""

WAIT_S = 60.0
FORGOTTEN_S = 3600.0
"""Failures are forgotten after so long without another one."""

_SECOND_NS = 10**9


def begin_try(connection: Connection, buckets: Sequence[str]) -> None:
    """Count a try as a failure of each of these until it is known to be none, so that tries at once count each.

    Raises `TooManyTriesError` where one of them had too many, and the last one is not a minute old.
    """
    now = time.time_ns()
    connection.execute(delete(THROTTLE).where(THROTTLE.c.last_ns < now - int(FORGOTTEN_S * _SECOND_NS)))
    # A failure from before the clock was set back must lock nobody out until that time comes again: this try is heard,
    # and counts from now on.
    is_sound = THROTTLE.c.last_ns <= now + int(WAIT_S * _SECOND_NS)
    query = select(THROTTLE.c.last_ns).where(THROTTLE.c.bucket.in_(buckets), THROTTLE.c.failures >= FREE, is_sound)
    waits = [WAIT_S - (now - last) / _SECOND_NS for last in connection.execute(query).scalars()]
    if waits and max(waits) > 0:
        raise TooManyTriesError(min(max(waits), WAIT_S))
    for bucket in buckets:
        here = THROTTLE.c.bucket == bucket
        values = {THROTTLE.c.failures: THROTTLE.c.failures + 1, THROTTLE.c.last_ns: now}
        if not connection.execute(update(THROTTLE).where(here).values(values)).rowcount:
            connection.execute(insert(THROTTLE).values(bucket=bucket, failures=1, last_ns=now))


def end_try(connection: Connection, name: str, address: str) -> None:
    """Forget the failures of a name that signed in; its address made one less.

    Otherwise somebody with an account could clear the counter of their address between guesses at others.
    """
    connection.execute(delete(THROTTLE).where(THROTTLE.c.bucket == name))
    here = (THROTTLE.c.bucket == address) & (THROTTLE.c.failures > 0)
    connection.execute(update(THROTTLE).where(here).values({THROTTLE.c.failures: THROTTLE.c.failures - 1}))


def take_back(connection: Connection, buckets: Sequence[str]) -> None:
    """Count one failure less of each of these."""
    here = THROTTLE.c.bucket.in_(buckets) & (THROTTLE.c.failures > 0)
    connection.execute(update(THROTTLE).where(here).values({THROTTLE.c.failures: THROTTLE.c.failures - 1}))
