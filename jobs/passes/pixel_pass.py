"""Runs the pixel pass: plan to blocks, blocks to workers, receipts to commits, and no block lost on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from conf import PipelineConfig
from jobs.core.errors import RunFailedError
from jobs.core.stage import Stage
from jobs.engine.local_pool import MAX_LOCAL_FRAMES, LocalPool, Transform
from jobs.engine.ray_engine import Engine
from jobs.passes.blocks import Block, cut, halves, waves
from jobs.passes.pixel_worker import measure_rows, persist_rows
from jobs.records.job_claim import Hold
from jobs.storage.committer import Committer
from jobs.storage.data_files import Part
from jobs.storage.paths import Place
from transforms.frames.pixel_block import MOTION_ONLY, TABLES, VERIFIED
from transforms.metrics.measure import PixelParams, n_frames

_DRAIN_S = 3.0
_QUIET_S = 1.0


@dataclass
class PassResult:
    """What a pixel pass did; `stopped` says that it was asked to end before it was through.

    `computed` counts rows per stage that had to be written, `verified` those that an earlier run had written and that
    were only confirmed, `faults` the frames set aside. The first block of each core belongs to the
    start: it runs while the engine is still getting up. Times are ns since 1970: `first_ns` when a worker began the
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
        for stage, name in VERIFIED.items():
            self.verified[stage] = self.verified.get(stage, 0) + (receipt[name] or 0)
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


def run_pass(
    todo: Iterator[pa.Table],
    stages: Sequence[Stage],
    config: PipelineConfig,
    params: PixelParams,
    engine: Callable[[], Engine],
    local_pool: LocalPool | None,
    committer: Committer,
    root: Place,
    limit: int | None = None,
    told: Callable[[dict[str, Any], pa.Table], None] = lambda receipt, rows: None,
    *,
    hold: Hold,
    abort: bool = False,
    again: frozenset[str] = frozenset(),
) -> PassResult:
    """Measure the frames of `todo`, tables of schema `BLOCK`, wave by wave.

    `engine` is only called if there is something to measure that `local_pool` does not do: the first unit, and all of a
    small pass. `limit` is the most frames to measure; `told` is called
    with the receipt of every block and its rows. `hold` is asked whether to go on: if not, workers finish the frames in
    hand, and what has arrived is committed. With `abort`, a frame that cannot be computed ends the pass. Rows of the
    stages in `again` replace those that are there. Raises `RunFailedError` for a frame that ends the pass, and where
    the workspace does not take the results; what was committed stays.
    """
    result = PassResult()
    brake = Brake(hold, abort)
    keys = {s.name: s.key for s in stages if s.name in TABLES}
    transforms: list[Transform] = [
        (measure_rows, {"params": params, "root": str(root), "drain": str(hold.drain)}),
        (persist_rows, {"root": str(root), "stage_keys": keys}),
    ]
    for wave in waves(_limited(todo, limit), engine):
        if result.stopped or hold.asked():
            result.stopped = True
            break
        is_first = not result.n_frames
        size = local_pool.size if local_pool and is_first else engine().num_cpus
        blocks = [b._replace(replaces=b.replaces | again) for b in cut(wave, config, size, first=is_first)]
        if local_pool and is_first:
            here = len(blocks) if wave.num_rows <= MAX_LOCAL_FRAMES else size
            arrivals = local_pool.map_blocks(numbered(blocks[:here]), transforms)
            received = send(blocks[:here], arrivals, committer, result, told, brake)
            local_pool.close()
            left = [block for number, block in enumerate(blocks) if number not in received]
            # The cores of the engine have a beginning of their own.
            blocks = [block._replace(starts=number < size) for number, block in enumerate(left)]
        while blocks and not result.stopped:
            machines = engine().machines()
            arrivals = engine().map_blocks(numbered(blocks), transforms)
            received = send(blocks, arrivals, committer, result, told, brake)
            if not result.stopped:
                blocks = [block for number, block in enumerate(blocks) if number not in received]
                # What was lost with a machine is no fault of the frames.
                if not blocks or machines <= engine().machines():
                    blocks = _again(blocks, keys, result, told)
                brake.refuse_faults(result)
    committer.flush()
    result.n_commits = committer.n_commits
    return result


