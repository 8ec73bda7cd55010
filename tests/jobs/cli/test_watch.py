from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from jobs.cli.watch import event_line, progress_table
from jobs.records.progress import Progress


def shown(progress: Progress, state: str) -> list[str]:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(progress_table(progress, state))
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_watch_shows_done_current_and_remaining_work() -> None:
    now = time.time_ns()
    progress = Progress()
    events: list[dict[str, Any]] = [
        {"event": "run_started", "at_ns": now - 10**10, "attempt": 1, "frames": 3000},
        {"event": "stage_started", "at_ns": now - 10**10, "stage": "measure", "frames": 3000},
        {"event": "block_done", "at_ns": now, "frames": 1000},
        {"event": "frames_set_aside", "at_ns": now, "frames": 2, "error": "OSError: [Errno 5]"},
    ]
    for event in events:
        progress.take(event)
    head, measure, line = shown(progress, "running")
    assert head == "job is running frames frames/s left"
    assert measure.startswith("measure 1,000/3,000 ")
    assert measure.endswith((" 100 20 s", " 99 20 s"))
    assert line == "2 frames quarantined: OSError: [Errno 5]"
    progress.take({"event": "stage_started", "at_ns": now, "stage": "idle"})
    progress.take({"event": "stage_done", "at_ns": now, "stage": "idle", "frames": 3000, "rows": 3000, "seconds": 1.0})
    progress.take({"event": "run_done", "at_ns": now, "frames": 3000})
    lines = shown(progress, "done")
    assert lines[0].startswith("job is done")
    assert lines[2].startswith("idle 3,000/3,000")


def test_frequent_events_are_not_printed_line_by_line() -> None:
    assert event_line({"event": "block_done", "frames": 3}) is None
    assert event_line({"event": "committed", "rows": 3}) is None
    assert event_line({"event": "a_word_of_a_later_version"}) is None
    again = {"event": "run_started", "job_id": "j", "attempt": 2, "frames": 1000}
    assert event_line(again) == "run j began, attempt 2: 1,000 frames"
