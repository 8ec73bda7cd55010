"""`winnow run`: a run in this process, with a progress bar and a summary."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from jobs.cli.exit import STRICT
from jobs.cli.options import DryRunOption, JsonOption, WorkspaceOption
from jobs.cli.run_parameters import takes_run_options

if TYPE_CHECKING:
    from jobs.core.errors import StoppedRunError
    from jobs.records.run_record import RunRecord
    from jobs.runs.prepare import RunRequest
    from jobs.runs.run_options import RunOptions

_SHOWN_SIZES = 3
_SHOWN_SKIPPED = 10


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
    from jobs.cli.show import err
    from jobs.runs.run_options import build_request
    from jobs.stages.detection import licence_notice
    from jobs.vlm.vlm_stage import skipped, unasked

    request = build_request(workspace, options)
    if dry_run:
        print_forecast(request, as_json)
        return
    record = execute(request, as_json)
    print_record(record, request, as_json)
    # Licence terms are printed with the results that they apply to.
    used = [s for s in record.stages if s.kind != "calls" or not skipped(record.config.escalate)]
    for notice in filter(None, (licence_notice(used), unasked(record))):
        err.print(f"note: {notice}", soft_wrap=True)
    if options.strict and record.shortcoming:
        raise typer.Exit(STRICT)


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
            record = run_job(request, progress, job_id, claimed, release)
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


def _stopped(state: str, job_id: str, printed: bool = False) -> StoppedRunError:
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
    from jobs.cli.show import print_json

    print_json(record.summary() | {"skipped": [row["stream_id"] for row in _rows_of(record, request) if row["error"]]})


def _rows_of(record: RunRecord, request: RunRequest) -> list[dict[str, Any]]:
    """Return the `streams` rows of the streams of a run."""
    import schemas
    from jobs.storage.store import Store

    rows = Store(request.workspace.root).read(schemas.STREAMS).to_pylist()
    return [row for row in rows if row["stream_id"] in record.streams]


def print_forecast(request: RunRequest, as_json: bool) -> None:
    """Print what a run would do, and why."""
    from dataclasses import asdict

    from jobs.cli.show import out, print_json, print_table
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
    import schemas
    from jobs.cli.show import out, print_table
    from jobs.core.naming import many
    from jobs.views.curation_counts import verdicts
    from jobs.views.view import View

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
    counts = record.counts
    rate = f", {record.frames_per_second:,.0f} frames/s" if record.frames_per_second else ""
    if counts.get("frames_read"):
        out.print(f"\nread {many(counts['frames_read'], 'frame')}, decoded {counts['frames_decoded']:,}{rate}", end="")
    else:
        out.print("\nnothing to read: every frame was measured before", end="")
    out.print(f"; {record.seconds:.1f} s in all, run {record.job_id}")
    if schemas.CURATION.written_by in record.outcomes:
        # A replay that was not promoted is not the current version.
        run = record.job_id if request.replay else None
        found = verdicts(View.of(request.workspace, run), record.streams)
        dropped = ", ".join(f"{n:,} {reason}" for reason, n in found.reasons.items()) or "none"
        text = f"kept {found.kept:,} of {found.frames:,} frames; dropped, some for several reasons: {dropped}"
        out.print(text, soft_wrap=True)
    if request.limit is not None:
        frames = record.outcomes["frames"]
        waiting = record.frames - frames.computed - frames.reused - frames.quarantined
        if waiting > 0:
            out.print(f"{many(waiting, 'frame')} left for later runs, as --limit {request.limit} asked")
    _print_remarks(record, request)


def _print_remarks(record: RunRecord, request: RunRequest) -> None:
    """Print what needs attention: unusual streams, quarantined frames and unanswered calls."""
    import schemas
    from jobs.cli.show import out
    from jobs.core.naming import many
    from jobs.storage.store import Store
    from jobs.vlm.vlm_stage import unanswered

    streams = Store(request.workspace.root).read(schemas.STREAMS).to_pylist()
    taken = {row["uri"]: row["stream_id"] for row in streams if row["n_frames"]}
    skipped = [row["stream_id"] for row in streams if row["error"] and row["stream_id"] in record.streams]
    if skipped:
        shown = ", ".join(skipped[:_SHOWN_SKIPPED])
        more = f" and {len(skipped) - _SHOWN_SKIPPED} more" if len(skipped) > _SHOWN_SKIPPED else ""
        why = "winnow sql 'SELECT stream_id, error FROM streams WHERE error IS NOT NULL' says why"
        text = (
            f"skipped {many(len(skipped), 'clip')} that cannot be read: {shown}{more}; the next run tries again ({why})"
        )
        out.print(text, soft_wrap=True, markup=False)
    for row in streams:
        if row["stream_id"] not in record.streams or row["error"]:
            continue
        remarks = remarks_on(row, taken)
        if remarks:
            out.print(f"stream {row['stream_id']}: {'; '.join(remarks)}", soft_wrap=True)
    frames = record.outcomes[schemas.FRAMES.written_by].quarantined if record.outcomes else 0
    said = [f"{many(frames, 'frame')} could not be read"] if frames else []
    # Motion of a frame needs the frame before it, so that it can be missing for more frames than could not be read.
    said += [
        f"{name} is missing for {outcome.quarantined:,}"
        for name, outcome in record.outcomes.items()
        if outcome.quarantined > frames and name != schemas.ESCALATED.written_by
    ]
    if said:
        text = f"{', '.join(said)}; the next run tries again (winnow inspect quarantine)"
        out.print(text, soft_wrap=True)
    if asked := unanswered(record):
        out.print(asked, soft_wrap=True)


def remarks_on(row: Mapping[str, Any], taken: Mapping[str, str]) -> list[str]:
    """Return what is unusual about a stream, by its row; `taken` are the ids of streams that hold frames, by URI."""
    from jobs.core.naming import many

    remarks: list[str] = []
    if not row["n_frames"]:
        where = f"are those of stream {taken[row['uri']]} now" if row["uri"] in taken else "are gone"
        remarks.append(f"its frames {where}, its rows were deleted")
    if row["gaps"]:
        remarks.append(f"{many(row['n_missing'], 'number')} missing in {many(len(row['gaps']), 'gap')}")
        if 2 * len(row["gaps"]) > row["n_frames"]:
            remarks.append("most frames follow a gap and have no motion; if they should not, set ingest.step")
    if row["n_repeated"]:
        if row["kind"] == "video":
            remarks.append(f"{many(row['n_repeated'], 'packet')} left out: several have one timestamp")
        else:
            remarks.append(f"{many(row['n_repeated'], 'file')} skipped: several have one number")
    if row["n_ignored"]:
        remarks.append(f"{many(row['n_ignored'], 'other file')} left alone")
    if len(row["sizes"]) > 1:
        shown = [f"{s['width']}x{s['height']} ({s['n_frames']:,})" for s in row["sizes"][:_SHOWN_SIZES]]
        more = len(row["sizes"]) - len(shown)
        remarks.append(f"pictures of several sizes: {', '.join(shown)}{f' and {more} more' if more else ''}")
    return remarks
