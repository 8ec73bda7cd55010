"""The pixel pass: every cheap per-frame measure from one read and one decode of each frame.

It takes a *block*, a table with one row per frame as `BLOCK` declares it, and returns a table of one row: for each
table that it feeds a list of that table's new rows, and beside them what reading cost.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from blake3 import blake3

import schemas
from transforms.hashing import phash, to_hex
from transforms.identity import UNTRUSTED, Int64Array, content_id, is_racy, pair_ids, stat_ids
from transforms.image import CorruptImageError, Gray, Header, ImageParams, decode_gray, read_header, to_small
from transforms.motion import TILES, MotionParams, motion_scores, to_tiles
from transforms.quality import BlurParams, PictureMeasures, Scratch, measure_picture, tone_histogram, tone_statistics
from transforms.source import FrameBytes, read_ahead, read_frame

TABLES = {t.name: t for t in (schemas.FRAMES, schemas.QUALITY, schemas.FINGERPRINTS, schemas.MOTION)}
"""The stages of the pass, by the table that each writes."""

KNOWN = pa.struct(
    [schemas.FRAMES.arrow_schema.field(n) for n in ("content_hash", "width", "height", "format", "status", "error")]
)
BLOCK = pa.schema(
    [
        # Number of the block, the same in all of its rows.
        pa.field("block", pa.int64(), nullable=False),
        pa.field("stream_id", pa.string(), nullable=False),
        pa.field("frame_idx", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        # Content id from an earlier run where size and mtime still vouch for it; null means: read and see.
        pa.field("trusted_id", pa.int64()),
        # Where they do not vouch for it: what that run found, which equal bytes confirm without a decode.
        pa.field("known", KNOWN),
        # Whether the row before this one is the frame before it in the stream, with no gap between.
        pa.field("follows", pa.bool_(), nullable=False),
        # False for a row that is there only because the next one is compared with its pixels.
        pa.field("wanted", pa.bool_(), nullable=False),
        # The input_id of the row that these stages have for the frame; null where there is none.
        *(pa.field(f"have_{stage}", pa.int64()) for stage in TABLES if stage != "frames"),
    ]
)
FAULT = pa.struct(
    [
        schemas.QUARANTINE.arrow_schema.field(n)
        for n in ("stream_id", "frame_idx", "stage", "uri", "error_type", "error")
    ]
)
_AHEAD = 8
TALLY = ("block", "n_frames", "n_read", "n_decoded", "bytes_read", "started_ns")


@dataclass(frozen=True)
class PixelParams:
    """Everything that decides what the pass writes; `stages` are the names from `TABLES` to compute."""

    image: ImageParams = ImageParams()
    blur: BlurParams = BlurParams()
    motion: MotionParams = MotionParams()
    stages: tuple[str, ...] = tuple(TABLES)


def measure_frames(block: pa.Table, params: PixelParams) -> pa.Table:
    """Compute the rows that the frames of a block, of schema `BLOCK`, lack; see the module for what comes back.

    Bytes that do not decode give a `corrupt` row and rows of nulls, and are done. What cannot be read, or trips the
    code, becomes a row of `quarantine` per stage that it keeps from being computed. No exception leaves a frame.
    """
    started_ns = time.time_ns()
    cv2.setNumThreads(0)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    harvest = _Pass(block, params).run()
    return harvest.table(params.motion, started_ns)


class _Pass:
    """One walk over a block. A frame is compared with the one before it only, so no more than two are held."""

    def __init__(self, block: pa.Table, params: PixelParams) -> None:
        self._params = params
        self._scratch = Scratch()
        self._frames = [
            _Frame(uri, trusted, params.image)
            for uri, trusted in zip(block["uri"].to_pylist(), block["trusted_id"].to_pylist(), strict=True)
        ]
        self._harvest = _Harvest(block, self._frames)
        self._follows: list[bool] = block["follows"].to_pylist()
        self._wanted: list[bool] = block["wanted"].to_pylist()
        self._known: list[dict[str, Any] | None] = block["known"].to_pylist()
        self._have: dict[str, list[int | None]] = {
            stage: block[f"have_{stage}"].to_pylist() for stage in TABLES if stage != "frames"
        }

    def run(self) -> _Harvest:
        for row, frame in enumerate(self._frames):
            if row + _AHEAD < len(self._frames):
                self._frames[row + _AHEAD].announce()
            before = self._frames[row - 1] if self._follows[row] else None
            if self._wanted[row]:
                self._measure(row, frame, before)
            if row:
                self._frames[row - 1].forget()
        return self._harvest

    def _measure(self, row: int, frame: _Frame, before: _Frame | None) -> None:
        missing = set(self._params.stages)
        try:
            missing = self._missing(row, frame, before)
            if missing - {"frames"}:
                # What is measured is what the bytes hold now, which may no longer be what an earlier run saw.
                frame.load()
                missing = self._missing(row, frame, before)
            known = self._known[row]
            if missing == {"frames"} and known is not None and known["content_hash"] == frame.hash_hex:
                self._harvest.confirm(row, frame, known)
                return
            if not missing:
                return
            pixels = frame.pixels()
            measured = None
            if "quality" in missing and pixels is not None:
                measured = _Measured(
                    measure_picture(pixels.gray, self._params.blur, self._scratch), tone_histogram(pixels.small)
                )
        except Exception as error:
            # Whatever one frame does, the others of its block must not pay for it.
            self._harvest.set_aside(row, missing, error)
            return
        if "motion" in missing and before is not None:
            try:
                before.pixels()
            except Exception as error:
                missing.discard("motion")
                self._harvest.set_aside(row, {"motion"}, OSError(f"the frame before it cannot be read: {error}"))
        self._harvest.add(row, frame, before, missing, measured)

    def _missing(self, row: int, frame: _Frame, before: _Frame | None) -> set[str]:
        """Return the stages whose row for the frame is missing or was computed from something else."""
        content = frame.content()
        missing = set()
        if "frames" in self._params.stages and content != frame.trusted_id:
            missing.add("frames")
        for stage in ("quality", "fingerprints"):
            if stage in self._params.stages and self._have[stage][row] != content:
                missing.add(stage)
        if "motion" in self._params.stages and self._motion_missing(content, before, self._have["motion"][row]):
            missing.add("motion")
        return missing

    @staticmethod
    def _motion_missing(content: int, before: _Frame | None, have: int | None) -> bool:
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


class _Pixels(NamedTuple):
    gray: Gray
    small: Gray
    tiles: Gray


class _Frame:
    """One frame, read and decoded when first asked for, and at most once."""

    def __init__(self, uri: str, trusted_id: int | None, params: ImageParams) -> None:
        self.uri = uri
        self.trusted_id = trusted_id
        self.read: FrameBytes | None = None
        self.hash_hex = ""
        self.header: Header | None = None
        self.corrupt: str | None = None
        self.n_read = 0
        self.n_decoded = 0
        self.bytes_read = 0
        self._params = params
        self._content = trusted_id
        self._fault: Exception | None = None
        self._pixels: _Pixels | None = None
        self._tried = False

    def announce(self) -> None:
        """Say that the frame will be looked at soon."""
        if self.trusted_id is None:
            read_ahead(self.uri)

    def content(self) -> int:
        """Return the content id: the trusted one, or that of the bytes. Raises OSError where they cannot be read."""
        if self._content is None:
            self.load()
        assert self._content is not None
        return self._content

    def load(self) -> bytes:
        """Read the file if that was not done; from then on its bytes say what its content is."""
        if self._fault is not None:
            raise self._fault
        if self.read is None:
            try:
                self.read = read_frame(self.uri)
            except OSError as error:
                self._fault = error
                raise
            digest = blake3(self.read.data).digest()
            self.hash_hex = digest.hex()
            self._content = content_id(digest)
            self.n_read += 1
            self.bytes_read += len(self.read.data)
        return self.read.data

    def pixels(self) -> _Pixels | None:
        """Return the decoded picture, or None where the bytes hold none; `corrupt` then says why."""
        data = self.load()
        if not self._tried:
            self._tried = True
            try:
                self.header = read_header(data)
                gray = decode_gray(data, self.header, self._params)
            except CorruptImageError as error:
                self.corrupt = str(error)
                return None
            self.n_decoded += 1
            small = to_small(gray)
            self._pixels = _Pixels(gray, small, to_tiles(small))
        return self._pixels

    def forget(self) -> None:
        """Drop bytes and pixels, once the next frame has been compared with them."""
        self._pixels = None
        if self.read is not None:
            self.read = self.read._replace(data=b"")


class _Harvest:
    """Collects what the frames of a block give, and turns it into Arrow at the end, where arrays are cheap."""

    def __init__(self, block: pa.Table, frames: Sequence[_Frame]) -> None:
        self._block = block
        self._visited = frames
        self._frames: list[tuple[int, dict[str, Any]]] = []
        self._quality: list[tuple[int, int, _Measured | None]] = []
        self._small: list[tuple[int, int, Gray | None]] = []
        self._motion: list[tuple[int, int, int | None, Gray | None, Gray | None]] = []
        self._faults: list[tuple[int, str, Exception]] = []

    def set_aside(self, row: int, stages: set[str], error: Exception) -> None:
        self._faults += [(row, stage, error) for stage in sorted(stages)]

    def confirm(self, row: int, frame: _Frame, known: dict[str, Any]) -> None:
        """Write what an earlier run found once more, under the file's new size and mtime."""
        self._frames.append((row, {**known, "frame": frame}))

    def add(
        self, row: int, frame: _Frame, before: _Frame | None, missing: set[str], measured: _Measured | None
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
                        "status": "corrupt" if frame.corrupt else "ok",
                        "error": frame.corrupt,
                        "frame": frame,
                    },
                )
            )
        if "quality" in missing:
            self._quality.append((row, content, measured))
        if "fingerprints" in missing:
            self._small.append((row, content, pixels.small if pixels else None))
        if "motion" in missing:
            last = before.pixels() if before else None
            tiles = (pixels.tiles, last.tiles) if pixels and last else (None, None)
            self._motion.append((row, content, before.content() if before else None, *tiles))

    def table(self, params: MotionParams, started_ns: int) -> pa.Table:
        lists = {
            "frames": self._frame_rows(),
            "quality": self._quality_rows(),
            "fingerprints": self._fingerprint_rows(),
            "motion": self._motion_rows(params),
            "quarantine": self._fault_rows(),
        }
        tally = (
            self._block["block"][0].as_py(),
            sum(self._block["wanted"].to_pylist()),
            sum(f.n_read for f in self._visited),
            sum(f.n_decoded for f in self._visited),
            sum(f.bytes_read for f in self._visited),
            started_ns,
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
        racy = np.array([is_racy(r.mtime_ns, r.read_ns) for r in reads], np.bool_)
        trusted = np.where(racy, UNTRUSTED, stat_ids(uris, sizes, mtimes))
        columns = {f.name: pa.array([v[f.name] for v in found], f.type) for f in KNOWN}
        columns |= {
            "uri": uris,
            "size_bytes": pa.array(sizes),
            "mtime_ns": pa.array(mtimes),
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
        at, ids = [s[0] for s in self._small], [s[1] for s in self._small]
        digits = to_hex(phash([s[2] for s in self._small if s[2] is not None]))
        present = np.array([s[2] is not None for s in self._small], np.bool_)
        place = pa.array(np.cumsum(present) - 1, mask=~present)
        return self._rows(schemas.FINGERPRINTS, at, ids, {"phash": digits.take(place)})

    def _motion_rows(self, params: MotionParams) -> pa.StructArray:
        at = [m[0] for m in self._motion]
        follows = np.array([m[2] is not None for m in self._motion], np.bool_)
        current = np.array([m[1] for m in self._motion], np.int64)
        ids = pair_ids(current, np.array([m[2] or 0 for m in self._motion], np.int64), follows)
        pairs = [(m[3], m[4]) for m in self._motion if m[3] is not None and m[4] is not None]
        now = np.array([p[0] for p in pairs], np.uint8).reshape(len(pairs), *TILES)
        last = np.array([p[1] for p in pairs], np.uint8).reshape(len(pairs), *TILES)
        absent = np.array([m[3] is None for m in self._motion], np.bool_)
        scores = motion_scores(now, last, params)._asdict()
        return self._rows(schemas.MOTION, at, ids, {name: _spread(values, absent) for name, values in scores.items()})

    def _fault_rows(self) -> pa.StructArray:
        place = pa.array([row for row, _, _ in self._faults], pa.int64())
        taken = {n: self._block[n].take(place).combine_chunks() for n in ("stream_id", "frame_idx", "uri")}
        taken["stage"] = pa.array([stage for _, stage, _ in self._faults], pa.string())
        taken["error_type"] = pa.array([type(e).__name__ for _, _, e in self._faults], pa.string())
        taken["error"] = pa.array([str(e) for _, _, e in self._faults], pa.string())
        return pa.StructArray.from_arrays([taken[f.name] for f in FAULT], fields=list(FAULT))


def _spread(values: npt.NDArray[np.float32], absent: npt.NDArray[np.bool_]) -> pa.Array:
    """Return an Arrow array with the values where `absent` is false, in order, and nulls where it is true."""
    full = np.zeros(len(absent), np.float32)
    full[~absent] = values
    return pa.array(full, mask=absent)
