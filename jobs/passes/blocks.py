"""Blocks of frames, each for one task of the pixel pass, and the waves in which they are sent out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf import PipelineConfig
from transforms.frames.clip import KEY_PATTERN
from transforms.frames.pixel_block import ALL_BUT_PAIRS, PAIRS_ONLY, stages_with_rows

_WAVE_ROWS_PER_CPU = 1 << 15
_MOST_WAVE_ROWS = 1 << 18
_LEAST_ROWS = 64
_FRAMES = schemas.FRAMES.written_by

IntArray = npt.NDArray[np.int64]


class Block(NamedTuple):
    """Rows of `transforms.frames.pixel_block.block_schema` for one task.

    `replaces` are the tables of which it may have rows to replace; `starts` says that it is the first of its core.
    """

    rows: pa.Table
    replaces: frozenset[str]
    starts: bool = False


def waves(todo: Iterator[pa.Table], num_cpus: Callable[[], int]) -> Iterator[pa.Table]:
    """Join small plans, so that a wave keeps the cores busy for long, and what it takes of memory is bounded.

    `num_cpus` may have to wait for the engine.
    """
    held: list[pa.Table] = []
    for rows in todo:
        held.append(rows)
        size = sum(t.num_rows for t in held)
        # One core's share has to be there before it is worth asking.
        if size >= _WAVE_ROWS_PER_CPU and size >= min(_MOST_WAVE_ROWS, num_cpus() * _WAVE_ROWS_PER_CPU):
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()


def cut(wave: pa.Table, config: PipelineConfig, num_cpus: int, first: bool) -> list[Block]:
    """Cut a wave into blocks of consecutive units; clips at their keyframes, where decoding can begin.

    Small blocks first, so that the first commit comes soon, and ever smaller ones towards the end, parts of units at
    last, so that the workers finish together.
    """
    keys = _keyframes(wave)
    units = _borders(wave, config.unit_frames, keys)
    fine = _borders(wave, max(1, config.unit_frames // 8), keys)
    blocks: list[Block] = []
    at = 0
    while at < wave.num_rows:
        share = (wave.num_rows - at) // (3 * num_cpus)
        size = min(config.resources.block_frames, max(_LEAST_ROWS, share))
        starts = first and len(blocks) < num_cpus
        if starts:
            # Together these make the first unit.
            size = min(size, max(_LEAST_ROWS, config.unit_frames // num_cpus))
        borders = units if size >= config.unit_frames else fine
        place = int(np.searchsorted(borders, at + size))
        end = int(borders[place]) if place < len(borders) else wave.num_rows
        block = _block(wave, at, end, _is_handed_over(wave, keys, at), _is_handed_over(wave, keys, end))
        blocks.append(block._replace(starts=starts))
        at = end
    return blocks


def halves(block: Block) -> list[Block]:
    """Return two blocks that ask for the same frames together, or none if there is but one frame."""
    wanted = np.flatnonzero(block.rows["wanted"].to_numpy())
    if len(wanted) < 2:
        return []
    middle = int(wanted[len(wanted) // 2])
    parts = (_block(block.rows, 0, middle), _block(block.rows, middle, block.rows.num_rows))
    return [part._replace(replaces=block.replaces) for part in parts]


def _keyframes(wave: pa.Table) -> IntArray | None:
    """Return the timestamp of each row's keyframe, -1 for frames that are files, shape (N,); None without any clip."""
    found = pc.extract_regex(wave["uri"], KEY_PATTERN)
    if found.null_count == len(found):
        return None
    return pc.struct_field(found, "key").cast(pa.int64()).fill_null(-1).to_numpy()


def _borders(wave: pa.Table, unit_frames: int, keys: IntArray | None) -> IntArray:
    """Return the positions at which a unit begins; a predecessor belongs to the unit of the frame that needs it."""
    stream = wave["stream_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    unit = wave["frame_idx"].to_numpy() // unit_frames
    if keys is not None:
        unit = np.where(keys >= 0, keys, unit)
    wanted = wave["wanted"].to_numpy()
    owner = np.arange(len(unit)) + ~wanted
    stream, unit = stream[owner], unit[owner]
    return np.flatnonzero((np.diff(unit) != 0) | (np.diff(stream) != 0)) + 1


def _is_handed_over(wave: pa.Table, keys: IntArray | None, at: int) -> bool:
    """Say whether the frame at a border is a keyframe whose predecessor is decoded by the block before.

    Decoding the predecessor again would mean to decode all frames since the keyframe before it.
    """
    if keys is None or not 0 < at < wave.num_rows or keys[at] == keys[at - 1] or keys[at - 1] < 0:
        return False
    return bool(wave["follows"][at].as_py() and wave["wanted"][at].as_py())


def _with(rows: pa.Table, name: str, values: npt.NDArray[Any]) -> pa.Table:
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(place), pa.array(values))


def _block(wave: pa.Table, start: int, end: int, takes_over: bool = False, hands_over: bool = False) -> Block:
    """Return rows of a wave as a block, led by the first one's predecessor if it has one.

    With `takes_over`, the first frame's comparison with its predecessor is left to the block before; with `hands_over`,
    the block has that of the frame after its last one.
    """
    rows = wave.slice(start, end - start + hands_over)
    share = rows["share"].to_numpy().copy()
    if takes_over:
        share[0] = ALL_BUT_PAIRS
        follows = rows["follows"].to_numpy().copy()
        follows[0] = False
        rows = _with(rows, "follows", follows)
    if hands_over:
        share[-1] = PAIRS_ONLY
    rows = _with(rows, "share", share)
    if start and rows["follows"][0].as_py():
        leader, no = wave.slice(start - 1, 1), np.zeros(1, np.bool_)
        rows = pa.concat_tables([_with(_with(leader, "wanted", no), "follows", no), rows])
    seen = rows["trusted_id"].null_count < rows.num_rows or rows["known"].null_count < rows.num_rows
    stages = stages_with_rows(rows) | ({_FRAMES} if seen else set())
    tables = frozenset(table.name for stage in stages for table in schemas.of_stage(stage))
    return Block(rows.combine_chunks(), tables)
