from __future__ import annotations

import time

import duckdb
import pytest

from jobs.views import relations
from jobs.views.relations import Limits

_ENDLESS = "SELECT sum(a.range * b.range % 7) FROM range(10000000) a, range(1000000) b"


def test_a_query_that_begins_after_its_time_is_over_is_interrupted_all_the_same() -> None:
    """As on a machine where it takes longer to make the tables known than a query may take."""
    with relations.connect(Limits(0.01, 200_000_000)) as connection:
        time.sleep(0.1)
        with pytest.raises(duckdb.InterruptException):
            connection.sql(_ENDLESS).fetchall()


def test_a_query_within_its_limits_is_answered() -> None:
    with relations.connect(Limits(600, 200_000_000)) as connection:
        assert connection.sql("SELECT 6 * 7").fetchall() == [(42,)]
