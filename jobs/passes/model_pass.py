"""Runs a model pass: frames to blocks, blocks to processes that hold the model, receipts to commits."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.core.errors import RunFailedError
from jobs.engine.local_pool import LocalPool, WorkerStartError
from jobs.engine.ray_engine import IN_HAND, Engine, ModelProcesses
from jobs.passes.blocks import Block
from jobs.passes.intake import Intake, PassResult, died, numbered
from jobs.passes.model_worker import ModelTask, ModelWorker, show_block
from transforms.models.inference import REQUEST

# A process that holds a model takes seconds to start, so that a wave should last for minutes.
_WAVE_ROWS = 1 << 18
_ON_GPU, _ON_CPU = 1024, 64
_FIRST_ROWS = 16
_MOST_FAILED = 32


def run_model_pass(
    todo: Iterator[pa.Table],
    task: ModelTask,
    model_frames: int | None,
    processes: Callable[[Engine], ModelProcesses],
    engine: Callable[[], Engine],
    local_models: Callable[[int], ModelProcesses | None],
    intake: Intake,
) -> PassResult:
    """Show the frames of `todo`, tables of schema `REQUEST`, to a model.

    `model_frames` is the most frames of one task. `local_models` takes their number, and
    returns the processes of this machine for so few frames, if there are any; `engine` is called for what
    these do not do. Raises `RunFailedError` where the model cannot be loaded, where it takes none of the frames, or
    where the workspace does not take the results; what was committed stays.
    """
    result = intake.result
    for wave in _waves(todo):
        if intake.is_over():
            break
        here = None if result.n_frames else local_models(_n_wanted(wave))
        lost = _show_nearby(wave, model_frames, here, task, intake) if here else None
        if result.stopped or lost == []:
            continue
        cluster = engine()
        shape = processes(cluster)
        size = model_frames or (_ON_GPU if shape.gpus else _ON_CPU)
        blocks = lost or _cut(wave, size, shape.size, task, first=not result.n_frames)

        def show(some: Sequence[Block], cluster: Engine = cluster) -> set[int] | None:
            received: set[int] = set()
            left = list(range(len(some)))
            while left and not result.stopped:
                machines = cluster.machines()
                shown = [some[number] for number in left]
                arrivals = cluster.map_models(numbered(shown), ModelWorker, task, processes(cluster))
                received |= {left[n] for n in intake.receive(shown, arrivals)}
                left = [number for number in left if number not in received]
                if machines <= cluster.machines():
                    break
            _refuse_failing_model(result)
            return None if result.stopped else received

        _show_all(blocks, show, shape.size * IN_HAND, task, intake)
    return intake.finish()


def _show_nearby(
    wave: pa.Table, model_frames: int | None, processes: ModelProcesses, task: ModelTask, intake: Intake
) -> list[Block]:
    """Show a wave in processes of this machine, and return the blocks that did not come back.

    The model cannot be loaded then, or a frame has ended its process: with the engine's processes it shows which.
    """
    blocks = _cut(wave, model_frames or _ON_CPU, processes.size, task, first=True)
    transform = (show_block, {"task": pickle.dumps(task), "threads": processes.threads})
    with LocalPool(min(processes.size, len(blocks))) as helpers:
        try:
            received = intake.receive(blocks, helpers.map_blocks(numbered(blocks), [transform]))
        except WorkerStartError as error:
            raise RunFailedError(f"no process for the model could be started: {error}") from error
    _refuse_failing_model(intake.result)
    return [block for number, block in enumerate(blocks) if number not in received]


def _refuse_failing_model(result: PassResult) -> None:
    if not any(result.computed.values()) and len(result.faults) >= _MOST_FAILED:
        raise RunFailedError(f"the model takes none of the first {len(result.faults)} frames: {_why(result)}")


def _show_all(
    blocks: Sequence[Block],
    show: Callable[[Sequence[Block]], set[int] | None],
    in_hand: int,
    task: ModelTask,
    intake: Intake,
) -> bool:
    """Show all blocks, although processes may die of some frames; such a frame is quarantined.

    Blocks go out in order, so that the one to blame for a death is among the first `in_hand` that did not come back.
    These are repeated in small parts, each block by itself, and the others after them. Returns whether to continue:
    `show` returns None where the pass was asked to end.
    """
    while blocks:
        received = show(blocks)
        if received is None:
            return False
        lost = [block for number, block in enumerate(blocks) if number not in received]
        if lost and len(blocks) == 1 and _n_wanted(lost[0].rows) == 1:
            fault = died(lost[0].rows.to_pylist()[-1], task.stage)
            intake.quarantine([fault], lost[0].rows.slice(lost[0].rows.num_rows - 1), 1)
            return True
        if not all(_show_all(_parted(suspect, task), show, in_hand, task, intake) for suspect in lost[:in_hand]):
            return False
        blocks = lost[in_hand:]
    return True


def _waves(todo: Iterator[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for rows in todo:
        held.append(rows)
        if sum(t.num_rows for t in held) >= _WAVE_ROWS:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _cut(wave: pa.Table, size: int, processes: int, task: ModelTask, first: bool) -> list[Block]:
    """Cut a wave into blocks of `size`: smaller ones to begin with, for an early commit, and towards the end."""
    blocks: list[Block] = []
    at, n_wanted = 0, _n_wanted(wave)
    while at < n_wanted:
        starts = first and len(blocks) < processes
        share = -(-(n_wanted - at) // (2 * processes))
        n = _to_the_end(wave, at, min(size, _FIRST_ROWS if starts else max(_FIRST_ROWS, share)), task.context)
        blocks.append(_block(_wanted(wave, at, n, task.context), task.writes or task.stage, starts))
        at += n
    return blocks


def _n_wanted(rows: pa.Table) -> int:
    return pc.sum(rows["wanted"]).as_py() or 0


def _wanted(rows: pa.Table, first: int, n: int, context: int) -> pa.Table:
    """Return `n` wanted rows from the `first` on, with what is between them and up to `context` rows before."""
    places = np.flatnonzero(rows["wanted"].to_numpy())[first : first + n]
    start, end = max(0, int(places[0]) - context), int(places[-1]) + 1
    if not context:
        return rows.slice(start, end - start)
    # What comes before a row that follows nothing is no context.
    begun = np.flatnonzero(~_follows(rows.slice(start, int(places[0]) + 1 - start)))
    start += int(begun[-1]) if len(begun) else 0
    chosen = rows.slice(start, end - start)
    wanted = np.isin(np.arange(start, end), places)
    return chosen.set_column(chosen.schema.get_field_index("wanted"), REQUEST.field("wanted"), pa.array(wanted))


def _to_the_end(rows: pa.Table, first: int, n: int, context: int) -> int:
    """Return how many wanted rows to take from the `first` on: `n`, or up to where frames end that belong together.

    A block that begins in the middle has to read up to `context` frames once more.
    """
    if not context:
        return n
    places = np.flatnonzero(rows["wanted"].to_numpy())
    if first + n >= len(places):
        return n
    last = int(places[first + n - 1])
    begins = np.flatnonzero(~_follows(rows.slice(last + 1, context + 1)))
    ends = last + 1 + int(begins[0]) if len(begins) else rows.num_rows
    return int(np.searchsorted(places, ends)) - first if ends - last - 1 <= context else n


def _follows(rows: pa.Table) -> npt.NDArray[np.bool_]:
    return np.asarray(rows["follows"].fill_null(False).to_numpy())


def _block(rows: pa.Table, stage: str, starts: bool = False) -> Block:
    tables = frozenset(table.name for table in schemas.of_stage(stage))
    replaces = tables if pc.any(rows["replaces"]).as_py() else frozenset[str]()
    return Block(rows.combine_chunks(), replaces, starts)


def _parted(block: Block, task: ModelTask) -> list[Block]:
    """Return the frames of a block in up to four parts."""
    total = _n_wanted(block.rows)
    n = -(-total // 4)
    return [_block(_wanted(block.rows, at, n, task.context), task.writes or task.stage) for at in range(0, total, n)]


def _why(result: PassResult) -> str:
    return str(result.faults[0]["error"])
