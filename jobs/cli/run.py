"""`winnow run`: a run in this process, with a progress bar and a summary."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from jobs.cli.exit import STRICT
from jobs.cli.options import DryRunOption, JsonOption, WorkspaceOption
from jobs.cli.run_parameters import takes_run_options

if TYPE_CHECKING:
    from jobs.core.errors import StoppedRunError
    from jobs.core.job_states import JobStateName
    from jobs.records.run_record import RunRecord
    from jobs.runs.prepare import RunRequest
    from jobs.runs.run_options import RunOptions


@takes_run_options()
def run(
    options: RunOptions,
    workspace: WorkspaceOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure frames, find idle intervals and duplicates, and decide which frames to keep.

    A second run with the same inputs and settings computes nothing; a killed one continues where it stopped. Ctrl-C
    pauses it.

    Example: winnow run --input /data/cam1 --set duplicates.hamming=4
    """
    from jobs.analysis.run_summary import notices
    from jobs.cli.show import err
    from jobs.runs.run_options import build_request

    request = build_request(workspace, options)
    if unread := request.loaded.unread():
        err.print(f"note: no stage of this run reads {', '.join(unread)}", soft_wrap=True, markup=False)
    print_destinations(request)
    if dry_run:
        print_forecast(request, as_json)
        return
    record = execute(request, as_json)
    print_record(record, request, as_json)
    for notice in notices(record):
        err.print(f"note: {notice}", soft_wrap=True)
    if options.strict and record.shortcoming:
        raise typer.Exit(STRICT)


def print_destinations(request: RunRequest) -> None:
    """Print where frames and keys would go, before anything is sent."""
    from jobs.cli.show import err
    from jobs.stages.services import destinations

    for line in destinations(request.loaded.config):
        err.print(f"note: {line}", soft_wrap=True, markup=False)


def execute(
    request: RunRequest,
    quiet: bool = False,
    job_id: str | None = None,
    claimed: bool = False,
    release: Callable[[RunRecord], dict[str, Any]] | None = None,
) -> RunRecord:
    """Run with a progress bar.

    An interrupt, or a request to terminate, pauses the run once the frames in progress are committed; a second
    interrupt ends the program at once. Raises `StoppedRunError` for a run that was paused or cancelled.
    """
    from jobs.cli.show import TerminalProgress, err
    from jobs.core.errors import InterruptedRunError
    from jobs.core.processes import command_start_ns
    from jobs.runs.run import run as run_job

    progress = TerminalProgress(quiet)

    def interrupt(number: int, _: FrameType | None) -> None:
        if not progress.interrupted:
            progress.interrupted = True
            if progress.job_id is None:
                # There is no job yet that could be paused.
                raise KeyboardInterrupt
            if number == signal.SIGINT and err.is_terminal:
                err.print("finishing the frames in progress; press Ctrl-C again to stop at once")
        # A second Ctrl-C means at once; a second signal (timeout and systemd send one) means the same as the first.
        elif number == signal.SIGINT:
            os._exit(InterruptedRunError.exit_code)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with progress:
            record = run_job(request, progress, job_id, claimed, release, command_start_ns())
    except BaseException as error:
        # Raised between two steps of a lock, an interrupt can surface as an error of the lock.
        if progress.interrupted:
            if progress.job_id is None:
                raise InterruptedRunError("interrupted before anything was done") from error
            raise _stopped("paused", progress.job_id) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if record.state != "done":
        if quiet:
            _print_json(record, request)
        raise _stopped(record.state, record.job_id, printed=quiet)
    return record


def _stopped(state: JobStateName, job_id: str, printed: bool = False) -> StoppedRunError:
    from jobs.core.errors import StoppedRunError

    if state == "cancelled":
        return StoppedRunError(state, f"run {job_id} is cancelled; what was committed stays", printed)
    how = "waits for the next gateway" if state == "pending" else f"continues with `winnow job resume {job_id}`"
    return StoppedRunError(state, f"run {job_id} is {state}; what was committed stays, and it {how}", printed)


def print_record(record: RunRecord, request: RunRequest, as_json: bool) -> None:
    """Print the result of a run, for programs or for people."""
    if as_json:
        _print_json(record, request)
    else:
        print_summary(record, request)


def _print_json(record: RunRecord, request: RunRequest) -> None:
    from jobs.analysis.run_summary import unreadable_streams
    from jobs.cli.json_output import print_json

    print_json(record.summary() | {"skipped": unreadable_streams(record, request.workspace)})


def print_forecast(request: RunRequest, as_json: bool) -> None:
    """Print what a run would do, and why."""
    from dataclasses import asdict

    from jobs.cli.json_output import print_json
    from jobs.cli.show import out, print_table
    from jobs.runs.dry_run import forecast
    from jobs.runs.prepare import prepare

    prepared = prepare(request)
    stages = forecast(prepared)
    if as_json:
        print_json({"dry_run": True, "frames": prepared.n_frames, "stages": {s.stage: asdict(s) for s in stages}})
        return
    rows = [
        (
            s.stage,
            s.compute,
            s.verify,
            s.frames - s.compute - s.verify,
            "; ".join(f"{n:,} {r}" for r, n in s.reasons.items()),
        )
        for s in stages
    ]
    print_table(("stage", "compute", "verify", "done", "why"), rows)
    for s in stages:
        if s.rule:
            many = f"{s.chosen:,} of {s.of:,} frames by now"
            if s.depends_on:
                many += f"; how many it will be depends on {', '.join(s.depends_on)}, not computed yet"
            out.print(f"{s.stage}: where {s.rule}: {many}", soft_wrap=True, markup=False)
    if request.limit is not None:
        out.print(f"Of frames that were never measured, at most {request.limit:,} would be now, as --limit asks.")
    if not any(s.compute or s.verify or s.remove for s in stages):
        out.print("Nothing to do: everything is up to date.")


def print_summary(record: RunRecord, request: RunRequest) -> None:
    """Print what a run did, its result, and what to do next."""
    from jobs.analysis.run_summary import summary_lines
    from jobs.cli.next_steps import print_next_steps
    from jobs.cli.show import out, print_table
    from jobs.datasets.release import free_name
    from jobs.storage.store import Store

    columns = ["stage", "computed", "reused", "corrupt", "quarantined", "seconds"]
    rows = [
        [name, o.computed, o.reused, o.corrupt, o.quarantined, round(o.seconds, 2)]
        for name, o in record.outcomes.items()
    ]
    if any(o.verified for o in record.outcomes.values()):
        columns.insert(3, "verified")
        for row, outcome in zip(rows, record.outcomes.values(), strict=True):
            row.insert(3, outcome.verified)
    print_table(columns, rows)
    out.print()
    for line in summary_lines(record, request.workspace, request.limit, is_current=not request.replay):
        out.print(line, soft_wrap=True, markup=False)
    root = request.workspace.root
    print_next_steps(root, ("report", "--out", "report.html"), ("release create", free_name(Store(root))))
