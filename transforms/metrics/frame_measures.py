"""Measures of the pixel pass, one class per stage: from the kernels of this folder to the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.frames.image import TILES, Gray
from transforms.frames.pixel_measure import Visit
from transforms.metrics.hashing import layout_column, layouts, phash, to_hex
from transforms.metrics.imagehashes import HASHES, FingerprintParams, imagehashes
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

_AT_ONCE = 2048
"""Small images that are collected before a kernel takes them together, which bounds memory for long blocks."""


class QualityMeasure:
    """Sharpness and exposure."""

    def __init__(self, blur: BlurParams) -> None:
        self._blur = blur
        self._scratch = Scratch()
        self._found: list[tuple[PictureMeasures, npt.NDArray[np.float32]] | None] = []

    def measure(self, visit: Visit) -> tuple[PictureMeasures, npt.NDArray[np.float32]] | None:
        """Return the measures of the image and its tone histogram, shape (256,); None if it does not decode."""
        pixels = visit.frame.pixels()
        if pixels is None:
            return None
        return measure_picture(pixels.gray, self._blur, self._scratch), tone_histogram(pixels.small)

    def add(self, measured: tuple[PictureMeasures, npt.NDArray[np.float32]] | None) -> None:
        """Take in what `measure` returned."""
        self._found.append(measured)

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns of `quality`."""
        found = [m for m in self._found if m is not None]
        absent = np.array([m is None for m in self._found], np.bool_)
        fields = PictureMeasures._fields
        scores = np.array([scores for scores, _ in found], np.float32).reshape(len(found), len(fields))
        tones = np.array([tones for _, tones in found], np.float32).reshape(len(found), 256)
        measures = dict(zip(fields, scores.T, strict=True)) | tone_statistics(tones)
        return {name: _spread(values, absent) for name, values in measures.items()}


class FingerprintMeasure:
    """Perceptual hash and layout, and the hashes of imagehash that are requested."""

    def __init__(self, fingerprints: FingerprintParams) -> None:
        self._also = fingerprints.chosen
        self._others: list[Mapping[str, str]] = []
        self._present: list[bool] = []
        self._smalls: list[Gray] = []
        self._tiles: list[Gray] = []
        self._hashes: list[npt.NDArray[np.uint64]] = []
        self._layouts: list[npt.NDArray[np.uint8]] = []

    def measure(self, visit: Visit) -> tuple[Gray, Gray, Mapping[str, str]] | None:
        """Return the small image, the tiles, and other hashes by name; None if the frame does not decode."""
        pixels = visit.frame.pixels()
        if pixels is None:
            return None
        others = imagehashes(visit.frame.color(), self._also) if self._also else {}
        return pixels.small, pixels.tiles, others

    def add(self, measured: tuple[Gray, Gray, Mapping[str, str]] | None) -> None:
        """Take in what `measure` returned."""
        self._present.append(measured is not None)
        self._others.append({} if measured is None else measured[2])
        if measured is not None:
            self._smalls.append(measured[0])
            self._tiles.append(measured[1])
            if len(self._smalls) >= _AT_ONCE:
                self._settle()

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns of `fingerprints`."""
        self._settle()
        present = np.array(self._present, np.bool_)
        place = pa.array(np.cumsum(present) - 1, mask=~present)
        hashes, cells = to_hex(np.concatenate(self._hashes)), layout_column(np.concatenate(self._layouts))
        columns = {"phash": hashes.take(place), "layout": cells.take(place)}
        for name in HASHES:
            columns[name] = pa.array([found.get(name) for found in self._others], pa.string())
        return columns

    def _settle(self) -> None:
        self._hashes.append(phash(self._smalls))
        self._layouts.append(layouts(_stacked(self._tiles)))
        self._smalls, self._tiles = [], []


class _Moved(NamedTuple):
    """Tiles of a frame and of the one before it, where both decode, and what is stored of the frame itself."""

    tiles: tuple[Gray, Gray] | None
    still: npt.NDArray[np.uint8] | None
    sketch: Int16Array | None


class MotionMeasure:
    """Motion since the frame before, and what frames that are far apart are compared by."""

    def __init__(self, motion: MotionParams) -> None:
        self._motion = motion
        self._added: list[_Moved] = []
        self._pairs: list[tuple[Gray, Gray]] = []
        self._absent: list[bool] = []
        self._scores: list[MotionScores] = []

    def measure(self, visit: Visit) -> _Moved:
        """Return tiles and sketch; those of an image that does not decode, or is not stored, are None."""
        pixels = visit.frame.pixels()
        last = visit.before.pixels() if visit.before else None
        still = still_tiles(pixels.tiles[None])[0] if pixels and keeps_tiles(visit.frame_idx) else None
        sketched = sketch(pixels.gray) if pixels and visit.frame.begins_group(visit.before) else None
        return _Moved((pixels.tiles, last.tiles) if pixels and last else None, still, sketched)

    def add(self, measured: _Moved) -> None:
        """Take in what `measure` returned."""
        self._absent.append(measured.tiles is None)
        self._added.append(measured._replace(tiles=None))
        if measured.tiles is not None:
            self._pairs.append(measured.tiles)
            if len(self._pairs) >= _AT_ONCE:
                self._settle()

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns of `motion`."""
        self._settle()
        absent = np.array(self._absent, np.bool_)
        scores = {name: np.concatenate([getattr(s, name) for s in self._scores]) for name in MotionScores._fields}
        columns = {name: _spread(values, absent) for name, values in scores.items()}
        stills, sketches = [m.still for m in self._added], [m.sketch for m in self._added]
        return columns | {"tiles": _packed(stills), "sketch": _packed(sketches)}

    def _settle(self) -> None:
        now, last = ([pair[side] for pair in self._pairs] for side in (0, 1))
        self._scores.append(motion_scores(_stacked(now), _stacked(last), self._motion))
        self._pairs = []


class MediaMeasure:
    """JPEG files of frames that have no file of their own."""

    def __init__(self) -> None:
        self._uris: list[str | None] = []

    def measure(self, visit: Visit) -> str | None:
        """Store the frame, and return its URI; None if it has a file of its own or does not decode."""
        jpeg = visit.frame.jpeg() if visit.save_jpeg else None
        return visit.save_jpeg(jpeg) if visit.save_jpeg and jpeg else None

    def add(self, measured: str | None) -> None:
        """Take in what `measure` returned."""
        self._uris.append(measured)

    def columns(self) -> dict[str, pa.Array]:
        """Return the column of `media`."""
        return {"picture": pa.array(self._uris, pa.string())}


def _stacked(tiles: Sequence[Gray]) -> npt.NDArray[np.uint8]:
    return np.array(tiles, np.uint8).reshape(len(tiles), *TILES)


def _packed(arrays: Sequence[npt.NDArray[Any] | None]) -> pa.Array:
    """Return arrays as Arrow binary values."""
    return pa.array([None if a is None else a.tobytes() for a in arrays], pa.binary())


def _spread(values: npt.NDArray[np.float32], absent: npt.NDArray[np.bool_]) -> pa.Array:
    """Return an Arrow array with the values where `absent` is false, in order, and nulls where it is true."""
    full = np.zeros(len(absent), np.float32)
    full[~absent] = values
    return pa.array(full, mask=absent)
