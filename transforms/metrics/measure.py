"""The pixel pass: all inexpensive per-frame measures, from one read and one decode of each frame.

Input is a *block*, a table of schema `block_schema` with one row per frame; output is a table of one row, which has for
each stage a list of its new rows, and counts of frames, reads and decodes. The rows of `frames` are the pass's own; all
others come from the measures of the stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from transforms.core.identity import UNTRUSTED, Int64Array, is_racy, pair_ids, stat_ids, timed_ids
from transforms.frames.exif_time import exif_time_ns
from transforms.frames.frame_image import Clips, FrameImage, open_frame
from transforms.frames.image import ImageParams
from transforms.frames.pixel_block import ALL_BUT_PAIRS, FAULT, KNOWN, PAIRS_ONLY, TALLY, VERIFIED, have
from transforms.frames.pixel_measure import PixelMeasure, StageMeasure, Visit
from transforms.io.frame_bytes import FrameBytes

Keep = Callable[[str, int, bytes], str]
"""Stores the JPEG of a frame, given its stream, its number and the bytes, and returns its URI."""

_FRAMES = schemas.FRAMES.written_by
_AHEAD = 8


@dataclass(frozen=True)
class PixelParams:
    """What the pixel pass computes: the rows of `frames`, unless `with_frames` is false, and those of its measures."""

    image: ImageParams = ImageParams()
    measures: tuple[StageMeasure, ...] = ()
    with_frames: bool = True

    def only(self, stage: str) -> PixelParams:
        """Return parameters for one stage alone."""
        return replace(self, measures=tuple(m for m in self.measures if m.name == stage), with_frames=stage == _FRAMES)


def measure_frames(
    block: pa.Table, params: PixelParams, go_on: Callable[[], bool] = lambda: True, keep: Keep | None = None
) -> pa.Table:
    """Compute the missing rows of a block's frames, and return them as described at the top of the module.

    Bytes that do not decode give a `corrupt` row and rows of nulls, which are final. A frame that cannot be read, or
    that makes the code fail, gives a row of `quarantine` for each stage that could not be computed. No exception of a
    frame is raised. `go_on` is called before every frame; if it returns False, the pass stops and the remaining frames
    are left for a later one. `keep` is called for the frames that have no file of their own, by the measure that stores
    them.
    """
    started_ns = time.time_ns()
    cv2.setNumThreads(0)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    with Clips() as clips:
        rows = _Pass(block, params, clips, keep).run(go_on)
    return rows.table(started_ns)


def n_frames(block: pa.Table) -> int:
    """Return how many frames a block computes; a frame that two blocks share is counted in one of them."""
    return pc.sum(pc.and_(block["wanted"], pc.not_equal(block["share"], PAIRS_ONLY))).as_py() or 0


class _Pass:
    """One pass over a block. A frame is only compared with its predecessor, so at most two frames are in memory."""

    def __init__(self, block: pa.Table, params: PixelParams, clips: Clips, keep: Keep | None) -> None:
        self._keep = keep
        self._frames = [
            open_frame(uri, trusted, params.image, clips)
            for uri, trusted in zip(block["uri"].to_pylist(), block["trusted_id"].to_pylist(), strict=True)
        ]
        self._stages = frozenset([m.name for m in params.measures] + [_FRAMES] * params.with_frames)
        self._pairs = frozenset(m.name for m in params.measures if m.of_pairs)
        self._measures = {m.name: m.make() for m in params.measures}
        self._rows = _BlockRows(block, self._frames, params.measures, self._measures)
        self._follows: list[bool] = block["follows"].to_pylist()
        self._wanted: list[bool] = block["wanted"].to_pylist()
        self._share: list[int] = block["share"].to_pylist()
        self._names: list[tuple[str, int]] = list(
            zip(block["stream_id"].to_pylist(), block["frame_idx"].to_pylist(), strict=True)
        )
        self._known: list[dict[str, Any] | None] = block["known"].to_pylist()
        self._have: dict[str, list[int | None]] = {stage: block[have(stage)].to_pylist() for stage in self._measures}

    def run(self, go_on: Callable[[], bool]) -> _BlockRows:
        for frame in self._frames[1:_AHEAD]:
            frame.announce()
        for row, frame in enumerate(self._frames):
            if not go_on():
                self._rows.n_walked = row
                break
            if row + _AHEAD < len(self._frames):
                self._frames[row + _AHEAD].announce()
            before = self._frames[row - 1] if self._follows[row] else None
            if self._wanted[row]:
                self._measure(row, frame, before)
            if row:
                self._frames[row - 1].forget()
        return self._rows

    def _measure(self, row: int, frame: FrameImage, before: FrameImage | None) -> None:
        missing = self._stages
        measured: dict[str, Any] = {}
        stream_id, frame_idx = self._names[row]
        visit = Visit(frame_idx, frame, before, self._keep and partial(self._keep, stream_id, frame_idx))
        try:
            missing = self._missing(row, frame, before)
            if missing - {_FRAMES}:
                # The bytes that are measured may have changed since an earlier run read them.
                frame.load()
                missing = self._missing(row, frame, before)
            known = self._known[row]
            self._verify(row, frame, before, missing)
            if missing == {_FRAMES} and known is not None and known["content_hash"] == frame.hash_hex:
                self._rows.confirm(row, frame, known)
                return
            if not missing:
                return
            frame.pixels()
            measured |= {stage: self._measures[stage].measure(visit) for stage in missing - {_FRAMES} - self._pairs}
        except Exception as error:
            # An error of one frame must not affect the other frames of its block.
            self._rows.add_fault(row, missing, error)
            return
        for stage in missing & self._pairs:
            try:
                _decode_before(before)
                measured[stage] = self._measures[stage].measure(visit)
            except Exception as error:
                self._rows.add_fault(row, {stage}, error)
        if _FRAMES in missing:
            self._rows.add_frame(row, frame)
        for stage, values in measured.items():
            self._rows.add(stage, row, frame, before if stage in self._pairs else None, values)

    def _verify(self, row: int, frame: FrameImage, before: FrameImage | None, missing: AbstractSet[str]) -> None:
        """Count the existing rows that were confirmed by reading the bytes."""
        untrusted = frame.trusted_id is None
        for stage in self._shared(row, self._stages - missing - {_FRAMES}):
            if untrusted or (stage in self._pairs and before is not None and before.trusted_id is None):
                self._rows.verified[stage] += 1

    def _missing(self, row: int, frame: FrameImage, before: FrameImage | None) -> frozenset[str]:
        """Return the stages whose row for the frame is missing or was computed from other contents."""
        content = frame.content()
        missing = {_FRAMES} & self._stages if content != frame.trusted_id else set()
        for stage, ids in self._have.items():
            pair = stage in self._pairs
            if _pair_missing(content, before, ids[row]) if pair else ids[row] != content:
                missing.add(stage)
        return self._shared(row, frozenset(missing))

    def _shared(self, row: int, stages: frozenset[str]) -> frozenset[str]:
        """Return the subset of stages that this block computes for the row."""
        if self._share[row] == PAIRS_ONLY:
            return stages & self._pairs
        return stages - self._pairs if self._share[row] == ALL_BUT_PAIRS else stages


def _pair_missing(content: int, before: FrameImage | None, have_id: int | None) -> bool:
    """Return whether the row of a pair of frames is missing or was computed from other contents."""
    if have_id is None:
        return True
    try:
        last = before.content() if before else 0
    except OSError:
        return True
    ids = pair_ids(np.array([content]), np.array([last]), np.array([before is not None]))
    return have_id != int(ids[0])


def _decode_before(before: FrameImage | None) -> None:
    """Decode the frame before, if there is one. Raises `OSError`."""
    try:
        _ = before.pixels() if before else None
    except Exception as error:
        raise OSError(f"the frame before it cannot be read: {error}") from error


@dataclass
class _StageRows:
    """The added rows of one stage: where in the block, the contents of each frame, and of the one before."""

    at: list[int] = field(default_factory=list)
    content: list[int] = field(default_factory=list)
    before: list[int | None] = field(default_factory=list)


class _BlockRows:
    """Accumulates the results of a block's frames, and converts them to Arrow at the end, in arrays."""

    def __init__(
        self,
        block: pa.Table,
        frames: Sequence[FrameImage],
        stages: Sequence[StageMeasure],
        measures: dict[str, PixelMeasure],
    ) -> None:
        self._block = block
        self._visited = frames
        self._stages = stages
        self._measures = measures
        self.n_walked = len(frames)
        self.verified = dict.fromkeys((_FRAMES, *measures), 0)
        self._frames: list[tuple[int, FrameImage, dict[str, Any]]] = []
        self._taken: list[int | None] = []
        self._added = {name: _StageRows() for name in measures}
        self._faults: list[tuple[int, str, Exception]] = []

    def add_fault(self, row: int, stages: AbstractSet[str], error: Exception) -> None:
        self._faults += [(row, stage, error) for stage in sorted(stages)]

    def confirm(self, row: int, frame: FrameImage, known: dict[str, Any]) -> None:
        """Write the values that an earlier run found again, with the file's new size and mtime."""
        self._append(row, frame, known)

    def add_frame(self, row: int, frame: FrameImage) -> None:
        header = frame.header
        size = (header.width, header.height) if header and header.width and header.height else (None, None)
        values = {
            "content_hash": frame.hash_hex,
            "width": size[0],
            "height": size[1],
            "format": header.format if header else None,
            **frame.condition(),
        }
        self._append(row, frame, values)

    def _append(self, row: int, frame: FrameImage, values: dict[str, Any]) -> None:
        self._frames.append((row, frame, values))
        is_timed = self._block["t_ns"][row].is_valid
        self._taken.append(exif_time_ns(frame.read.data) if frame.read is not None and not is_timed else None)

    def add(self, stage: str, row: int, frame: FrameImage, before: FrameImage | None, values: Any) -> None:
        added = self._added[stage]
        added.at.append(row)
        added.content.append(frame.content())
        added.before.append(before.content() if before else None)
        self._measures[stage].add(values)

    def table(self, started_ns: int) -> pa.Table:
        lists = {_FRAMES: self._frame_rows()}
        lists |= {stage.name: self._stage_rows(stage) for stage in self._stages}
        lists["quarantine"] = self._fault_rows()
        tally = (
            self._block["block"][0].as_py(),
            n_frames(self._block.slice(0, self.n_walked)),
            sum(f.n_read for f in self._visited),
            sum(f.n_decoded for f in self._visited),
            sum(f.bytes_read for f in self._visited),
            started_ns,
        )
        columns = {
            name: pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows) for name, rows in lists.items()
        }
        columns |= {name: pa.array([value], pa.int64()) for name, value in zip(TALLY, tally, strict=True)}
        return pa.table({**columns, "verified": pa.array([list(self.verified.items())], VERIFIED)})

    def _rows(
        self, table: schemas.Table, at: list[int], ids: list[int] | Int64Array, columns: dict[str, pa.Array]
    ) -> pa.StructArray:
        place = pa.array(at, pa.int64())
        keys = {name: self._block[name].take(place).combine_chunks() for name in schemas.FRAME_KEY}
        columns = {"input_id": pa.array(ids, pa.int64()), **keys, **columns}
        return pa.StructArray.from_arrays(
            [columns[f.name].cast(f.type) for f in table.file_schema], fields=list(table.file_schema)
        )

    def _stage_rows(self, stage: StageMeasure) -> pa.StructArray:
        added = self._added[stage.name]
        ids: list[int] | Int64Array = added.content
        if stage.of_pairs:
            follows = np.array([before is not None for before in added.before], np.bool_)
            ids = pair_ids(
                np.array(added.content, np.int64), np.array([before or 0 for before in added.before], np.int64), follows
            )
        return self._rows(stage.table, added.at, ids, self._measures[stage.name].columns())

    def _frame_rows(self) -> pa.StructArray:
        at = [row for row, _, _ in self._frames]
        frames = [frame for _, frame, _ in self._frames]
        reads: list[FrameBytes] = [frame.read for frame in frames if frame.read is not None]
        uris = pa.array([frame.uri for frame in frames], pa.string())
        sizes = np.array([r.size_bytes for r in reads], np.int64)
        mtimes = np.array([r.mtime_ns for r in reads], np.int64)
        racy = np.array([is_racy(r.mtime_ns, r.read_ns, r.changed_ns) for r in reads], np.bool_)
        listed_ns = self._block["t_ns"].take(pa.array(at, pa.int64())).combine_chunks()
        trusted = np.where(racy, UNTRUSTED, timed_ids(stat_ids(uris, sizes, mtimes), listed_ns))
        taken_ns = pa.array(self._taken, pa.int64())
        source = self._block["time_source"].take(pa.array(at, pa.int64())).combine_chunks()
        columns = {f.name: pa.array([values[f.name] for _, _, values in self._frames], f.type) for f in KNOWN}
        known = pc.struct_field(self._block["known"].take(pa.array(at, pa.int64())), "content_hash")
        self.verified[_FRAMES] = pc.sum(pc.equal(known, pa.chunked_array([columns["content_hash"]]))).as_py() or 0
        columns |= {
            "uri": uris,
            "size_bytes": pa.array(sizes),
            "mtime_ns": pa.array(mtimes),
            "time_ns": pa.array([frame.time_ns for frame in frames], pa.int64()),
            "stat_id": pa.array(trusted),
            "t_ns": pc.coalesce(listed_ns, taken_ns),
            "time_source": pc.if_else(pc.is_valid(taken_ns), pa.scalar("exif"), source),
        }
        return self._rows(schemas.FRAMES, at, [frame.content() for frame in frames], columns)

    def _fault_rows(self) -> pa.StructArray:
        place = pa.array([row for row, _, _ in self._faults], pa.int64())
        taken = {n: self._block[n].take(place).combine_chunks() for n in ("stream_id", "frame_idx", "uri")}
        taken["stage"] = pa.array([stage for _, stage, _ in self._faults], pa.string())
        taken["error_type"] = pa.array([type(e).__name__ for _, _, e in self._faults], pa.string())
        taken["error"] = pa.array([str(e) for _, _, e in self._faults], pa.string())
        return pa.StructArray.from_arrays([taken[f.name] for f in FAULT], fields=list(FAULT))
