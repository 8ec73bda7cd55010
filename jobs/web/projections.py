"""A map of the frames: their vectors projected onto a plane, so that frames that look alike are near one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow.compute as pc

import schemas
from jobs.core.errors import UserError
from jobs.web.frame_columns import Array, places
from jobs.web.frame_vectors import KINDS, By, are_there, parts, table_of
from jobs.web.project_data import Shown

MapBy = By | Literal["umap-embedding", "umap-layout"]
STORED: tuple[MapBy, ...] = ("umap-embedding", "umap-layout")
"""Maps that `winnow map` computes; others are computed when they are first requested."""

NOWHERE = np.uint16(65535)
"""The coordinates of a frame that has no vector."""

SIDE = 65534
"""The largest coordinate: the map is a square from 0 to this."""

_SAMPLE = 20_000
_LEAST = 100
_OUTSIDE = 0.001
_MARGIN = 0.03


@dataclass(frozen=True)
class FrameMap:
    """Where each frame is on the map: uint16, shape (N,) each; `NOWHERE` for those without a vector.

    `explained` is the share of the variance of the vectors along each axis, for a projection that has one.
    """

    x: Array
    y: Array
    explained: tuple[float, float] | None = None

    @property
    def known(self) -> Array:
        """Return which frames are on the map, boolean, shape (N,)."""
        return self.x != NOWHERE

    def nearest(self, x: float, y: float) -> int | None:
        """Return the row of the frame nearest to a place, from 0 to 1 each way; None on an empty map."""
        rows = np.flatnonzero(self.known)
        if not len(rows):
            return None
        away = (self.x[rows] - np.float32(x * SIDE)) ** 2 + (self.y[rows] - np.float32(y * SIDE)) ** 2
        return int(rows[away.argmin()])


def kinds(shown: Shown) -> list[MapBy]:
    """Return the maps that there are: principal components of vectors, those of a model first, and stored ones."""
    there: list[MapBy] = [kind for kind in KINDS if are_there(shown, kind)]
    stored = shown.frames.held("projections", (schemas.PROJECTIONS,), lambda: _names(shown))
    return [*there, *(name for name in STORED if name in stored)]


def frame_map(shown: Shown, by: MapBy) -> FrameMap:
    """Return a map: the first two principal components of vectors, or what `winnow map` has stored.

    Raises `UserError` where there are no vectors, or nothing was stored.
    """
    vectors = next((kind for kind in KINDS if kind == by), None)
    if vectors is None:
        if by not in kinds(shown):
            raise UserError(f"there is no map {by}; `winnow map --by {by.partition('-')[2]}` computes it")
        tables = (schemas.PROJECTIONS, schemas.FRAMES)
        return shown.frames.held(f"map {by}", tables, lambda: _stored(shown, by))
    table = table_of(vectors)
    if not are_there(shown, vectors):
        raise UserError(
            f"there are no vectors of kind {by}; run the streams with the stage {table.written_by} (--add-stage "
            f"{table.written_by})"
        )
    return shown.frames.held(f"map {by}", (table, schemas.FRAMES), lambda: _principal(shown, vectors))


def _names(shown: Shown) -> frozenset[str]:
    return frozenset(shown.store.read(schemas.PROJECTIONS, ("projection",))["projection"].unique().to_pylist())


def _stored(shown: Shown, name: str) -> FrameMap:
    """Return the places that were stored; frames that came later are on no map."""
    rows = shown.store.read(schemas.PROJECTIONS, ("projection", *schemas.FRAME_KEY, "x", "y"))
    rows = rows.filter(pc.equal(rows["projection"], name))
    flat = np.full((len(shown.frames.keys), 2), np.nan, np.float32)
    place = places(shown.frames.keys, rows)
    there = place >= 0
    flat[place[there]] = np.stack([rows["x"].to_numpy(), rows["y"].to_numpy()], axis=1)[there]
    return FrameMap(*_placed(flat))


def inside(found: FrameMap, polygon: Array) -> Array:
    """Return which frames are inside of a polygon by the even-odd rule, boolean, shape (N,).

    `polygon` has x and y from 0 to 1 of its corners, shape (M, 2).
    """
    corners = polygon.astype(np.float32) * SIDE
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = found.known & (found.x >= low[0]) & (found.x <= high[0]) & (found.y >= low[1]) & (found.y <= high[1])
    rows = np.flatnonzero(near)
    x, y = found.x[rows].astype(np.float32), found.y[rows].astype(np.float32)
    odd = np.zeros(len(rows), np.bool_)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            odd ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    mask = np.zeros(len(found.x), np.bool_)
    mask[rows[odd]] = True
    return mask


def _principal(shown: Shown, by: By) -> FrameMap:
    """Project vectors onto the plane in which they vary most, found from a sample of them."""
    n = len(shown.frames.keys)
    # Every k-th frame is as good a sample as any: neighbours in a stream are alike.
    step = max(1, n // _SAMPLE)
    # Twice through the table, so that the vectors of all frames are never in memory at once.
    sample = _sampled(shown, by, step)
    if len(sample) < _LEAST:
        sample = _sampled(shown, by, 1)
    if not len(sample):
        return FrameMap(np.full(n, NOWHERE), np.full(n, NOWHERE))
    length = sample.shape[1]
    mean = sample.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov((sample - mean).T.astype(np.float64), bias=True).reshape(length, length))
    plane = np.zeros((length, 2), np.float32)
    for at in range(min(2, length)):
        axis = axes[:, -1 - at]
        # The sign of an axis is arbitrary: the largest part of it points upwards.
        plane[:, at] = axis * np.sign(axis[np.abs(axis).argmax()])
    flat = np.full((n, 2), np.nan, np.float32)
    for part in parts(shown, by):
        if len(part.rows):
            flat[part.rows] = (part.vectors - mean) @ plane
    total = max(float(values.sum()), 1e-12)
    shares = [max(0.0, float(values[-1 - at])) / total if at < length else 0.0 for at in range(2)]
    return FrameMap(*_placed(flat), (shares[0], shares[1]))


def _sampled(shown: Shown, by: By, step: int) -> Array:
    """Return the vectors of each `step`-th frame, shape (M, D)."""
    found = [part.vectors[part.rows % step == 0] for part in parts(shown, by) if len(part.rows)]
    return np.concatenate(found) if found else np.empty((0, 0), np.float32)


def _placed(flat: Array) -> tuple[Array, Array]:
    """Return coordinates, NaN for none, as places on the map; the few that are far outside are at its edge."""
    there = ~np.isnan(flat[:, 0])
    axes = []
    for values in flat.T:
        known = values[there]
        low, high = np.quantile(known, (_OUTSIDE, 1 - _OUTSIDE)) if len(known) else (0.0, 1.0)
        margin = _MARGIN * (high - low)
        scaled = (values - (low - margin)) / max(high - low + 2 * margin, 1e-9)
        with np.errstate(invalid="ignore"):
            place = np.clip(scaled, 0, 1) * SIDE
        axes.append(np.where(there, np.nan_to_num(place), NOWHERE).astype(np.uint16))
    return axes[0], axes[1]
