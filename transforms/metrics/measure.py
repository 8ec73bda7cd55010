"""The pixel pass: all inexpensive per-frame measures, from one read and one decode of each frame.

Input is a *block*, a table of schema `BLOCK` with one row per frame; output is a table of one row, which has for each
target table a list of its new rows, and counts of frames, reads and decodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from transforms.core.identity import UNTRUSTED, Int64Array, is_racy, pair_ids, stat_ids
from transforms.frames.frame_image import Clips, FrameImage, open_frame
from transforms.frames.image import TILES, Gray, ImageParams
from transforms.frames.pixel_block import (
    ALL_BUT_MOTION,
    DEFAULT_STAGES,
    FAULT,
    KNOWN,
    MOTION_ONLY,
    TABLES,
    TALLY,
    VERIFIED,
)
from transforms.io.frame_bytes import FrameBytes
from transforms.metrics.hashing import layout_column, layouts, phash, to_hex
from transforms.metrics.motion import MotionParams, MotionScores, keeps_tiles, motion_scores, still_tiles
from transforms.metrics.quality import (
    BlurParams,
    PictureMeasures,
    Scratch,
    measure_picture,
    tone_histogram,
    tone_statistics,
)
from transforms.metrics.sketch import Int16Array, sketch

Keep = Callable[[str, int, bytes], str]
"""Stores the JPEG of a frame, given its stream, its number and the bytes, and returns its URI."""

_PICTURES_AT_ONCE = 4096
_AHEAD = 8


@dataclass(frozen=True)
class PixelParams:
    """Parameters of the pixel pass; `stages` are the names from `TABLES` to compute."""

    image: ImageParams = ImageParams()
    blur: BlurParams = BlurParams()
    motion: MotionParams = MotionParams()
    stages: tuple[str, ...] = DEFAULT_STAGES


def measure_frames(
    block: pa.Table, params: PixelParams, go_on: Callable[[], bool] = lambda: True, keep: Keep | None = None
) -> pa.Table:
    """Compute the missing rows of a block's frames, and return them as described at the top of the module.

    Bytes that do not decode give a `corrupt` row and rows of nulls, which are final. A frame that cannot be read, or
    that makes the code fail, gives a row of `quarantine` for each stage that could not be computed. No exception of a
    frame is raised. `go_on` is called before every frame; if it returns False, the pass stops and the remaining frames
    are left for a later one. `keep` is called for the frames that have no file of their own, if `media` is among the
    stages.
    """
    started_ns = time.time_ns()
    cv2.setNumThreads(0)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    with Clips() as clips:
        harvest = _Pass(block, params, clips, keep).run(go_on)
    return harvest.table(started_ns)


def n_frames(block: pa.Table) -> int:
    """Return how many frames a block computes; a frame that two blocks share is counted in one of them."""
    return pc.sum(pc.and_(block["wanted"], pc.not_equal(block["share"], MOTION_ONLY))).as_py() or 0


class _Pass:
    """One pass over a block. A frame is only compared with its predecessor, so at most two frames are in memory."""

    def __init__(self, block: pa.Table, params: PixelParams, clips: Clips, keep: Keep | None) -> None:
        self._params = params
        self._keep = keep
        self._scratch = Scratch()
        self._frames = [
            open_frame(uri, trusted, params.image, clips)
            for uri, trusted in zip(block["uri"].to_pylist(), block["trusted_id"].to_pylist(), strict=True)
        ]
        self._harvest = _Harvest(block, self._frames, params.motion)
        self._follows: list[bool] = block["follows"].to_pylist()
        self._wanted: list[bool] = block["wanted"].to_pylist()
        self._share: list[int] = block["share"].to_pylist()
        self._names: list[tuple[str, int]] = list(
            zip(block["stream_id"].to_pylist(), block["frame_idx"].to_pylist(), strict=True)
        )
        self._known: list[dict[str, Any] | None] = block["known"].to_pylist()
        self._have: dict[str, list[int | None]] = {
            stage: block[f"have_{stage}"].to_pylist() for stage in TABLES if stage != "frames"
        }

    def run(self, go_on: Callable[[], bool]) -> _Harvest:
        for frame in self._frames[1:_AHEAD]:
            frame.announce()
        for row, frame in enumerate(self._frames):
            if not go_on():
                self._harvest.n_walked = row
                break
            if row + _AHEAD < len(self._frames):
                self._frames[row + _AHEAD].announce()
            before = self._frames[row - 1] if self._follows[row] else None
            if self._wanted[row]:
                self._measure(row, frame, before)
            if row:
                self._frames[row - 1].forget()
        return self._harvest

    def _measure(self, row: int, frame: FrameImage, before: FrameImage | None) -> None:
        missing = set(self._params.stages)
        try:
            missing = self._missing(row, frame, before)
            if missing - {"frames"}:
                # The bytes that are measured may have changed since an earlier run read them.
                frame.load()
                missing = self._missing(row, frame, before)
            known = self._known[row]
            self._verify(row, frame, before, missing)
            if missing == {"frames"} and known is not None and known["content_hash"] == frame.hash_hex:
                self._harvest.confirm(row, frame, known)
                return
            if not missing:
                return
            pixels = frame.pixels()
            measured, kept = None, None
            if "media" in missing and self._keep and (jpeg := frame.jpeg()):
                kept = self._keep(*self._names[row], jpeg)
            if "quality" in missing and pixels is not None:
                measured = _Measured(
                    measure_picture(pixels.gray, self._params.blur, self._scratch), tone_histogram(pixels.small)
                )
        except Exception as error:
            # An error of one frame must not affect the other frames of its block.
            self._harvest.add_fault(row, missing, error)
            return
        if "motion" in missing and before is not None:
            try:
                before.pixels()
            except Exception as error:
                missing.discard("motion")
                self._harvest.add_fault(row, {"motion"}, OSError(f"the frame before it cannot be read: {error}"))
        self._harvest.add(row, frame, before, missing, measured, kept)

    def _verify(self, row: int, frame: FrameImage, before: FrameImage | None, missing: set[str]) -> None:
        """Count the existing rows that were confirmed by reading the bytes."""
        untrusted = frame.trusted_id is None
        for stage in self._shared(row, set(self._params.stages) - missing - {"frames"}):
            if untrusted or (stage == "motion" and before is not None and before.trusted_id is None):
                self._harvest.verified[stage] += 1

    def _missing(self, row: int, frame: FrameImage, before: FrameImage | None) -> set[str]:
        """Return the stages whose row for the frame is missing or was computed from other contents."""
        content = frame.content()
        missing = set()
        if "frames" in self._params.stages and content != frame.trusted_id:
            missing.add("frames")
        for stage in ("quality", "fingerprints", "media"):
            if stage in self._params.stages and self._have[stage][row] != content:
                missing.add(stage)
        if "motion" in self._params.stages and self._motion_missing(content, before, self._have["motion"][row]):
            missing.add("motion")
        return self._shared(row, missing)

    def _shared(self, row: int, stages: set[str]) -> set[str]:
        """Return the subset of stages that this block computes for the row."""
        if self._share[row] == MOTION_ONLY:
            return stages & {"motion"}
        return stages - {"motion"} if self._share[row] == ALL_BUT_MOTION else stages

    @staticmethod
    def _motion_missing(content: int, before: FrameImage | None, have: int | None) -> bool:
        if have is None:
            return True
        try:
            last = before.content() if before else 0
        except OSError:
            return True
        ids = pair_ids(np.array([content]), np.array([last]), np.array([before is not None]))
        return have != int(ids[0])


class _Measured(NamedTuple):
    picture: PictureMeasures
    tones: npt.NDArray[np.float32]


class _Harvest:
    """Accumulates the results of a block's frames, and converts them to Arrow at the end, in arrays."""

    def __init__(self, block: pa.Table, frames: Sequence[FrameImage], params: MotionParams) -> None:
        self._block = block
        self._params = params
        self._visited = frames
        self.n_walked = len(frames)
        self.verified = dict.fromkeys(TABLES, 0)
        self._frames: list[tuple[int, dict[str, Any]]] = []
        self._quality: list[tuple[int, int, _Measured | None]] = []
        self._fingerprints: list[tuple[int, int, bool]] = []
        self._media: list[tuple[int, int, str | None]] = []
        self._motion: list[tuple[int, int, int | None, bool]] = []
        self._numbers: list[int] = block["frame_idx"].to_pylist()
        self._kept: list[Gray | None] = []
        self._sketches: list[Int16Array | None] = []
        self._hashes: list[npt.NDArray[np.uint64]] = []
        self._moves: list[MotionScores] = []
        self._layouts: list[npt.NDArray[np.uint8]] = []
        self._smalls: list[tuple[Gray, Gray]] = []
        self._tiles: list[tuple[Gray, Gray]] = []
        self._faults: list[tuple[int, str, Exception]] = []

    def add_fault(self, row: int, stages: set[str], error: Exception) -> None:
        self._faults += [(row, stage, error) for stage in sorted(stages)]

    def confirm(self, row: int, frame: FrameImage, known: dict[str, Any]) -> None:
        """Write the values that an earlier run found again, with the file's new size and mtime."""
        self._frames.append((row, {**known, "frame": frame}))

    def add(
        self,
        row: int,
        frame: FrameImage,
        before: FrameImage | None,
        missing: set[str],
        measured: _Measured | None,
        kept: str | None,
    ) -> None:
        content, pixels = frame.content(), frame.pixels()
        if "frames" in missing:
            header = frame.header
            size = (header.width, header.height) if header and header.width and header.height else (None, None)
            self._frames.append(
                (
                    row,
                    {
                        "content_hash": frame.hash_hex,
                        "width": size[0],
                        "height": size[1],
                        "format": header.format if header else None,
                        **frame.condition(),
                        "frame": frame,
                    },
                )
            )
        if "quality" in missing:
            self._quality.append((row, content, measured))
        if "fingerprints" in missing:
            self._fingerprints.append((row, content, pixels is not None))
            if pixels:
                self._smalls.append((pixels.small, pixels.tiles))
        if "media" in missing:
            self._media.append((row, content, kept))
        if "motion" in missing:
            last = before.pixels() if before else None
            self._motion.append((row, content, before.content() if before else None, bool(pixels and last)))
            keeps = keeps_tiles(self._numbers[row])
            self._kept.append(still_tiles(pixels.tiles[None])[0] if pixels and keeps else None)
            self._sketches.append(sketch(pixels.gray) if pixels and frame.begins_group(before) else None)
            if pixels and last:
                self._tiles.append((pixels.tiles, last.tiles))
        if len(self._smalls) + len(self._tiles) >= _PICTURES_AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        """Compute the measures of the collected small images, which bounds memory for long blocks."""
        self._hashes.append(phash([small for small, _ in self._smalls]))
        self._layouts.append(layouts(np.array([tiles for _, tiles in self._smalls], np.uint8).reshape(-1, *TILES)))
        now, last = ([pair[side] for pair in self._tiles] for side in (0, 1))
        shape = (len(self._tiles), *TILES)
        self._moves.append(
            motion_scores(np.array(now, np.uint8).reshape(shape), np.array(last, np.uint8).reshape(shape), self._params)
        )
        self._smalls, self._tiles = [], []

    def table(self, started_ns: int) -> pa.Table:
        self._settle()
        lists = {
            "frames": self._frame_rows(),
            "quality": self._quality_rows(),
            "fingerprints": self._fingerprint_rows(),
            "motion": self._motion_rows(),
            "media": self._media_rows(),
            "quarantine": self._fault_rows(),
        }
        tally = (
            self._block["block"][0].as_py(),
            n_frames(self._block.slice(0, self.n_walked)),
            sum(f.n_read for f in self._visited),
            sum(f.n_decoded for f in self._visited),
            sum(f.bytes_read for f in self._visited),
            started_ns,
            *(self.verified[name] for name in VERIFIED),
        )
        columns = {
            name: pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows) for name, rows in lists.items()
        }
        return pa.table({**columns, **{n: pa.array([v], pa.int64()) for n, v in zip(TALLY, tally, strict=True)}})

    def _rows(
        self, table: schemas.Table, at: list[int], ids: list[int] | Int64Array, columns: dict[str, pa.Array]
    ) -> pa.StructArray:
        place = pa.array(at, pa.int64())
        keys = {name: self._block[name].take(place).combine_chunks() for name in schemas.FRAME_KEY}
        given = {"input_id": pa.array(ids, pa.int64()), **keys, **columns}
        return pa.StructArray.from_arrays(
            [given[f.name].cast(f.type) for f in table.file_schema], fields=list(table.file_schema)
        )

    def _frame_rows(self) -> pa.StructArray:
        at = [row for row, _ in self._frames]
        found = [values for _, values in self._frames]
        reads: list[FrameBytes] = [values["frame"].read for values in found]
        uris = pa.array([values["frame"].uri for values in found], pa.string())
        sizes = np.array([r.size_bytes for r in reads], np.int64)
        mtimes = np.array([r.mtime_ns for r in reads], np.int64)
        racy = np.array([is_racy(r.mtime_ns, r.read_ns, r.changed_ns) for r in reads], np.bool_)
        trusted = np.where(racy, UNTRUSTED, stat_ids(uris, sizes, mtimes))
        columns = {f.name: pa.array([v[f.name] for v in found], f.type) for f in KNOWN}
        known = pc.struct_field(self._block["known"].take(pa.array(at, pa.int64())), "content_hash")
        self.verified["frames"] = pc.sum(pc.equal(known, pa.chunked_array([columns["content_hash"]]))).as_py() or 0
        columns |= {
            "uri": uris,
            "size_bytes": pa.array(sizes),
            "mtime_ns": pa.array(mtimes),
            "time_ns": pa.array([v["frame"].time_ns for v in found], pa.int64()),
            "stat_id": pa.array(trusted),
        }
        return self._rows(schemas.FRAMES, at, [v["frame"].content() for v in found], columns)

    def _quality_rows(self) -> pa.StructArray:
        at, ids = [q[0] for q in self._quality], [q[1] for q in self._quality]
        found = [q[2] for q in self._quality if q[2] is not None]
        absent = np.array([q[2] is None for q in self._quality], np.bool_)
        scores = np.array([m.picture for m in found], np.float32).reshape(len(found), len(PictureMeasures._fields))
        measures = dict(zip(PictureMeasures._fields, scores.T, strict=True))
        measures |= tone_statistics(np.array([m.tones for m in found], np.float32).reshape(len(found), 256))
        columns = {name: _spread(values, absent) for name, values in measures.items()}
        return self._rows(schemas.QUALITY, at, ids, columns)

    def _fingerprint_rows(self) -> pa.StructArray:
        at, ids = [f[0] for f in self._fingerprints], [f[1] for f in self._fingerprints]
        digits = to_hex(np.concatenate(self._hashes))
        present = np.array([f[2] for f in self._fingerprints], np.bool_)
        place = pa.array(np.cumsum(present) - 1, mask=~present)
        cells = layout_column(np.concatenate(self._layouts))
        return self._rows(schemas.FINGERPRINTS, at, ids, {"phash": digits.take(place), "layout": cells.take(place)})

    def _media_rows(self) -> pa.StructArray:
        at, ids = [m[0] for m in self._media], [m[1] for m in self._media]
        return self._rows(schemas.MEDIA, at, ids, {"picture": pa.array([m[2] for m in self._media], pa.string())})

    def _motion_rows(self) -> pa.StructArray:
        at = [m[0] for m in self._motion]
        follows = np.array([m[2] is not None for m in self._motion], np.bool_)
        current = np.array([m[1] for m in self._motion], np.int64)
        ids = pair_ids(current, np.array([m[2] or 0 for m in self._motion], np.int64), follows)
        absent = np.array([not m[3] for m in self._motion], np.bool_)
        scores = {name: np.concatenate([getattr(m, name) for m in self._moves]) for name in MotionScores._fields}
        columns = {name: _spread(values, absent) for name, values in scores.items()}
        columns |= {"tiles": _packed(self._kept), "sketch": _packed(self._sketches)}
        return self._rows(schemas.MOTION, at, ids, columns)

    def _fault_rows(self) -> pa.StructArray:
        place = pa.array([row for row, _, _ in self._faults], pa.int64())
        taken = {n: self._block[n].take(place).combine_chunks() for n in ("stream_id", "frame_idx", "uri")}
        taken["stage"] = pa.array([stage for _, stage, _ in self._faults], pa.string())
        taken["error_type"] = pa.array([type(e).__name__ for _, _, e in self._faults], pa.string())
        taken["error"] = pa.array([str(e) for _, _, e in self._faults], pa.string())
        return pa.StructArray.from_arrays([taken[f.name] for f in FAULT], fields=list(FAULT))


def _packed(arrays: Sequence[npt.NDArray[Any] | None]) -> pa.Array:
    """Return arrays as Arrow binary values."""
    return pa.array([None if a is None else a.tobytes() for a in arrays], pa.binary())


def _spread(values: npt.NDArray[np.float32], absent: npt.NDArray[np.bool_]) -> pa.Array:
    """Return an Arrow array with the values where `absent` is false, in order, and nulls where it is true."""
    full = np.zeros(len(absent), np.float32)
    full[~absent] = values
    return pa.array(full, mask=absent)
