"""Gateways that a server starts next to itself: they run jobs, and end with it; others are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.dispatch import daemon
from jobs.dispatch.gateway_files import lock_path
from jobs.storage.locks import lock_holder
from jobs.storage.workspace import Workspace
from tests.waiting import wait_until
from tests.web_process import server_process

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_a_gateway_runs_as_long_as_the_server(tmp_path: Path) -> None:
    root = Workspace.at(tmp_path / "new").root
    with server_process(tmp_path / "new", "--with-gateway") as server:
        wait_until(lambda: bool((lock_holder(lock_path(root)) or {}).get("ready")))
        code, _, errors = server.stop()
    assert (code, errors) == (0, "")
    assert not lock_holder(lock_path(root))


def test_a_gateway_that_runs_already_stays(tmp_path: Path) -> None:
    root = Workspace.at(tmp_path / "new").create().root
    running = daemon.start(root, ())
    try:
        with server_process(tmp_path / "new", "--with-gateway") as server:
            assert server.stop()[0] == 0
        assert (lock_holder(lock_path(root)) or {})["pid"] == running["pid"]
    finally:
        daemon.stop(root)
