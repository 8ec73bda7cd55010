"""Receipts of the workers of a pass: their rows are committed, their failed frames quarantined, their costs counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

import schemas
from jobs.core.errors import RunFailedError
from jobs.passes.blocks import Block
from jobs.records.job_claim import JobClaim
from jobs.storage.committer import Committer
from jobs.storage.data_files import Part

_DRAIN_S = 3.0
_QUIET_S = 1.0
_FEWEST_ALIKE = 2
_FRAMES = schemas.FRAMES.written_by


@dataclass
class PassResult:
    """What a pixel pass did; `stopped` says that it was asked to end before it was through.

    `computed` counts rows per stage that had to be written, `verified` those that an earlier run had written and that
    were only confirmed, `faults` the frames that failed. The first block of each core belongs to the
    start: it runs while the engine is still starting. Times are ns since 1970: `first_ns` when a worker began the
    first block, `began_ns` when one began the first block after those of the start, `ended_ns` when the last one had
    finished.
    """

    computed: dict[str, int] = field(default_factory=dict)
    verified: dict[str, int] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    n_frames: int = 0
    n_read: int = 0
    n_decoded: int = 0
    bytes_read: int = 0
    n_corrupt: int = 0
    n_commits: int = 0
    n_steady: int = 0
    first_ns: int = 0
    began_ns: int = 0
    ended_ns: int = 0
    first_commit_ns: int = 0
    stopped: bool = False

    @property
    def seconds(self) -> float:
        """Return how long workers measured, the first blocks included; 0 if they had nothing to do."""
        return max(0, self.ended_ns - self.first_ns) / 1e9

    @property
    def frames_per_second(self) -> float:
        """Return the rate of the pass, start-up excluded; 0 if all of it was start-up."""
        return self.n_steady / ((self.ended_ns - self.began_ns) / 1e9) if self.n_steady else 0.0

    def tally(self) -> dict[str, int]:
        """Return what reading cost, for the record."""
        return {
            "frames_visited": self.n_frames,
            "frames_read": self.n_read,
            "frames_decoded": self.n_decoded,
            "bytes_read": self.bytes_read,
            "commits": self.n_commits,
        }

    def count(self, receipt: dict[str, Any], starts: bool) -> None:
        """Take in what one block cost; `starts` if it was the first of its core."""
        self.faults += receipt["faults"]
        for stage, rows in receipt["verified"] or ():
            self.verified[stage] = self.verified.get(stage, 0) + rows
        self.n_frames += receipt["n_frames"]
        self.n_read += receipt["n_read"]
        self.n_decoded += receipt["n_decoded"]
        self.bytes_read += receipt["bytes_read"]
        self.n_corrupt += receipt["n_corrupt"]
        self.first_ns = min(self.first_ns or receipt["started_ns"], receipt["started_ns"])
        self.ended_ns = max(self.ended_ns, receipt["finished_ns"])
        if not starts:
            self.n_steady += receipt["n_frames"]
            self.began_ns = min(self.began_ns or receipt["started_ns"], receipt["started_ns"])


class Intake:
    """Takes in the receipts of one pass, commits their rows, and ends the pass where that is requested.

    `committer` commits; `on_block_done` is called with the receipt of every block and its rows. `claim` is asked
    whether to continue: if not, workers finish the frames in hand, and what has arrived is committed. With `abort`, a
    frame that cannot be computed ends the pass.
    """

    def __init__(
        self,
        committer: Committer,
        on_block_done: Callable[[dict[str, Any], pa.Table], None],
        claim: JobClaim,
        abort: bool = False,
    ) -> None:
        self.result = PassResult()
        self.stop_flag = str(claim.stop_flag)
        self._committer = committer
        self._on_block_done = on_block_done
        self._claim = claim
        self._stop = GracefulStop(claim, abort)

    def is_over(self) -> bool:
        """Return whether no further wave is to be sent out."""
        if self.result.stopped or self._claim.asked():
            self.result.stopped = True
        return self.result.stopped

    def receive(self, blocks: Sequence[Block], arrivals: Generator[pa.Table | None, None, None]) -> set[int]:
        """Take in the receipts of blocks as they arrive; return the numbers of the blocks that came back.

        Raises `RunFailedError` where the workspace does not take the rows, and, with `abort`, for a frame that failed.
        """
        received: set[int] = set()
        # The first commit waits for what the cores begin with, which is a unit, but no longer than any commit does.
        first = sum(block.starts for block in blocks)
        hold_until = 0.0
        try:
            for batch in arrivals:
                for receipt in batch.to_pylist() if batch is not None else ():
                    block = blocks[receipt["block"]]
                    received.add(receipt["block"])
                    self._count(receipt, block)
                    self._on_block_done(receipt, block.rows)
                    self._stop.saw(receipt)
                    self.refuse_faults()
                    first -= block.starts
                    hold_until = hold_until or time.monotonic() + self._committer.every_s
                if self._stop.stands():
                    break
                if self._stop.since or (first and time.monotonic() < hold_until):
                    continue
                if self._committer.maybe_flush() and not self.result.first_commit_ns:
                    self.result.first_commit_ns = time.time_ns()
        except Exception as error:
            # Who signals a whole group of processes has ended the engine as well; there is nothing to wait for then.
            if not self._stop.since or isinstance(error, RunFailedError):
                raise
        finally:
            self.result.stopped = bool(self._stop.since)
            try:
                # However the pass ends, what has arrived is kept.
                self._committer.flush()
            finally:
                arrivals.close()
        return received

    def quarantine(self, faults: Sequence[dict[str, Any]], rows: pa.Table, frames: int) -> None:
        """Record frames for which no worker could give a receipt, and report them as one would have done."""
        self.result.faults += faults
        self.result.n_frames += frames
        now = time.time_ns()
        receipt = {"n_frames": frames, "faults": list(faults), "started_ns": now, "finished_ns": now}
        self._on_block_done(receipt, rows)

    def refuse_faults(self) -> None:
        """Raise `RunFailedError` for the first frame that failed, if none may."""
        self._stop.refuse_faults(self.result)

    def finish(self) -> PassResult:
        """Commit what is left, and return what the pass did."""
        self._committer.flush()
        self.result.n_commits = self._committer.n_commits
        return self.result

    def _count(self, receipt: dict[str, Any], block: Block) -> None:
        result = self.result
        for text in receipt["parts"]:
            part = Part.from_json(text)
            self._committer.add(part, part.table in block.replaces)
            result.computed[part.table] = result.computed.get(part.table, 0) + part.n_rows
        if receipt["error"]:
            raise RunFailedError(receipt["error"])
        # Confirmed, a file has its row written once more, for its new size and mtime; nothing was computed.
        if confirmed := dict(receipt["verified"] or ()).get(_FRAMES):
            result.computed[_FRAMES] = result.computed.get(_FRAMES, 0) - confirmed
        result.count(receipt, block.starts)


class GracefulStop:
    """Ends a pass early: workers finish the frames in hand, and these are waited for, but not for long.

    Tasks that have not begun when the pass is to end come back with nothing. When nothing else has come for a moment,
    nothing was in hand any more. With `abort`, a frame that failed ends the pass at once.
    """

    def __init__(self, claim: JobClaim, abort: bool = False) -> None:
        self._claim = claim
        self._abort = abort
        self._last = 0.0
        self.since = 0.0

    def saw(self, receipt: Mapping[str, Any]) -> None:
        """Note when a worker last delivered rows."""
        if receipt["parts"]:
            self._last = time.monotonic()

    def stands(self) -> bool:
        """Return whether the pass is to end now; start to stop when asked to."""
        now = time.monotonic()
        if not self.since:
            if self._claim.asked():
                self.since = self._last = now
                self._claim.stop_flag.touch()
            return False
        return now - self.since > _DRAIN_S or now - self._last > _QUIET_S

    def refuse_faults(self, result: PassResult) -> None:
        """Raise `RunFailedError` for the first frame that failed, if none may."""
        if self._abort and result.faults:
            fault = result.faults[0]
            raise RunFailedError(
                f"frame {fault['frame_idx']} of stream {fault['stream_id']}: {fault['error_type']}: {fault['error']}; "
                "with --on-error quarantine the run quarantines such frames and continues"
            )


def common_error(faults: Sequence[Mapping[str, Any]], n_frames: int) -> str | None:
    """Return the error that every one of `n_frames` frames raised; None where one did not, or raised another one.

    What is the same for all of at least two frames is not the fault of any of them.
    """
    failed = {(fault["stream_id"], fault["frame_idx"]) for fault in faults}
    if n_frames < _FEWEST_ALIKE or len(failed) < n_frames:
        return None
    texts = {f"{fault['error_type']}: {fault['error']}".replace(fault["uri"], "its file") for fault in faults}
    return texts.pop() if len(texts) == 1 else None


def numbered(blocks: Sequence[Block]) -> list[pa.Table]:
    """Return the rows of blocks, with the block's place among them in each."""
    return [_with_number(block.rows, number) for number, block in enumerate(blocks)]


def _with_number(rows: pa.Table, number: int) -> pa.Table:
    place = rows.schema.get_field_index("block")
    return rows.set_column(place, rows.schema.field(place), pa.repeat(pa.scalar(number, pa.int64()), rows.num_rows))


def died(frame: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Return the fault of a frame that ended its process."""
    return {
        **{n: frame[n] for n in ("stream_id", "frame_idx", "uri")},
        "stage": stage,
        "error_type": "WorkerDied",
        "error": "the process that was given it died, twice, with no other frame",
    }
