"""A server that the tests of a file share, and one of a test's own; the latter on both kinds of databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.accounts.conftest import KINDS
from tests.jobs.web.served import Site, served
from tests.postgresql import cluster, new_database


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with cluster() as socket:
        yield socket


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path / "root") as found:
        yield found


@pytest.fixture(params=KINDS)
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    url = None if request.param == "sqlite" else new_database(request.getfixturevalue("postgresql"))
    with served(tmp_path / "root", url) as found:
        yield found
