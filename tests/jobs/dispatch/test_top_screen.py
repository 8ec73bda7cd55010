from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable

from jobs.core.processes import process_identity
from jobs.dispatch.top_screen import JobScreen, Top
from jobs.records.job_log import JobLog, fold
from jobs.records.journal import Journal
from jobs.storage.workspace import Workspace


@pytest.fixture
def busy(workspace: Workspace) -> Workspace:
    """A workspace with a job that runs, two that wait, one that has failed and one that is done."""
    root = workspace.create().root
    JobLog(root, "5-done").add("started", {"process": process_identity()})
    JobLog(root, "5-done").add("done")
    failed = JobLog(root, "4-failed")
    failed.add("submitted", {})
    failed.add("failed", {"error": "the disk [is] full"})
    for name, priority in (("2-waits", 1), ("3-waits", 7)):
        JobLog(root, name).add("submitted", {"priority": priority})
    runs = JobLog(root, "1-runs")
    runs.add("submitted", {})
    runs.add("claimed", {"process": process_identity()})
    now = time.time_ns()
    journal = Journal.of(root, "1-runs")
    journal.write("run_started", frames=1000)
    journal.write("stage_started", at_ns=now - 10**9, stage="measure", frames=1000)
    journal.write("block_done", at_ns=now, frames=250)
    return workspace


def drive(workspace: Workspace, keys: Callable[[Top, Pilot[None]], Awaitable[None]]) -> None:
    async def run() -> None:
        app = Top(workspace)
        async with app.run_test(size=(140, 30)) as pilot:
            await pilot.pause()
            await keys(app, pilot)

    asyncio.run(run())


def cells(app: Top, name: str = "#jobs") -> list[list[str]]:
    table = app.screen.query_one(name, DataTable)
    return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]


def state(workspace: Workspace, job_id: str) -> str:
    found = fold(JobLog(workspace.root, job_id).records())
    assert found is not None
    return found.request.word if found.request else found.state


def test_jobs_are_shown_in_the_order_in_which_they_matter(busy: Workspace) -> None:
    async def keys(app: Top, pilot: Pilot[None]) -> None:
        rows = cells(app)
        assert [row[0] for row in rows] == ["1-runs", "3-waits", "2-waits", "4-failed", "5-done"]
        assert rows[0][1:4] == ["running", "measure", "250/1,000"]
        assert rows[1][6] == "7"
        assert rows[3][-1] == "the disk [is] full"
        headline = str(app.gateway.render())
        assert "no gateway is running; 2 waiting, 2 due" in headline
        assert "4-failed: the disk [is] full" in str(app.errors.render())

    drive(busy, keys)


def test_the_screen_follows_and_the_cursor_stays_on_its_job(busy: Workspace) -> None:
    async def keys(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down")
        assert app.chosen == "2-waits"
        JobLog(busy.root, "0-urgent").add("submitted", {"priority": 99})
        app.update_view()
        assert [row[0] for row in cells(app)][:4] == ["1-runs", "0-urgent", "3-waits", "2-waits"]
        assert app.chosen == "2-waits"

    drive(busy, keys)


def test_p_pauses_and_r_resumes_the_job_under_the_cursor(busy: Workspace) -> None:
    async def keys(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        assert state(busy, "1-runs") == "pause"
        assert cells(app)[0][1] == "running, asked: pause"
        await pilot.press("r")
        assert state(busy, "1-runs") == "running"
        await pilot.press("down", "p")
        assert state(busy, "3-waits") == "paused"
        assert state(busy, "2-waits") == "pending"

    drive(busy, keys)


def test_cancelling_on_the_screen_needs_confirmation(busy: Workspace) -> None:
    async def keys(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("c", "n")
        assert state(busy, "1-runs") == "running"
        await pilot.press("c", "y")
        assert state(busy, "1-runs") == "cancel"

    drive(busy, keys)


def test_impossible_requests_on_the_screen_are_reported_and_change_nothing(busy: Workspace) -> None:
    async def keys(app: Top, pilot: Pilot[None]) -> None:
        before = len(JobLog(busy.root, "5-done").records())
        await pilot.press("down", "down", "down", "down", "p")
        assert app.chosen == "5-done"
        await pilot.pause()
        assert len(JobLog(busy.root, "5-done").records()) == before
        assert any("5-done is done" in note.message for note in app._notifications)

    drive(busy, keys)


def test_a_job_is_opened_with_its_stages_and_closed(busy: Workspace) -> None:
    async def keys(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        assert isinstance(app.screen, JobScreen)
        await pilot.pause()
        (row,) = cells(app, "#stages")
        assert row[:3] == ["measure", "1,000", "250"]
        journal = Journal.of(busy.root, "1-runs")
        journal.write("stage_started", stage="idle")
        journal.write("stage_done", stage="idle", frames=1000, rows=900, seconds=2.0, data={"reused": 100})
        app.screen.update_view()
        assert cells(app, "#stages")[1][:6] == ["idle", "1,000", "900", "100", "", "2.0"]
        # What is below continues, and the keys are for the job that is open.
        app.update_view()
        await pilot.press("enter", "o", "p")
        assert state(busy, "1-runs") == "pause"
        await pilot.press("escape")
        assert not isinstance(app.screen, JobScreen)

    drive(busy, keys)


def test_the_screen_refuses_requests_without_the_token(busy: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.dispatch import control_token

    monkeypatch.setenv(control_token.VARIABLE, "correct-horse-battery")
    control_token.protect(busy.root)
    monkeypatch.delenv(control_token.VARIABLE)

    async def keys(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        assert state(busy, "1-runs") == "running"
        assert any("asks for a control token" in note.message for note in app._notifications)

    drive(busy, keys)


def test_an_empty_workspace_is_shown_too(tmp_path: Path) -> None:
    async def keys(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("p", "r", "o", "enter", "c")
        assert cells(app) == []

    drive(Workspace.at(tmp_path / "tables").create(), keys)


def test_what_a_job_was_given_what_it_kept_and_how_long_it_took_are_shown(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables").create()
    JobLog(workspace.root, "1-done").add("started", {"process": process_identity()})
    JobLog(workspace.root, "1-done").add("done")
    journal = Journal.of(workspace.root, "1-done")
    inputs = ["/data/a", "/data/b", "/data/c"]
    journal.write("run_started", at_ns=10 * 10**9, frames=1000, data={"profile": "quality", "inputs": inputs})
    journal.write("run_done", at_ns=75 * 10**9, frames=1000, data={"kept": 640})
    JobLog(workspace.root, "2-waits").add("submitted", {"asked": {"inputs": ["/data/gate"]}})

    async def keys(app: Top, pilot: Pilot[None]) -> None:
        waits, done = cells(app)
        assert waits[7:10] == ["", "", "/data/gate"]
        assert done[3] == "1,000"
        assert done[7:10] == ["640", "1 min 05 s", "/data/a, /data/b and 1 more"]

    drive(workspace, keys)
