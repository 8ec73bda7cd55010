"""`winnow select`: chooses some of the kept frames and writes down which, and why."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

import schemas
from jobs.errors import UserError
from jobs.query import View, check_condition
from jobs.store import Drop, Store
from jobs.workspace import Workspace
from transforms.curation import place_in_intervals
from transforms.hashing import layout_array
from transforms.selection import STRATEGIES, Candidates, Choice, Strategy, choose, look_vectors

Balance = Literal["stream", "scene", "hour"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY = list(schemas.FRAME_KEY)
_PARTS: dict[Balance, pl.Expr] = {
    "stream": pl.col("stream_id"),
    "scene": pl.concat_str("stream_id", pl.lit(" scene "), "scene_idx"),
    "hour": pl.format("{} h", pl.col("mtime_ns") // 3_600_000_000_000 % 24),
}
_REASONS: dict[Strategy, str] = {
    "uniform": "at equal distances",
    "stratified": "the best of its stretch",
    "diverse": "farthest from those before it",
    "coverage": "stands for most that had nothing near",
}


@dataclass(frozen=True)
class SelectRequest:
    """How many frames to choose, and how.

    `n` or `fraction` (of the frames there are to choose from) says how many. `balance`: every combination of these has
    an equal share. `after`: selections and releases whose frames count as chosen already. `quality`: by how much the
    softest frame of a stream is worth less than its sharpest, 0..1.
    """

    name: str
    strategy: Strategy
    n: int | None = None
    fraction: float | None = None
    balance: tuple[Balance, ...] = ()
    after: tuple[str, ...] = ()
    where: str | None = None
    quality: float = 0.5
    seed: int = 0
    run: str | None = None
    release: str | None = None


def select(workspace: Workspace, request: SelectRequest) -> dict[str, Any]:
    """Write the rows of a selection, in place of an earlier one of that name, and return what was chosen in numbers.

    Raises `UserError` for what cannot be asked for.
    """
    _check(request)
    store = Store(workspace.require().root)
    view = View.of(workspace, request.run, request.release)
    taken = _taken(workspace, store, request.after)
    frames = _frames(view, _wanted(view, request), taken)
    n_open = frames.filter(~pl.col("taken")).height
    n = request.n if request.n is not None else round((request.fraction or 0) * n_open)
    choice = choose(_candidates(frames, request), n, request.strategy, request.seed)
    rows = _rows(frames, choice, request)
    earlier = Drop(keys=pa.table({"selection": pa.array([request.name], pa.string())}))
    store.upsert(schemas.SELECTIONS, rows, "select", earlier)
    return {
        "name": request.name,
        "strategy": request.strategy,
        "asked": n,
        "chosen": rows.num_rows,
        "of": n_open,
        "taken_before": taken.height,
        "streams": dict(pl.DataFrame(rows).group_by("stream_id").len().sort("stream_id").iter_rows()),
    }


def frames_of(view: View, name: str) -> pl.DataFrame:
    """Return the frames of a selection that a view shows, by stream and number; an unknown one raises `UserError`."""
    rows = view.lazy("selections").filter(pl.col("selection") == name).select(_KEY).collect()
    if not rows.height:
        known = sorted(view.lazy("selections").select("selection").unique().collect()["selection"].to_list())
        raise UserError(f"there is no selection {name!r}; there are: {', '.join(known) or 'none yet'}")
    return rows


def _check(request: SelectRequest) -> None:
    problems = []
    if not _NAME.fullmatch(request.name):
        problems.append(f"selection name {request.name!r}: expected letters, digits, dots, dashes and underscores")
    if request.strategy not in STRATEGIES:
        problems.append(f"unknown strategy {request.strategy!r}; there are: {', '.join(STRATEGIES)}")
    if (request.n is None) == (request.fraction is None):
        problems.append("expected a number of frames or a fraction: give one of --n and --fraction")
    unknown = [part for part in request.balance if part not in _PARTS]
    problems += [f"unknown balance {part!r}; there are: {', '.join(_PARTS)}" for part in unknown]
    if request.name in request.after:
        problems.append(f"selection {request.name!r} cannot come after itself; give it another --name")
    if problems:
        raise UserError(problems)
    if request.where:
        check_condition(request.where)


def _wanted(view: View, request: SelectRequest) -> pl.DataFrame:
    """Return the frames there are to choose from."""
    if "curation" not in view.selection.keys:
        raise UserError("these frames were never curated (the run had no stage curation), so that none is kept")
    tests = ["status = 'ok'", "keep", *([f"({request.where})"] if request.where else [])]
    return pl.DataFrame(view.sql(f"SELECT stream_id, frame_idx FROM curated WHERE {' AND '.join(tests)}"))


def _taken(workspace: Workspace, store: Store, after: tuple[str, ...]) -> pl.DataFrame:
    """Return the frames of earlier selections and releases; of a release those that it has selections of, if any."""
    releases = set(store.read(schemas.RELEASES, ("name",))["name"].to_pylist())
    found = [pl.DataFrame(schema={"stream_id": pl.String, "frame_idx": pl.Int64})]
    for name in after:
        if name not in releases:
            found.append(frames_of(View.of(workspace), name))
            continue
        view = View.of(workspace, release=name)
        rows = view.lazy("selections").select(_KEY).collect()
        found.append(rows if rows.height else view.lazy("curation").filter("keep").select(_KEY).collect())
    return pl.concat(found).unique()


def _frames(view: View, wanted: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Return both kinds of frames with what the choice is made by, in order; `taken` tells them apart."""
    both = pl.concat(
        [taken.with_columns(taken=True), wanted.join(taken, on=_KEY, how="anti").with_columns(taken=False)]
    )
    known = view.lazy("frames").select(*_KEY, "content_hash", "mtime_ns")
    for table, columns in (("quality", ("sharpness",)), ("fingerprints", ("layout",)), ("duplicates", ("group_id",))):
        known = known.join(view.lazy(table).select(*_KEY, *columns), on=_KEY, how="left")
    frames = known.join(both.lazy(), on=_KEY, how="inner").collect()
    scenes = view.lazy("scenes").select("stream_id", "start_idx", "end_idx", "scene_idx").collect()
    placed = place_in_intervals(frames, scenes) if scenes.height else frames.with_columns(scene_idx=pl.lit(0, pl.Int64))
    return placed.with_columns(pl.col("scene_idx").fill_null(0)).sort(_KEY)


