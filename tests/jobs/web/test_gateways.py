"""Tests of a server that keeps gateways: real processes, killed and stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core.processes import has_ended
from jobs.dispatch import daemon
from jobs.dispatch.gateway_files import lock_path
from jobs.storage.locks import lock_holder
from jobs.storage.workspace import Workspace
from jobs.web.gateways import Gateways
from jobs.web.projects import Projects
from jobs.web.settings import Settings
from tests.waiting import wait_until
from tests.web_process import server_process

pytestmark = pytest.mark.process


def gateway_of(place: Workspace) -> dict[str, Any]:
    """The gateway of a workspace, once it is ready."""
    wait_until(lambda: (lock_holder(lock_path(place.root)) or {}).get("ready"))
    return lock_holder(lock_path(place.root)) or {}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Gateways, Workspace]]:
    place = Workspace.at(tmp_path / "crossing").create()
    gateways = Gateways(Projects(Settings(root=tmp_path)), pauses_s=(0.05,))
    gateways.start()
    try:
        yield gateways, place
    finally:
        gateways.stop()


def test_a_gateway_that_dies_is_started_again_and_all_end_together(
    kept: tuple[Gateways, Workspace], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gateways, place = kept
    first = gateway_of(place)
    later = Workspace.at(tmp_path / "yard").create()
    of_later = gateway_of(later)
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: (lock_holder(lock_path(place.root)) or first)["pid"] != first["pid"])
    second = gateway_of(place)
    assert "project crossing: its gateway died (signal 9); it starts again in 0.05 s" in caplog.text
    gateways.stop()
    assert has_ended(second)
    assert has_ended(of_later)
    assert not lock_holder(lock_path(place.root))


def test_a_gateway_that_somebody_stopped_stays_stopped(
    kept: tuple[Gateways, Workspace], caplog: pytest.LogCaptureFixture
) -> None:
    _, place = kept
    gateway_of(place)
    daemon.stop(place.root)
    wait_until(lambda: "project crossing: somebody stopped its gateway" in caplog.text)
    assert not lock_holder(lock_path(place.root))


def test_a_gateway_runs_as_long_as_the_server_also_in_a_place_that_was_not_there(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path / "new")
    with server_process(tmp_path / "new", "--with-gateway") as server:
        mine = gateway_of(place)
        code, _, errors = server.stop()
    assert (code, errors) == (0, "")
    assert has_ended(mine)
    assert not lock_holder(lock_path(place.root))


def test_a_gateway_that_runs_already_stays(tmp_path: Path) -> None:
    root = Workspace.at(tmp_path / "new").create().root
    running = daemon.start(root, ())
    try:
        with server_process(tmp_path / "new", "--with-gateway") as server, server.browser() as browser:
            project = browser.get(f"{server.api}/projects").json()["projects"][0]["project"]
            assert browser.get(f"{server.api}/projects/{project}/jobs").json()["gateway"] is not None
            assert server.stop()[0] == 0
        assert (lock_holder(lock_path(root)) or {})["pid"] == running["pid"]
    finally:
        daemon.stop(root)
