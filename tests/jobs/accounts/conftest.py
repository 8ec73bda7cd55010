"""The database of accounts, of both kinds: each test that uses it runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.accounts.database import Database
from tests.accounts import opened
from tests.postgresql import cluster, new_database

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.process)]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with cluster() as socket:
        yield socket


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'accounts.sqlite'}"
    return new_database(request.getfixturevalue("postgresql"))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = opened(url)
    yield made
    made.close()
