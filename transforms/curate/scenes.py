"""Scene boundaries of a stream, cuts and fades, detected from stored layouts without reading images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le

from transforms.core.intervals import interval_rows
from transforms.core.table_stage import TableInput, TableOutput
from transforms.metrics.hashing import LAYOUT_SIDE, layout_array

BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]
Layouts = npt.NDArray[np.uint8]

Begins = Literal["start", "cut", "fade"]
_NEIGHBOURS = 2
_ASIDE = 3
_LEAST_ASIDE = 2


@dataclass(frozen=True)
class SceneParams:
    """When a new scene begins.

    `cut`: correlation of two frames' layouts, -1..1, below which they show different scenes. Adjacent frames of one
    scene stay above 0.75, images of different places below 0.7 (docs/evaluation.md).
    `steadiness`: a cut must change this many times as much as the frames around it do, so that a panning camera, or
    sparse frames from a moving car, give no cuts.
    `flash`: frames that lightning, a decoding error or a passing lorry may last without counting as a change of scene.
    `sparse`: seconds between two frames from which sampling is so sparse that a scene may last for one frame only.
    `sparse_cut`: with such sampling, a cut is also where none of three frames before correlates with one of three
    frames after by more than this.
    `faint`: standard deviation of a layout's luma below which the image has no content: black, white or fog. After it a
    new scene begins if the image differs from the one before.
    """

    cut: Annotated[float, Ge(-1), Le(1)] = 0.7
    steadiness: Annotated[float, Ge(1)] = 3.0
    flash: Annotated[int, Ge(0), Le(100)] = 3
    sparse: Annotated[float, Ge(0)] = 0.75
    sparse_cut: Annotated[float, Ge(-1), Le(1)] = 0.2
    faint: Annotated[float, Ge(0), Le(127.5)] = 6.0


@dataclass(frozen=True)
class Scenes:
    """The scenes of one stream, in order and without gaps: positions of their first and last frames, shape (M,), int64.

    `begins` says how each scene begins: at the stream's `start`, with a `cut` or with a `fade`.
    """

    first: Int64Array
    last: Int64Array
    begins: list[Begins]


def find_scenes(
    layouts: Layouts, decodable: BoolArray, params: SceneParams, seconds: npt.NDArray[np.float64] | None = None
) -> Scenes:
    """Divide one stream into scenes.

    `layouts` has shape (N, 64), uint8, in frame order (`transforms.metrics.hashing.layouts`), arbitrary where
    `decodable`, shape (N,), is false; such frames belong to the surrounding scene. `seconds`, shape (N,), is the time
    of each frame, NaN or None where unknown. A cut is a change that is larger than those around it (`steadiness`), as
    in PySceneDetect's adaptive detector, and does not revert within a few frames (`flash`); a fade is a run of frames
    without content between different scenes, which it separates in its middle.
    """
    n = len(decodable)
    if not n:
        return Scenes(np.empty(0, np.int64), np.empty(0, np.int64), [])
    decoded = np.flatnonzero(decodable)
    cells = layouts[decoded]
    visible = _contrast(cells) >= params.faint
    cuts = _cuts(cells, visible, params)
    if seconds is not None:
        cuts = np.union1d(cuts, _sparse_cuts(cells, visible, seconds[decoded], params))
    fades = _fades(cells, visible, params)
    starts = np.concatenate([cuts, fades])
    order = np.argsort(starts)
    begins: list[Begins] = ["start"]
    begins += ["cut" if at < len(cuts) else "fade" for at in order.tolist()]
    first = np.concatenate([[0], decoded[starts[order]]])
    return Scenes(first, np.append(first[1:] - 1, n - 1), begins)


def _contrast(cells: Layouts) -> npt.NDArray[np.float64]:
    """Return the standard deviation of each layout, shape (N,), float64, without a float copy of all layouts."""
    total = cells.sum(axis=1, dtype=np.int64)
    squares = np.einsum("ij,ij->i", cells, cells, dtype=np.int64)
    n = max(1, cells.shape[1])
    return np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0))


def _agreement(cells: Layouts, first: Int64Array, second: Int64Array) -> npt.NDArray[np.float32]:
    # This import takes half a second, which a run without new frames should not spend.
    from transforms.curate.duplicates.hamming import agreements

    return agreements(cells, first, second)


def _cuts(cells: Layouts, visible: BoolArray, params: SceneParams) -> Int64Array:
    """Return the positions of the first frames after cuts."""
    at = np.flatnonzero(visible[1:] & visible[:-1]) + 1
    if not len(at):
        return at
    change = np.zeros(len(cells))
    change[at] = 1 - _agreement(cells, at, at - 1)
    found = at[change[at] > 1 - params.cut]
    around = _mean_around(change, found)
    found = found[change[found] > params.steadiness * around]
    # A change that reverts within `flash` frames is a flash: a frame after it resembles one before it.
    goes_back = np.zeros(len(found), np.bool_)
    for step in range(1, params.flash + 1):
        for here, there in ((found, found - 1 - step), (found - 1, found + step)):
            inside = (there >= 0) & (there < len(cells))
            goes_back[inside] |= _agreement(cells, here[inside], there[inside]) >= params.cut
    return found[~goes_back]


def _sparse_cuts(
    cells: Layouts, visible: BoolArray, seconds: npt.NDArray[np.float64], params: SceneParams
) -> Int64Array:
    """Return the positions of the first frames after cuts, among those sampled long after their predecessor.

    Adjacent changes cannot be compared there, since they may be in other scenes. Instead, frames on both sides are
    compared for any common content, static or moving; at least two frames are needed on each side.
    """
    n = len(cells)
    at = np.flatnonzero(visible[1:] & visible[:-1] & (np.diff(seconds) >= params.sparse)) + 1
    at = at[(at >= _LEAST_ASIDE) & (at <= n - _LEAST_ASIDE)]
    best = np.full(len(at), -1.0)
    for back in range(1, _ASIDE + 1):
        for ahead in range(_ASIDE):
            inside = np.flatnonzero((at - back >= 0) & (at + ahead < n))
            both = _agreement(cells, at[inside] - back, at[inside] + ahead)
            best[inside] = np.maximum(best[inside], both)
    return at[best <= params.sparse_cut]


def _mean_around(change: npt.NDArray[np.float64], at: Int64Array) -> npt.NDArray[np.float64]:
    """Return the mean change at the two frames on either side of each position, shape (M,), float64."""
    total = np.zeros(len(at))
    count = np.zeros(len(at))
    for step in (*range(-_NEIGHBOURS, 0), *range(1, _NEIGHBOURS + 1)):
        inside = (at + step >= 1) & (at + step < len(change))
        total[inside] += change[at[inside] + step]
        count += inside
    return total / np.maximum(count, 1)


def _fades(cells: Layouts, visible: BoolArray, params: SceneParams) -> Int64Array:
    """Return the middle positions of runs without content that separate different scenes."""
    lit = np.flatnonzero(visible)
    hole = np.flatnonzero(np.diff(lit) > 1)
    before, after = lit[hole], lit[hole + 1]
    if not len(before):
        return before
    changed = _agreement(cells, before, after) < params.cut
    return ((before + after + 1) // 2)[changed]


def compute_scenes(given: TableInput) -> TableOutput:
    """Return rows of `scenes`: each stream parted by the layouts of its frames and by their times."""
    params: SceneParams = given.params["scenes"]
    blank = bytes(LAYOUT_SIDE**2)
    tables = []
    n_frames = 0
    for stream, input_id in given.scopes.items():
        seen = given.above["fingerprints"].read(("frame_idx", "layout"), [stream]).sort_by("frame_idx")
        shown = pl.DataFrame(given.above["frames"].read(("frame_idx", "time_ns"), [stream]))
        numbers = pl.DataFrame(seen.select(["frame_idx"]))
        times = numbers.join(shown, on="frame_idx", how="left", maintain_order="left")["time_ns"]
        seconds = times.cast(pl.Float64).fill_null(np.nan).to_numpy() / 1e9
        decodable = pc.is_valid(seen["layout"]).to_numpy()
        layouts = layout_array(seen["layout"].fill_null(blank))
        found = find_scenes(layouts, decodable, params, seconds)
        rows = interval_rows(stream, input_id, seen["frame_idx"].to_numpy(), found.first, found.last)
        rows = rows.append_column("scene_idx", pa.array(np.arange(len(found.first))))
        tables.append(rows.append_column("begins", pa.array(found.begins, pa.string())))
        n_frames += seen.num_rows
    return TableOutput(pa.concat_tables(tables), n_frames)
