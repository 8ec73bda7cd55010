"""Scenes of a stream: what lies between cuts and fades. Decides from stored layouts; reads no picture."""

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

    `cut`: agreement of two frames' layouts below which they show different scenes. Neighbouring frames of one scene
    stay above 0.75, pictures of different places below 0.7 (docs/evaluation.md).
    `steadiness`: a cut changes this many times as much as the frames around it do, so that a camera that is swung
    round, or sampled rarely from a moving car, is not cut to pieces.
    `flash`: frames that lightning, a decoding fault or a passing lorry may last before the scene counts as changed.
    `sparse`: seconds between two frames from which they are sampled so rarely that a scene may be over after one frame.
    `sparse_cut`: there, too, a cut is where none of three frames before agrees with one of three after by more.
    `faint`: standard deviation of a layout's luma below which there is nothing to see, in black, white and fog. After
    it the scene is a new one if it looks different than before.
    """

    cut: Annotated[float, Ge(-1), Le(1)] = 0.7
    steadiness: Annotated[float, Ge(1)] = 3.0
    flash: Annotated[int, Ge(0), Le(100)] = 3
    sparse: Annotated[float, Ge(0)] = 0.75
    sparse_cut: Annotated[float, Ge(-1), Le(1)] = 0.2
    faint: Annotated[float, Ge(0), Le(127.5)] = 6.0


@dataclass(frozen=True)
class Scenes:
    """The scenes of one stream, in order and without holes: positions of their first and last frames, shape (M,)."""

    first: Int64Array
    last: Int64Array
    begins: list[Begins]


def find_scenes(
    layouts: Layouts, decodable: BoolArray, params: SceneParams, seconds: npt.NDArray[np.float64] | None = None
) -> Scenes:
    """Part one stream into scenes.

    `layouts` has shape (N, 64), dtype uint8, in frame order (`transforms.metrics.hashing.layouts`), arbitrary where
    `decodable`, shape (N,), is false; such frames belong to the scene that they lie in. `seconds`, shape (N,), is when
    they are shown, NaN or None where that is not known. A cut is a change that neither
    the frames around it show (`steadiness`), as in PySceneDetect's adaptive detector, nor goes back within a moment
    (`flash`); a fade is a stretch of nothing to see between pictures of different scenes, and parts them in its middle.
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
    """Return the standard deviation of each layout, shape (N,), without an array of floats as large as they are."""
    total = cells.sum(axis=1, dtype=np.int64)
    squares = np.einsum("ij,ij->i", cells, cells, dtype=np.int64)
    n = max(1, cells.shape[1])
    return np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0))


def _agreement(cells: Layouts, first: Int64Array, second: Int64Array) -> npt.NDArray[np.float32]:
    # Half a second of import, which a run that finds nothing new need not pay.
    from transforms.curate.duplicates.hamming import agreements

    return agreements(cells, first, second)


def _cuts(cells: Layouts, visible: BoolArray, params: SceneParams) -> Int64Array:
    """Return the frames that cuts come before."""
    at = np.flatnonzero(visible[1:] & visible[:-1]) + 1
    if not len(at):
        return at
    change = np.zeros(len(cells))
    change[at] = 1 - _agreement(cells, at, at - 1)
    found = at[change[at] > 1 - params.cut]
    around = _mean_around(change, found)
    found = found[change[found] > params.steadiness * around]
    # What looks like a frame from before the jump, or is left for one like that, was there for a moment only.
    goes_back = np.zeros(len(found), np.bool_)
    for step in range(1, params.flash + 1):
        for here, there in ((found, found - 1 - step), (found - 1, found + step)):
            inside = (there >= 0) & (there < len(cells))
            goes_back[inside] |= _agreement(cells, here[inside], there[inside]) >= params.cut
    return found[~goes_back]


def _sparse_cuts(
    cells: Layouts, visible: BoolArray, seconds: npt.NDArray[np.float64], params: SceneParams
) -> Int64Array:
    """Return the frames that cuts come before, of those long after the one before.

    Neighbours cannot say there whether a change is a cut: they lie in other scenes. What they say is whether anything
    of the place, or of what passes through it, is seen on both sides; a look at two frames a side is the least.
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
    """Return the mean change at the frames beside these, two on each side, shape (M,)."""
    total = np.zeros(len(at))
    count = np.zeros(len(at))
    for step in (*range(-_NEIGHBOURS, 0), *range(1, _NEIGHBOURS + 1)):
        inside = (at + step >= 1) & (at + step < len(change))
        total[inside] += change[at[inside] + step]
        count += inside
    return total / np.maximum(count, 1)


def _fades(cells: Layouts, visible: BoolArray, params: SceneParams) -> Int64Array:
    """Return the frames in the middle of stretches of nothing to see that part different scenes."""
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
