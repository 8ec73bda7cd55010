"""`winnow run`."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from jobs.run import RunRequest
    from jobs.runs import RunRecord

_STRICT_EXIT = 3
_SHOWN_SIZES = 3


def run(
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input", "-i", help="A folder of frames, a clip, or a folder of such. Repeat for several.", metavar="PATH"
        ),
    ],
    workspace: WorkspaceOption = None,
    profile: Annotated[
        str | None, typer.Option(help="Built-in configuration to start from.", show_default="quality")
    ] = None,
    config: Annotated[str | None, typer.Option(help="YAML file or FILE.py:attribute on top of the profile.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One value on top of all, as in duplicates.hamming=8. Repeat.", metavar="KEY=VALUE"),
    ] = None,
    stream_ids: Annotated[
        list[str] | None,
        typer.Option(
            "--stream-id", help="Id for the input; once for each --input.", metavar="ID", show_default="its name"
        ),
    ] = None,
    rebind: Annotated[
        bool, typer.Option("--rebind", help="Let a stream id stand for another place than before.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on although over 10 % of a stream's frames are gone.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=0, help="Measure at most so many more frames.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be computed and why; do nothing.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if any frame is corrupt or was set aside.")
    ] = False,
    ray_address: Annotated[
        str | None, typer.Option(help="Run on this Ray cluster.", metavar="ADDR", show_default="$RAY_ADDRESS")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure frames, find idle stretches and duplicates, and decide what to keep.

    A second run of the same thing computes nothing; a killed one is taken up where it stopped.

    Example: winnow run --input /data/cam1 --set duplicates.hamming=4
    """
    from conf import ConfigError, load
    from jobs.catalogue import Admission
    from jobs.cli.show import err
    from jobs.detectors import licence_notice
    from jobs.errors import UserError
    from jobs.run import RunRequest
    from jobs.workspace import Workspace

    problems: list[str] = []
    loaded = place = None
    try:
        loaded = load(profile, config, settings or ())
    except ConfigError as error:
        problems += error.problems
    try:
        place = Workspace.at(workspace)
    except UserError as error:
        problems += error.problems
    if loaded is None or place is None:
        raise UserError(problems)
    admission = Admission(stream_ids or (), rebind, allow_missing)
    request = RunRequest(place, inputs, loaded, admission, limit, ray_address)
    if dry_run:
        _forecast(request, as_json)
        return
    record = execute(request, as_json)
    if notice := licence_notice(record.stages):
        err.print(f"note: {notice}", soft_wrap=True)
    if as_json:
        _print_json(record)
    else:
        print_summary(record, request)
    if strict and any(o.corrupt or o.quarantined for o in record.outcomes.values()):
        raise typer.Exit(_STRICT_EXIT)


def execute(request: RunRequest, quiet: bool = False) -> RunRecord:
    """Run with a progress bar. An interrupt, or a request to terminate, ends it; a second interrupt does so at once."""
    from jobs.cli.show import Bar
    from jobs.errors import InterruptedRunError
    from jobs.run import run as run_job

    watcher = Bar(quiet)

    def interrupt(number: int, _: FrameType | None) -> None:
        if not watcher.interrupted:
            watcher.interrupted = True
            raise KeyboardInterrupt
        # Who presses the keys twice will not wait; who signals twice (timeout and systemd do) means it once.
        if number == signal.SIGINT:
            os._exit(InterruptedRunError.exit_code)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with watcher:
            return run_job(request, watcher)
    except BaseException as error:
        # Raised between two steps of a lock, an interrupt can come out as the lock's own complaint.
        if watcher.interrupted:
            text = "interrupted; what was committed stays, and the same command goes on from there"
            raise InterruptedRunError(text) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_json(record: RunRecord) -> None:
    from jobs.cli.show import print_json
    from jobs.run import summary

    print_json(summary(record))


def _forecast(request: RunRequest, as_json: bool) -> None:
    from dataclasses import asdict

    from jobs.cli.show import out, print_json, print_table
    from jobs.explain import forecast
    from jobs.run import prepare

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
    if not any(s.compute or s.verify or s.remove for s in stages):
        out.print("Nothing to do: everything is up to date.")


def print_summary(record: RunRecord, request: RunRequest) -> None:
    """Print what a run did, what came of it, and what to do next."""
    from jobs.cli.show import out, print_table
    from jobs.query import View
    from jobs.verdicts import verdicts

    rows = [
        (name, o.computed, o.reused, o.corrupt, o.quarantined, round(o.seconds, 2))
        for name, o in record.outcomes.items()
    ]
    print_table(("stage", "computed", "reused", "corrupt", "quarantined", "seconds"), rows)
    counts = record.counts
    seconds = ((record.ended_ns or 0) - record.started_ns) / 1e9
    rate = f", {record.frames_per_second:,.0f} frames/s" if record.frames_per_second else ""
    if counts.get("frames_read"):
        out.print(f"\nread {counts['frames_read']:,} frames, decoded {counts['frames_decoded']:,}{rate}", end="")
    else:
        out.print("\nnothing to read: every frame was measured before", end="")
    out.print(f"; {seconds:.1f} s in all, run {record.job_id}")
    if "curation" in record.outcomes:
        found = verdicts(View.of(request.workspace), record.streams)
        dropped = ", ".join(f"{n:,} {reason}" for reason, n in found.reasons.items()) or "none"
        text = f"kept {found.kept:,} of {found.frames:,} frames; dropped, some for several reasons: {dropped}"
        out.print(text, soft_wrap=True)
    _print_remarks(record, request)


def _print_remarks(record: RunRecord, request: RunRequest) -> None:
    """Point at what a person should look at: unusual streams and frames set aside."""
    import schemas
    from jobs.cli.show import out
    from jobs.store import Store

    streams = Store(request.workspace.root).read(schemas.STREAMS).to_pylist()
    for row in streams:
        if row["stream_id"] not in record.streams:
            continue
        remarks = []
        if row["gaps"]:
            remarks.append(f"{row['n_missing']:,} numbers missing in {len(row['gaps'])} gaps")
        if row["n_repeated"]:
            remarks.append(f"{row['n_repeated']} files skipped that share a number")
        if row["n_ignored"]:
            remarks.append(f"{row['n_ignored']} files that are no frames left alone")
        if len(row["sizes"]) > 1:
            shown = [f"{s['width']}x{s['height']} ({s['n_frames']:,})" for s in row["sizes"][:_SHOWN_SIZES]]
            more = len(row["sizes"]) - len(shown)
            remarks.append(f"pictures of several sizes: {', '.join(shown)}{f' and {more} more' if more else ''}")
        if remarks:
            out.print(f"stream {row['stream_id']}: {'; '.join(remarks)}", soft_wrap=True)
    quarantined = max((o.quarantined for o in record.outcomes.values()), default=0)
    if quarantined:
        out.print(
            f"{quarantined:,} frames could not be read; the next run tries again (winnow inspect quarantine)",
            soft_wrap=True,
        )
