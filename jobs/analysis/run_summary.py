"""Summary of a finished run for people: what was read and kept, unusual streams, and what needs attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import schemas
from jobs.analysis.stream_verdicts import stream_verdicts
from jobs.core.naming import many
from jobs.records.run_record import RunRecord
from jobs.stages.detection import licence_notice
from jobs.stages.services import service_of, stages_used
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.curation_counts import verdicts
from jobs.views.view import View
from transforms.frames.name_pattern import LAST_NUMBER

_MAX_SIZES = 3
_MAX_CLIPS = 10


def summary_lines(
    record: RunRecord, workspace: Workspace, limit: int | None = None, is_current: bool = True
) -> list[str]:
    """Return what a run read and kept, and what needs attention, a line each.

    `limit` is the most frames that it was to measure. A run that is not the current version, such as a replay that was
    not promoted, is read at its own versions.
    """
    lines = [_read_line(record)]
    if any(schemas.CURATION in stage.spec.tables for stage in record.stages):
        view = View.of(workspace, None if is_current else record.job_id)
        lines += [_verdict_line(record, view), *_missing_evidence(record)]
        lines += stream_verdicts(view, record.streams, record.config)
    left = frames_outcome.left_over if (frames_outcome := record.outcome_of(schemas.FRAMES)) else 0
    if limit is not None and left:
        lines.append(f"{many(left, 'frame')} left for later runs, as --limit {limit} asked")
    streams = Store(workspace.root).read(schemas.STREAMS).to_pylist()
    lines += _stream_lines(record, streams)
    return [*lines, *_quarantine_lines(record)]


def notices(record: RunRecord) -> list[str]:
    """Return licence terms, which are shown with the results that they apply to, and questions that were not sent."""
    lines = [licence_notice(stages_used(record.stages, record.config))]
    for stage in record.stages:
        if found := service_of(stage, record.config):
            service, params = found
            lines.append(service.unasked(record.outcomes[stage.name], params))
    return [line for line in lines if line]


def unreadable_streams(record: RunRecord, workspace: Workspace) -> list[str]:
    """Return the ids of a run's streams that could not be read at all."""
    rows = Store(workspace.root).read(schemas.STREAMS).to_pylist()
    return [row["stream_id"] for row in rows if row["error"] and row["stream_id"] in record.streams]


def stream_remarks(row: Mapping[str, Any], ids: Mapping[tuple[str, str | None], str]) -> list[str]:
    """Return what is unusual about a stream, by its row; `ids` are those of streams with frames, by URI and part."""
    remarks: list[str] = []
    if not row["n_frames"]:
        other = ids.get((row["uri"], row.get("part")))
        where = f"are those of stream {other} now" if other else "are missing"
        remarks.append(f"its frames {where}, its rows were deleted")
    if row.get("naming") and row["naming"] != LAST_NUMBER.text:
        remarks.append(f"names are read as {row['naming']}")
    if other := row.get("naming_now"):
        remarks.append(
            f"its frames keep the numbers that they had, though its names look like {other}; "
            f"--set ingest.name='{other}' reads them so, with other numbers, and measures them once more"
        )
    if n_unclear := row.get("n_unclear_times"):
        remarks.append(
            f"{many(n_unclear, 'local time')} that occur twice or never in {row['timezone']}, since clocks are set "
            "back or forward; they are read as ingest.timezone explains"
        )
    if row["gaps"]:
        # No number is missing between the sequences that a pattern of names distinguishes.
        missing = f"{many(row['n_missing'], 'number')} missing in {many(len(row['gaps']), 'gap')}"
        parts = f"{many(len(row['gaps']) + 1, 'sequence')} that do not continue one another"
        remarks.append(missing if row["n_missing"] else parts)
        if 2 * len(row["gaps"]) > row["n_frames"]:
            remarks.append("most frames follow a gap and have no motion; if they should not, set ingest.step")
    if row["n_repeated"]:
        remarks.append(f"{many(row['n_repeated'], 'file')} skipped: several have one number")
    if row["n_ignored"]:
        remarks.append(f"{many(row['n_ignored'], 'other file')} left alone")
    if len(row["sizes"]) > 1:
        sizes = [f"{s['width']}x{s['height']} ({s['n_frames']:,})" for s in row["sizes"][:_MAX_SIZES]]
        more = len(row["sizes"]) - len(sizes)
        remarks.append(f"images of several sizes: {', '.join(sizes)}{f' and {more} more' if more else ''}")
    return remarks