def _candidates(frames: pl.DataFrame, request: SelectRequest) -> Candidates:
    alone = pl.concat_str("stream_id", pl.lit(":"), "frame_idx")
    rank = pl.col("sharpness").rank("average").over("stream_id") / pl.len().over("stream_id")
    worth = 1 - request.quality * (1 - rank.fill_null(0))
    described = frames.select(
        stratum=_stratum(request).rank("dense").cast(pl.Int64) - 1,
        group=pl.coalesce("group_id", alone).rank("dense").cast(pl.Int64),
        worth=worth.cast(pl.Float32),
    )
    return Candidates(
        described["stratum"].to_numpy(),
        described["group"].to_numpy(),
        described["worth"].to_numpy(),
        frames["taken"].to_numpy(),
        _features(frames) if request.strategy in {"diverse", "coverage"} else np.empty((frames.height, 0), np.float32),
    )


def _features(frames: pl.DataFrame) -> npt.NDArray[np.float32]:
    seen = frames.select(pl.col("layout").fill_null(bytes(64))).to_arrow()["layout"]
    return look_vectors(layout_array(seen))


def _stratum(request: SelectRequest) -> pl.Expr:
    parts = request.balance or (("scene",) if request.strategy == "stratified" else ())
    return pl.concat_str([_PARTS[part] for part in parts], separator=", ") if parts else pl.lit("")


def _rows(frames: pl.DataFrame, choice: Choice, request: SelectRequest) -> pa.Table:
    chosen = frames.with_columns(stratum=_stratum(request))[choice.at]
    given = chosen.select(
        *_KEY,
        "content_hash",
        "stratum",
        selection=pl.lit(request.name),
        rank=pl.int_range(pl.len(), dtype=pl.Int64),
        strategy=pl.lit(request.strategy),
        reason=pl.lit(_REASONS[request.strategy]),
        value=pl.Series(choice.value, dtype=pl.Float32),
        created_ns=pl.lit(time.time_ns(), pl.Int64),
    )
    return given.to_arrow().select(schemas.SELECTIONS.arrow_schema.names).cast(schemas.SELECTIONS.arrow_schema)
