"""Tells two listeners how a run goes on: whoever watches it now, and its journal for everybody else."""

from __future__ import annotations

import time
from typing import Any, Protocol

import pyarrow as pa

from conf import MODEL_STAGES
from jobs.core.job_states import STOPPED
from jobs.records.journal import Journal
from jobs.records.run_record import RunRecord, StageOutcome


class ProgressListener(Protocol):
    """Is told how a run goes on; a progress bar, say.

    `interrupted` says whether whoever watches wants the run to end; it looks every now and then, and ends as paused. A
    KeyboardInterrupt does the same less gently. It can come out as another error, where it falls between the steps of a
    lock or of a library.
    """

    interrupted: bool

    def on_job_claimed(self, job_id: str) -> None:
        """Take note that the run is on record as this job, so that it can be paused from now on."""

    def on_stage_started(self, what: str, total: int | None) -> None:
        """Take note that a part of the run began, which has so many frames to do."""

    def on_frames_done(self, frames: int) -> None:
        """Take note that so many more frames are done."""


class SilentListener:
    """Watches nothing."""

    interrupted = False

    def on_job_claimed(self, job_id: str) -> None:
        """Do nothing."""

    def on_stage_started(self, what: str, total: int | None) -> None:
        """Do nothing."""

    def on_frames_done(self, frames: int) -> None:
        """Do nothing."""


class RunReporter:
    """Passes on what happens in a run."""

    def __init__(self, listener: ProgressListener, journal: Journal) -> None:
        self._listener = listener
        self._journal = journal
        self._stage: str | None = None

    def started(self, record: RunRecord) -> None:
        """Tell that the run began."""
        data = {"profile": record.profile, "stages": [s.name for s in record.stages]}
        self._journal.write(
            "run_started", at_ns=record.resumed_ns or record.started_ns, frames=record.frames, data=data
        )

    def began(self, what: str, total: int | None) -> None:
        """Tell that a part of the run began, which has so many frames to do."""
        self._stage = what
        self._listener.on_stage_started(what, total)
        self._journal.write("stage_started", stage=what, frames=total)

    def measured(self, receipt: dict[str, Any], rows: pa.Table) -> None:
        """Tell what a worker did with the rows of a block."""
        self._listener.on_frames_done(receipt["n_frames"])
        last = rows.num_rows - 1
        place = {
            "stream_id": rows["stream_id"][0].as_py(),
            "first_idx": rows["frame_idx"][0].as_py(),
            "last_stream_id": rows["stream_id"][last].as_py(),
            "last_idx": rows["frame_idx"][last].as_py(),
        }
        self._journal.write(
            "block_done",
            at_ns=receipt["finished_ns"],
            stage=self._stage,
            frames=receipt["n_frames"],
            # In each table of the pass; that of `frames`, or of the model, has one for every frame not set aside.
            rows=receipt["n_frames"] - _n_frames(receipt["faults"], frozenset({"frames", *MODEL_STAGES})),
            seconds=_seconds(receipt["started_ns"], receipt["finished_ns"]),
            data={"machine": receipt["machine"]} if "machine" in receipt else None,
            **place,
        )
        if receipt["faults"]:
            first = receipt["faults"][0]
            frames = _n_frames(receipt["faults"])
            self._journal.write(
                "frames_set_aside",
                stage=self._stage,
                frames=frames,
                error=f"{first['error_type']}: {first['error']}",
                **place,
            )

    def committed(self, table: str, rows: int, seconds: float) -> None:
        """Tell that rows are in a table now."""
        self._journal.write("committed", stage=table, rows=rows, seconds=round(seconds, 6))

    def stage_done(self, name: str, outcome: StageOutcome) -> None:
        """Tell what came of a stage."""
        counts = {n: getattr(outcome, n) for n in ("reused", "corrupt", "quarantined", "removed")}
        self._journal.write(
            "stage_done",
            stage=name,
            frames=outcome.frames_in,
            rows=outcome.computed,
            seconds=round(outcome.seconds, 6),
            data=counts,
        )

    def released(self, made: dict[str, Any]) -> None:
        """Tell that a release was made of what the run ended with, and how it differs from the last one."""
        self._journal.write("release_made", data=made)

    def ended(self, record: RunRecord) -> None:
        """Tell how the run ended."""
        # A job of the queue that was interrupted waits for the next gateway.
        state = "paused" if record.state == "pending" else record.state
        assert state in STOPPED
        ended_ns = record.ended_ns or time.time_ns()
        seconds = _seconds(record.started_ns, ended_ns)
        self._journal.write(f"run_{state}", at_ns=ended_ns, frames=record.frames, seconds=seconds, error=record.error)


def _n_frames(faults: list[dict[str, Any]], stages: frozenset[str] | None = None) -> int:
    return len({(f["stream_id"], f["frame_idx"]) for f in faults if stages is None or f["stage"] in stages})


def _seconds(start_ns: int, end_ns: int) -> float:
    return round((end_ns - start_ns) / 1e9, 6)
