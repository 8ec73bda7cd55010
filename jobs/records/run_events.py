"""Events of a run, reported to a listener in the same process and to the journal."""

from __future__ import annotations

import json
import time
from typing import Any, Protocol

import pyarrow as pa

import schemas
from conf import MODEL_STAGES
from jobs.core.job_states import STOPPED
from jobs.records.journal import Journal
from jobs.records.run_record import RunRecord, StageOutcome

_SEEN_EVERY_NS = 10**9


class ProgressListener(Protocol):
    """Callbacks for the progress of a run; a progress bar, for example.

    `interrupted` says whether the listener wants the run to end; the run polls it, and ends as paused. A
    KeyboardInterrupt does the same less gracefully. It can surface as another error, where it falls between the steps
    of a lock or of a library.
    """

    interrupted: bool

    def on_job_claimed(self, job_id: str) -> None:
        """The run has claimed the job of this id, so that it can be paused from now on."""

    def on_stage_started(self, what: str, total: int | None) -> None:
        """A part of the run has started; `total` frames are to be done, None if that is not known."""

    def on_frames_done(self, frames: int) -> None:
        """So many more frames are done."""


class SilentListener:
    """Ignores all events."""

    interrupted = False

    def on_job_claimed(self, job_id: str) -> None:
        """Do nothing."""

    def on_stage_started(self, what: str, total: int | None) -> None:
        """Do nothing."""

    def on_frames_done(self, frames: int) -> None:
        """Do nothing."""


class RunReporter:
    """Reports the events of one run to its listener and its journal."""

    def __init__(self, listener: ProgressListener, journal: Journal) -> None:
        self._listener = listener
        self._journal = journal
        self._stage: str | None = None
        self._saw_ns = 0

    def started(self, record: RunRecord) -> None:
        """Report that the run has started."""
        data = {
            "profile": record.profile,
            "stages": [s.name for s in record.stages],
            "inputs": list(record.inputs),
        }
        self._journal.write(
            "run_started", at_ns=record.resumed_ns or record.started_ns, frames=record.frames, data=data
        )

    def began(self, what: str, total: int | None) -> None:
        """Report that a part of the run has started; `total` frames are to be done, None if that is not known."""
        self._stage = what
        self._listener.on_stage_started(what, total)
        self._journal.write("stage_started", stage=what, frames=total)

    def measured(self, receipt: dict[str, Any], rows: pa.Table) -> None:
        """Report what a worker did with the rows of a block, by its receipt."""
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
            # In each table of the pass; that of `frames`, or of the model, has one for every frame not quarantined.
            rows=receipt["n_frames"]
            - _n_frames(receipt["faults"], frozenset({schemas.FRAMES.written_by, *MODEL_STAGES})),
            seconds=_seconds(receipt["started_ns"], receipt["finished_ns"]),
            data={"machine": receipt["machine"]} if "machine" in receipt else None,
            **place,
        )
        if seen := receipt.get("seen"):
            self._saw(json.loads(seen), receipt["finished_ns"])
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

    def _saw(self, frames: list[dict[str, Any]], at_ns: int) -> None:
        """Report frames on which objects were found, of one block a second: it is to look at, and nothing is lost."""
        if at_ns - self._saw_ns >= _SEEN_EVERY_NS:
            self._saw_ns = at_ns
            self._journal.write("objects_seen", at_ns=at_ns, stage=self._stage, data={"frames": frames})

    def committed(self, table: str, rows: int, seconds: float) -> None:
        """Report that rows were committed to a table."""
        self._journal.write("committed", stage=table, rows=rows, seconds=round(seconds, 6))

    def stage_done(self, name: str, outcome: StageOutcome) -> None:
        """Report the counts of a stage that is done."""
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
        """Report that a release was made of the run, and how it differs from the last one."""
        self._journal.write("release_made", data=made)

    def ended(self, record: RunRecord) -> None:
        """Report how the run ended."""
        # A job of the queue that was interrupted waits for the next gateway.
        state = "paused" if record.state == "pending" else record.state
        assert state in STOPPED
        ended_ns = record.ended_ns or time.time_ns()
        self._journal.write(
            f"run_{state}",
            at_ns=ended_ns,
            frames=record.frames,
            seconds=_seconds(record.started_ns, ended_ns),
            error=record.error,
            data={"kept": record.counts["kept"]} if "kept" in record.counts else None,
        )


def _n_frames(faults: list[dict[str, Any]], stages: frozenset[str] | None = None) -> int:
    return len({(f["stream_id"], f["frame_idx"]) for f in faults if stages is None or f["stage"] in stages})


def _seconds(start_ns: int, end_ns: int) -> float:
    return round((end_ns - start_ns) / 1e9, 6)