def _limited(todo: Iterator[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    """Yield rows until `limit` frames that are wanted were among them."""
    for rows in todo:
        if limit is None:
            yield rows
            continue
        if limit <= 0:
            return
        wanted = np.cumsum(rows["wanted"].to_numpy())
        # Up to the frame that fills the limit, so that no predecessor is left without the frame that needs it.
        last = min(int(np.searchsorted(wanted, limit)) + 1, len(wanted))
        yield rows.slice(0, last)
        limit -= int(wanted[last - 1])


def send(
    blocks: Sequence[Block],
    arrivals: Generator[pa.Table | None, None, None],
    committer: Committer,
    result: PassResult,
    told: Callable[[dict[str, Any], pa.Table], None],
    brake: Brake,
) -> set[int]:
    """Take in the receipts of blocks as they arrive; return the numbers of the blocks that came back."""
    received: set[int] = set()
    # The first commit waits for what the cores begin with, which is a unit, but no longer than any commit does.
    first = sum(block.starts for block in blocks)
    hold_until = 0.0
    try:
        for batch in arrivals:
            for receipt in batch.to_pylist() if batch is not None else ():
                received.add(receipt["block"])
                _take_in(receipt, blocks[receipt["block"]], committer, result)
                told(receipt, blocks[receipt["block"]].rows)
                brake.saw(receipt)
                brake.refuse_faults(result)
                first -= blocks[receipt["block"]].starts
                hold_until = hold_until or time.monotonic() + committer.every_s
            if brake.stands():
                break
            if brake.since or (first and time.monotonic() < hold_until):
                continue
            if committer.maybe_flush() and not result.first_commit_ns:
                result.first_commit_ns = time.time_ns()
    except Exception as error:
        # Whoever signals a whole group of processes has ended the engine as well; there is nothing to wait for then.
        if not brake.since or isinstance(error, RunFailedError):
            raise
    finally:
        result.stopped = bool(brake.since)
        try:
            # Whatever ends the pass, what has arrived is kept.
            committer.flush()
        finally:
            arrivals.close()
    return received


class Brake:
    """Ends a pass before its time: workers finish what they have in hand, and that is waited for, not for long.

    Tasks that have not begun when the pass is to end come back with nothing. When nothing else has come for a moment,
    nothing was in hand any more. With `abort`, a frame that was set aside ends the pass at once.
    """

    def __init__(self, hold: Hold, abort: bool = False) -> None:
        self._hold = hold
        self._abort = abort
        self._last = 0.0
        self.since = 0.0

    def saw(self, receipt: Mapping[str, Any]) -> None:
        """Take note of what a worker did."""
        if receipt["parts"]:
            self._last = time.monotonic()

    def stands(self) -> bool:
        """Say whether the pass is to end now; begin to brake when asked to."""
        now = time.monotonic()
        if not self.since:
            if self._hold.asked():
                self.since = self._last = now
                self._hold.drain.touch()
            return False
        return now - self.since > _DRAIN_S or now - self._last > _QUIET_S

    def refuse_faults(self, result: PassResult) -> None:
        """Raise `RunFailedError` for the first frame that was set aside, if none may be."""
        if self._abort and result.faults:
            fault = result.faults[0]
            raise RunFailedError(
                f"frame {fault['frame_idx']} of stream {fault['stream_id']}: {fault['error_type']}: {fault['error']}; "
                "with --on-error quarantine the run sets such frames aside and goes on"
            )


def numbered(blocks: Sequence[Block]) -> list[pa.Table]:
    """Return the rows of blocks, with the block's place among them in each."""
    return [_with_number(block.rows, number) for number, block in enumerate(blocks)]


def _with_number(rows: pa.Table, number: int) -> pa.Table:
    place = rows.schema.get_field_index("block")
    return rows.set_column(place, rows.schema.field(place), pa.repeat(pa.scalar(number, pa.int64()), rows.num_rows))


def _take_in(receipt: dict[str, Any], block: Block, committer: Committer, result: PassResult) -> None:
    for text in receipt["parts"]:
        part = Part.from_json(text)
        committer.add(part, part.table in block.replaces)
        result.computed[part.table] = result.computed.get(part.table, 0) + part.n_rows
    if receipt["error"]:
        raise RunFailedError(receipt["error"])
    # Confirmed, a file has its row written once more, for its new size and mtime; nothing was computed.
    if confirmed := receipt[VERIFIED["frames"]]:
        result.computed["frames"] = result.computed.get("frames", 0) - confirmed
    result.count(receipt, block.starts)


def _again(
    lost: Sequence[Block],
    stage_keys: Mapping[str, str],
    result: PassResult,
    told: Callable[[dict[str, Any], pa.Table], None],
) -> list[Block]:
    """Halve the blocks whose worker died, until the one frame that kills it stands alone and is set aside."""
    halved: list[Block] = []
    for block in lost:
        if len(parts := halves(block)) > 1:
            halved += parts
            continue
        frame = next(row for row in block.rows.to_pylist() if row["wanted"])
        stages = {"motion"} if frame["share"] == MOTION_ONLY else set(stage_keys)
        faults = [died(frame, stage) for stage in stage_keys if stage in stages]
        set_aside(faults, block.rows, n_frames(block.rows), result, told)
    return halved


def set_aside(
    faults: Sequence[dict[str, Any]],
    rows: pa.Table,
    frames: int,
    result: PassResult,
    told: Callable[[dict[str, Any], pa.Table], None],
) -> None:
    """Take note of frames for which no worker could give a receipt, and tell of them as one would have been."""
    result.faults += faults
    result.n_frames += frames
    now = time.time_ns()
    told({"n_frames": frames, "faults": list(faults), "started_ns": now, "finished_ns": now}, rows)


def died(frame: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Return the fault of a frame that ended the process which looked at it."""
    return {
        **{n: frame[n] for n in ("stream_id", "frame_idx", "uri")},
        "stage": stage,
        "error_type": "WorkerDied",
        "error": "the process that looked at it died, twice, with no other frame",
    }
