"""`winnow job watch`: the progress of a job that another process runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.exit import INTERRUPTED
from jobs.cli.options import WorkspaceOption
from jobs.core.naming import many

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jobs.records.progress import Progress
    from jobs.storage.workspace import Workspace


def watch(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the job, or its beginning.")],
    workspace: WorkspaceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines of its journal as they come.")] = False,
) -> None:
    """Follow a job from another terminal until it ends: its stage, its rate, and the time left.

    Exit codes: 0 done, 1 failed, 4 paused, 5 cancelled.

    Example: winnow job watch 20261121
    """
    from jobs.cli.show import out
    from jobs.records.progress import Progress
    from jobs.runs.follow import EXIT_CODES
    from jobs.storage.workspace import Workspace

    progress = Progress()
    try:
        state = _follow(Workspace.at(workspace), job_id, progress, as_json)
    except KeyboardInterrupt:
        # The job continues; only the watching ends.
        raise typer.Exit(INTERRUPTED) from None
    if not as_json:
        reason = f": {progress.error}" if state == "failed" and progress.error else ""
        out.print(f"{state}{reason}", soft_wrap=True, markup=False)
    raise typer.Exit(EXIT_CODES[state])


def _follow(workspace: Workspace, job_id: str, progress: Progress, as_json: bool) -> str:
    """Show the progress of a job until it no longer runs, and return its state."""
    from rich.live import Live

    from jobs.cli.show import out
    from jobs.runs.follow import follow_job

    state = "pending"
    shown = Live(console=out, auto_refresh=False) if out.is_terminal and not as_json else None
    with shown or nullcontext():
        for events, now in follow_job(workspace, job_id):
            state = now
            for event in events:
                progress.take(event)
                if as_json:
                    sys.stdout.write(json.dumps(event) + "\n")
                elif shown is None and (line := event_line(event)):
                    out.print(line, soft_wrap=True, markup=False)
            sys.stdout.flush()
            if shown is not None:
                shown.update(progress_table(progress, state), refresh=True)
    return state


def event_line(event: dict[str, Any]) -> str | None:
    """Return an event as a line for people; None for events that come for every block."""
    line = _LINES.get(event["event"])
    return line(event) if line else None


def _run_started(event: dict[str, Any]) -> str:
    again = f", attempt {event['attempt']}" if event["attempt"] > 1 else ""
    frames = f": {many(event['frames'], 'frame')}" if event.get("frames") is not None else ""
    return f"run {event['job_id']} began{again}{frames}"


def _stage_started(event: dict[str, Any]) -> str | None:
    return f"{event['stage']}: {many(event['frames'], 'frame')} to do" if event.get("frames") else None


def _stage_done(event: dict[str, Any]) -> str:
    reused = (event.get("data") or {}).get("reused")
    counts = "done" if reused is None else f"{event['rows']:,} computed, {reused:,} reused"
    return f"{event['stage']}: {counts}, {event['seconds']:.1f} s"


def _frames_quarantined(event: dict[str, Any]) -> str:
    return f"{many(event['frames'], 'frame')} quarantined: {event['error']}"


def _train_epoch(event: dict[str, Any]) -> str:
    found = event["data"]
    figures = ", ".join(f"{name} {found[name]:.3f}" for name in ("loss", "AP", "AP50") if name in found)
    return f"epoch {found['epoch']}: {figures}"


def _release_made(event: dict[str, Any]) -> str:
    return _release(event["data"])


_LINES: Mapping[str, Callable[[dict[str, Any]], str | None]] = {
    "run_started": _run_started,
    "stage_started": _stage_started,
    "stage_done": _stage_done,
    "frames_set_aside": _frames_quarantined,
    "train_epoch": _train_epoch,
    "release_made": _release_made,
}


def _release(made: dict[str, Any]) -> str:
    """Return what a release holds, and how it differs from the one before it."""
    text = f"release {made['name']}: {many(made['frames'], 'frame')}, {made['kept']:,} kept"
    if made["before"]:
        text += f"; since {made['before']}: {made['added']:,} added, {made['gone']:,} gone"
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in made["dropped_for"].items())
    return f"{text}; dropped, some for several reasons: {dropped}" if dropped else text


def progress_table(progress: Progress, state: str) -> RenderableType:
    """Return the progress of a job as a table, a line for each part of the run."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    from jobs.core.naming import MEASURE
    from jobs.runs.follow import duration

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (f"job is {state}", "frames", "", "frames/s", "left"):
        table.add_column(name, justify="right" if name in {"frames", "frames/s", "left"} else "left")
    for part in progress.stages.values():
        rate, left = part.frames_per_second(), part.eta_s()
        account = progress.accounts.get(part.name, {})
        total = part.total or account.get("frames")
        done = part.done if part.name == MEASURE else account.get("frames", 0)
        bar = ProgressBar(total or 1, done if total else 0, width=30) if total or part.ended_ns is None else ""
        table.add_row(
            part.name,
            f"{done:,}/{total:,}" if total else "",
            bar,
            f"{rate:,.0f}" if rate else "",
            duration(left) if left is not None else "",
        )
    if progress.quarantined:
        table.add_row(f"{many(progress.quarantined, 'frame')} quarantined: {progress.error}")
    return table