def _read_line(record: RunRecord) -> str:
    counts = record.counts
    line = "nothing to read: every frame was measured before"
    if counts.get("frames_read"):
        rate = f", {record.frames_per_second:,.0f} frames/s" if record.frames_per_second else ""
        line = f"{_read(counts)}{rate}"
    return f"{line}; {record.seconds_by_now:.1f} s in all, run {record.job_id}"


def _read(counts: Mapping[str, int]) -> str:
    """Say how many frames were read and decoded; those before the edges of blocks are read for both of their blocks."""
    read, decoded = counts["frames_read"], counts["frames_decoded"]
    visited = counts.get("frames_visited", read)
    again = f", {read - visited:,} of them twice" if read > visited else ""
    return f"read {many(min(read, visited), 'frame')}{again}, decoded {min(decoded, visited):,}"


def _verdict_line(record: RunRecord, view: View) -> str:
    found = verdicts(view, record.streams)
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in found.reasons.items()) or "none"
    return f"kept {found.kept:,} of {found.frames:,} frames; dropped, some for several reasons: {dropped}"


def _missing_evidence(record: RunRecord) -> Iterator[str]:
    """Say which stages the verdicts take into account in runs that have them, and this one has not."""
    for stage in record.stages:
        if schemas.CURATION not in stage.spec.tables:
            continue
        there = {above.name for above in stage.upstream}
        missing = [read.stage for read in stage.spec.reads if read.if_there and read.stage not in there]
        if missing:
            added = " ".join(f"--add-stage {name}" for name in missing)
            yield (
                f"judged without the stages {' and '.join(missing)}, which this run does not have: frames that they "
                f"would drop are kept; {added} adds them"
            )


def _stream_lines(record: RunRecord, streams: list[dict[str, Any]]) -> Iterator[str]:
    ids = {(row["uri"], row.get("part")): row["stream_id"] for row in streams if row["n_frames"]}
    own = [row for row in streams if row["stream_id"] in record.streams]
    unread = [row["stream_id"] for row in own if row["error"]]
    if unread:
        more = f" and {len(unread) - _MAX_CLIPS} more" if len(unread) > _MAX_CLIPS else ""
        why = "winnow sql 'SELECT stream_id, error FROM streams WHERE error IS NOT NULL' says why"
        names = ", ".join(unread[:_MAX_CLIPS]) + more
        yield f"skipped {many(len(unread), 'clip')} that cannot be read: {names}; the next run tries again ({why})"
    for row in own:
        if not row["error"] and (remarks := stream_remarks(row, ids)):
            yield f"stream {row['stream_id']}: {'; '.join(remarks)}"


def _quarantine_lines(record: RunRecord) -> Iterator[str]:
    frames = outcome.quarantined if (outcome := record.outcome_of(schemas.FRAMES)) else 0
    missing = [f"{many(frames, 'frame')} could not be read"] if frames else []
    # Motion of a frame needs the frame before it, so that it can be missing for more frames than could not be read.
    missing += [
        f"{stage.name} is missing for {record.outcomes[stage.name].quarantined:,}"
        for stage in record.stages
        if record.outcomes[stage.name].quarantined > frames and not stage.spec.calls
    ]
    if missing:
        yield f"{', '.join(missing)}; the next run tries again (winnow inspect quarantine)"
    for stage in record.stages:
        if found := service_of(stage, record.config):
            service, params = found
            yield from filter(None, [service.unanswered(record.outcomes[stage.name], params)])
