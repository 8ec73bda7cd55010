"""Marks of tests: which need the engine or processes, which share a process of the test run, and in what order they go.

A test that uses a fixture which starts something is marked by that; one that starts something itself says so, or fails.
"""

from __future__ import annotations

import multiprocessing.process
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.waiting import PATIENCE_S

_BY_FIXTURE = {"engine": "engine", "s3_server": "process"}
_ENGINE = "gcs_server"
_HARMLESS = frozenset({"fc-list", "ldconfig", "uname", "lsb_release"})
"""What libraries ask of the system while they are imported."""

MACHINES = "machines"
"""The group of the tests that share the cluster of two machines, which then is started once."""

UMAP = "umap"
"""The group of the tests that project vectors: what is compiled for that, for half a minute, is kept by no process."""

_SECONDS = {"slow": 10.0, "engine": 1.0, "process": 1.0}
"""About how long a test with a mark takes, for the order only."""

_SECONDS_OF_OTHERS = 0.05


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their fixtures, before `-m` reads the marks, and put what takes longest first."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        for fixture, mark in _BY_FIXTURE.items():
            if fixture in fixtures:
                item.add_marker(mark)
        if _starts(item):
            item.add_marker(pytest.mark.timeout(3 * PATIENCE_S))
    weights: dict[str, float] = defaultdict(float)
    for item in items:
        weights[_group(item)] += _seconds(item)
    # Those of a group one after the other, or its fixtures would be made for each part of it.
    items.sort(key=lambda item: (-weights[_group(item)], _group(item)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have the tests of a group go to one process, and those of a file that names no group.

    What `--dist loadgroup` of pytest-xdist 3.8 is for, which finds no group with pytest 9.2.
    """
    from xdist.scheduler import LoadFileScheduling

    class Groups(LoadFileScheduling):  # type: ignore[misc] # it is not typed
        def _split_scope(self, nodeid: str) -> str:
            return group_of(config.rootpath / super()._split_scope(nodeid))

    return Groups(config, log) if config.getvalue("dist") == "loadfile" else None


@cache
def group_of(file: Path) -> str:
    """Return the group that a file of tests names, as it is written there, or the file itself."""
    found = re.search(r"^pytestmark = .*\bxdist_group\((.+?)\)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else str(file)


def _group(item: pytest.Item) -> str:
    return group_of(item.path)


def _seconds(item: pytest.Item) -> float:
    """Return about how long a test takes."""
    # `slow(80)` says it of a test that takes much longer than others of its mark.
    known = [
        mark.args[0] if mark.args else _SECONDS[mark.name] for mark in item.iter_markers() if mark.name in _SECONDS
    ]
    return max(known, default=_SECONDS_OF_OTHERS)


def _starts(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("engine", "process"))


class _Guard:
    """Fails a test that starts what it is not marked with."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None
        self.found: list[str] = []

    def check(self, command: Sequence[Any]) -> None:
        """Take note of a command that is about to be started. Raises `Failed` where the test has no mark for it."""
        words = [str(word) for word in command]
        if self.item is None or Path(words[0]).name in _HARMLESS:
            return
        mark = "engine" if _ENGINE in words[0] else "process"
        if self.item.get_closest_marker("engine") or (mark == "process" and self.item.get_closest_marker("process")):
            return
        problem = f"{self.item.nodeid} starts `{' '.join(words)[:200]}` and is not marked `{mark}`"
        self.found.append(problem)
        pytest.fail(problem, pytrace=False)


GUARD = _Guard()


@pytest.fixture(scope="session", autouse=True)
def guarded() -> Iterator[None]:
    """Have the guard see every process that is started from Python."""
    execute, start = subprocess.Popen._execute_child, multiprocessing.process.BaseProcess.start  # type: ignore[attr-defined]

    def execute_checked(self: Any, args: Any, *rest: Any) -> None:
        GUARD.check([args] if isinstance(args, (str, bytes)) else list(args))
        execute(self, args, *rest)

    def start_checked(self: Any) -> None:
        GUARD.check([self.name])
        start(self)

    with (
        mock.patch.object(subprocess.Popen, "_execute_child", execute_checked),
        mock.patch.object(multiprocessing.process.BaseProcess, "start", start_checked),
    ):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Say to the guard which test runs."""
    GUARD.item = item
    try:
        return (yield)
    finally:
        GUARD.item = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that has swallowed what the guard raised, or started something in another thread."""
    GUARD.found.clear()
    result = yield
    if GUARD.found:
        pytest.fail("\n".join(GUARD.found), pytrace=False)
    return result
