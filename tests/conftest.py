"""What several tests need: one engine per session, small streams, and real data where it is at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf import Resources
from jobs.demo import write_sample
from jobs.passes.engine import Engine
from jobs.workspace import Workspace
from tests.helpers import SMALL


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One Ray for the whole session; runs inside a test join it."""
    with Engine(Resources(num_cpus=2)) as started:
        yield started


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames of `SMALL`, to be read only."""
    folder = tmp_path_factory.mktemp("sample") / "cam"
    write_sample(folder, SMALL)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace that does not exist yet."""
    return Workspace.at(tmp_path / "tables")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real frames that `$WINNOW_TEST_DATA` names."""
    named = os.environ.get("WINNOW_TEST_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("real frames are not at hand: set WINNOW_TEST_DATA to their folder")
    return Path(named)
