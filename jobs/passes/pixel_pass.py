"""Runs the pixel pass: plan to blocks, blocks to workers, receipts to commits, and no block lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from conf import PipelineConfig
from conf.stages import STAGES
from jobs.core.errors import RunFailedError
from jobs.core.stage import Stage
from jobs.engine.lazy_engine import LazyEngine
from jobs.engine.local_pool import LocalPool, Transform, WorkerStartError
from jobs.passes.blocks import Block, cut, halves, waves
from jobs.passes.intake import Intake, PassResult, died, numbered
from jobs.passes.pixel_worker import measure_rows, persist_rows
from jobs.storage.paths import Place
from transforms.frames.pixel_block import PAIRS_ONLY
from transforms.metrics.measure import PixelParams, n_frames

_TRIES = 2
_OF_PAIRS = frozenset(spec.name for spec in STAGES if spec.of_pairs)


def run_pass(
    todo: Iterator[pa.Table],
    n_todo: int,
    stages: Sequence[Stage],
    config: PipelineConfig,
    params: PixelParams,
    root: Place,
    engine: LazyEngine,
    intake: Intake,
    recomputed: frozenset[str] = frozenset(),
) -> PassResult:
    """Measure the `n_todo` frames that are wanted of `todo`, tables of schema `block_schema`, wave by wave.

    Processes of this machine do so where there are any, until `engine` takes over. Rows of `recomputed` stages replace
    those that are there. Raises `RunFailedError` for a frame that ends the pass, and where the workspace does not take
    the results; what was committed stays.
    """
    result = intake.result
    keys = {s.name: s.key for s in stages if s.kind == "pixels"}
    replaced = frozenset(s.table.name for s in stages if s.name in recomputed)
    transforms: list[Transform] = [
        (measure_rows, {"params": params, "root": str(root), "stop_flag": intake.stop_flag}),
        (persist_rows, {"root": str(root), "stage_keys": keys}),
    ]

    def go_on_here() -> bool:
        rate = result.n_frames / result.seconds if result.seconds else 0.0
        return not engine.takes_over((n_todo - result.n_frames) / rate if rate else 0.0)

    def num_cpus() -> int:
        return engine.local_pool.size if engine.local_pool and go_on_here() else engine().num_cpus

    for wave in waves(todo, num_cpus):
        if intake.is_over():
            break
        size = num_cpus()
        blocks = [b._replace(replaces=b.replaces | replaced) for b in cut(wave, config, size, not result.n_frames)]
        if engine.local_pool and go_on_here():
            left = _measure_here(blocks, engine.local_pool, transforms, go_on_here, keys, intake)
            # The cores of the engine have a beginning of their own.
            blocks = [block._replace(starts=number < size) for number, block in enumerate(left)]
            if blocks:
                # They would hold their memory for as long as the engine measures.
                engine.local_pool.close()
        _measure_by_engine(blocks, engine, transforms, keys, intake)
    if engine.local_pool:
        engine.local_pool.close()
    return intake.finish()


def _measure_here(
    blocks: list[Block],
    pool: LocalPool,
    transforms: Sequence[Transform],
    go_on: Callable[[], bool],
    keys: Mapping[str, str],
    intake: Intake,
) -> list[Block]:
    """Measure blocks in processes of this machine, and return those that were not begun when `go_on` said no."""
    n_tries = 1
    while blocks and not intake.result.stopped and go_on():
        try:
            received = intake.receive(blocks, pool.map_blocks(numbered(blocks), transforms, go_on))
        except WorkerStartError as error:
            raise RunFailedError(f"no process that measures frames could be started: {error}") from error
        blocks = [block for number, block in enumerate(blocks) if number not in received]
        if not blocks or intake.result.stopped or not go_on():
            break
        if n_tries == _TRIES:
            blocks, n_tries = _halved(blocks, keys, intake), 1
        else:
            n_tries += 1
        intake.refuse_faults()
    return blocks


def _measure_by_engine(
    blocks: list[Block],
    engine: LazyEngine,
    transforms: Sequence[Transform],
    keys: Mapping[str, str],
    intake: Intake,
) -> None:
    """Measure blocks in processes of the engine, which tries each of them twice."""
    result = intake.result
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
