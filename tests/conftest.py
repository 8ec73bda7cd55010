"""What several tests need: one engine per session, small streams, and real data where it is installed."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
import typer.main
from blake3 import blake3
from hypothesis import settings

from conf import Resources
from jobs.accounts import passwords
from jobs.core.errors import RunFailedError
from jobs.demo import write_sample
from jobs.engine.ray_engine import Engine
from jobs.storage.workspace import Workspace
from tests import s3
from tests.environments import interpreter
from tests.helpers import SMALL, go
from tests.idle_workers import lent
from tests.machines import PATIENT, Machines, two_machines
from tests.models import held_at_hand
from tests.waiting import wait_until

if TYPE_CHECKING:
    from argon2 import PasswordHasher

# No test asserts a time: other work on the machine makes any example slow.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# Nor does a cluster give up.
os.environ.update(PATIENT)
# Thousands of processes are started, each of which would compile all of our modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What is imported for all tests stays; to search it for garbage takes a tenth of their time.
gc.disable()

pytest_plugins = ["tests.marks"]


def pytest_collection_finish() -> None:
    """Have the search for garbage begin, among what tests make."""
    gc.freeze()
    gc.enable()


@cache
def quick_hasher() -> PasswordHasher:
    """Return what hashes the passwords of tests: that of users takes a third of a second, on purpose."""
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(scope="session", autouse=True)
def in_haste() -> Iterator[None]:
    """Spare the tests' own process what no test checks; those that it starts are spared nothing.

    No power fails here, so that nothing waits for a disk; the tree of all commands, which takes longer to make than
    most of them take, is made once; nobody guesses passwords; and a run leaves its processes to the next one.
    """
    made_once = cache(typer.main.get_command)
    with (
        mock.patch("os.fsync", return_value=None),
        mock.patch("typer.testing._get_command", made_once),
        mock.patch.object(passwords, "_hasher", quick_hasher),
        lent(),
    ):
        yield


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One Ray for the whole session; runs inside a test join it."""
    with started_engine() as started:
        yield started


def started_engine() -> Engine:
    """Start an engine. Ray gives its processes half a minute, which may be too little on a busy machine."""

    def start() -> Engine | None:
        try:
            return Engine(Resources(num_cpus=2))
        except RunFailedError:
            return None

    engine = wait_until(start, "Ray did not start", every_s=1.0)
    assert engine is not None
    return engine


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    """A cluster of two machines that know nothing of any object store; who kills one of them adds another."""
    with two_machines() as cluster:
        yield cluster


@pytest.fixture
def models_at_hand(engine: Engine) -> Iterator[None]:
    """Models in the tests' own process, for tests of what is shown to them and of what comes of it."""
    with held_at_hand():
        yield


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames of `SMALL`, to be read only."""
    folder = tmp_path_factory.mktemp("sample") / "cam"
    write_sample(folder, SMALL)
    return folder


@pytest.fixture(scope="session")
def sample_tables(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, engine: Engine) -> Workspace:
    """The workspace of a run of `SMALL` without any trouble, to be read only."""
    workspace = Workspace.at(tmp_path_factory.mktemp("sample") / "tables")
    go(workspace, sample_folder)
    return workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace that does not exist yet."""
    return Workspace.at(tmp_path / "tables")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a real S3 server, one for the whole session."""
    with s3.server() as address:
        yield address


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A bucket of this test's own, as a URI; the environment leads to it."""
    import boto3

    for name, value in s3.environment(s3_server).items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "WINNOW_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    name = f"test-{blake3(request.node.nodeid.encode()).hexdigest()[:16]}"
    boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real frames that `$WINNOW_TEST_DATA` names."""
    named = os.environ.get("WINNOW_TEST_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("real frames are not available: set WINNOW_TEST_DATA to their folder")
    return Path(named)


@pytest.fixture(scope="session")
def datumaro() -> Path:
    """Return the interpreter of an environment with Datumaro, which requires an older Arrow than ours."""
    try:
        return interpreter("datumaro", "sync", "--require-hashes", "tests/requirements-datumaro.txt")
    except FileNotFoundError as error:
        pytest.skip(f"no uv to install Datumaro with: {error}")


@pytest.fixture(autouse=True)
def usual_scheduling(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give a test that left this process with a real-time priority, by way of a library, the usual one back.

    Processes that are started afterwards inherit it, and two processes that wait in a loop then stop the machine.
    """
    yield
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        warnings.warn(f"{request.node.nodeid} left this process with a real-time priority", stacklevel=1)
