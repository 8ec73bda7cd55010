"""Runs the pixel pass: plan to blocks, blocks to workers, receipts to commits, and no block lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from conf import PipelineConfig
from conf.stages import STAGES
from jobs.core.errors import RunFailedError
from jobs.core.stage import Stage
from jobs.engine.local_pool import MAX_LOCAL_FRAMES, LocalPool, Transform, WorkerStartError
from jobs.engine.ray_engine import Engine
from jobs.passes.blocks import Block, cut, halves, waves
from jobs.passes.intake import Intake, PassResult, died, numbered
from jobs.passes.pixel_worker import measure_rows, persist_rows
from jobs.storage.paths import Place
from transforms.frames.pixel_block import PAIRS_ONLY
from transforms.metrics.measure import PixelParams, n_frames

_OF_PAIRS = frozenset(spec.name for spec in STAGES if spec.of_pairs)


def run_pass(
    todo: Iterator[pa.Table],
    stages: Sequence[Stage],
    config: PipelineConfig,
    params: PixelParams,
    root: Place,
    engine: Callable[[], Engine],
    local_pool: LocalPool | None,
    intake: Intake,
    recomputed: frozenset[str] = frozenset(),
) -> PassResult:
    """Measure the frames of `todo`, tables of schema `block_schema`, wave by wave.

    `engine` is only called if there is something to measure that `local_pool` does not do: the first unit, and all of a
    small pass. Rows of `recomputed` stages replace those that are there. Raises `RunFailedError` for a frame that ends
    the pass, and where the workspace does not take the results; what was committed stays.
    """
    result = intake.result
    keys = {s.name: s.key for s in stages if s.kind == "pixels"}
    transforms: list[Transform] = [
        (measure_rows, {"params": params, "root": str(root), "stop_flag": intake.stop_flag}),
        (persist_rows, {"root": str(root), "stage_keys": keys}),
    ]
    for wave in waves(todo, engine):
        if intake.is_over():
            break
        is_first = not result.n_frames
        size = local_pool.size if local_pool and is_first else engine().num_cpus
        blocks = [b._replace(replaces=b.replaces | recomputed) for b in cut(wave, config, size, first=is_first)]
        if local_pool and is_first:
            here = len(blocks) if wave.num_rows <= MAX_LOCAL_FRAMES else size
            try:
                received = intake.receive(blocks[:here], local_pool.map_blocks(numbered(blocks[:here]), transforms))
            except WorkerStartError as error:
                raise RunFailedError(f"no process that measures frames could be started: {error}") from error
            local_pool.close()
            left = [block for number, block in enumerate(blocks) if number not in received]
            # The cores of the engine have a beginning of their own.
            blocks = [block._replace(starts=number < size) for number, block in enumerate(left)]
        while blocks and not result.stopped:
            machines = engine().machines()
            received = intake.receive(blocks, engine().map_blocks(numbered(blocks), transforms))
            if not received and not result.n_frames and not result.stopped:
                engine().require_workers()
            if not result.stopped:
                blocks = [block for number, block in enumerate(blocks) if number not in received]
                # What was lost with a machine is no fault of the frames.
                if not blocks or machines <= engine().machines():
                    blocks = _halved(blocks, keys, intake)
                intake.refuse_faults()
    return intake.finish()


def limited(todo: Iterator[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    """Yield rows until `limit` frames that are wanted were among them; all for None."""
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


def _halved(lost: Sequence[Block], stage_keys: Mapping[str, str], intake: Intake) -> list[Block]:
    """Halve the blocks whose worker died, until the one frame that ends it stands alone and is quarantined."""
    found: list[Block] = []
    for block in lost:
        if len(parts := halves(block)) > 1:
            found += parts
            continue
        frame = next(row for row in block.rows.to_pylist() if row["wanted"])
        stages = _OF_PAIRS if frame["share"] == PAIRS_ONLY else frozenset(stage_keys)
        faults = [died(frame, stage) for stage in stage_keys if stage in stages]
        intake.quarantine(faults, block.rows, n_frames(block.rows))
    return found
