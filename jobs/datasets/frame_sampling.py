"""`winnow select`: samples kept frames, and records which, and why."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from jobs.core.choices import Balance, CompareBy
from jobs.core.errors import UserError
from jobs.core.naming import wrong_with
from jobs.storage.store import Drop, Store
from jobs.storage.workspace import Workspace
from jobs.views.statement import check_condition
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.core.intervals import place_in_intervals
from transforms.curate.selection import Candidates, Choice, FloatArray, choose, layout_vectors
from transforms.curate.strategy import STRATEGIES, Strategy
from transforms.metrics.hashing import layout_array
from transforms.models.embeddings import vector_array

_IMAGE_KEY = [*FRAME_KEY, "content_hash"]
_BY_LOOKS = frozenset({"diverse", "coverage"})
# A clip's mtime is the time of its last frame.
_FILE_TIME = pl.col("mtime_ns") - (pl.col("end_ns") - pl.col("time_ns")).fill_null(0)
_PARTS: dict[Balance, pl.Expr] = {
    "stream": pl.col("stream_id"),
    "scene": pl.concat_str("stream_id", pl.lit(" scene "), pl.col("scene_idx").cast(pl.String).str.zfill(6)),
    "hour": pl.format("{} h", pl.coalesce("t_ns", _FILE_TIME) // 3_600_000_000_000 % 24),
}
_REASONS: dict[Strategy, str] = {
    "uniform": "at equal distances",
    "stratified": "the best of its interval",
    "diverse": "farthest from those before it",
    "coverage": "represents most that had nothing near",
}


@dataclass(frozen=True)
class SelectRequest:
    """How many frames to choose, and how.

    `n` or `fraction` (of the available frames) is the number. `balance`: every combination of these has an equal share.
    `after`: selections, releases and `RELEASE:SELECTION`s whose frames count as chosen already. `quality`: by how much
    the softest frame of a stream is worth less than its sharpest, 0..1. `by`: what frames are compared by; None takes
    embeddings if all frames have one of the same model, else layouts.
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
    by: CompareBy | None = None
    run: str | None = None
    release: str | None = None


def select(workspace: Workspace, request: SelectRequest) -> dict[str, Any]:
    """Write the rows of a selection, replacing an earlier one of that name, and return counts.

    `by_file_time` is for how many of the frames hours are those of their files' last change, the time of the frames
    being unknown.

    Raises `UserError` for an invalid request.
    """
    _check(request)
    store = Store(workspace.require().root)
    view = View.of(workspace, request.run, request.release)
    with_vectors = request.strategy in _BY_LOOKS and request.by != "layout"
    taken = _taken(workspace, store, view, request.after, with_vectors)
    wanted = _described(view, _wanted(view, request), with_vectors).join(taken, on=_IMAGE_KEY, how="anti")
    frames = pl.concat([taken.with_columns(taken=True), wanted.with_columns(taken=False)]).sort(FRAME_KEY)
    by = _basis(frames, request)
    n = request.n if request.n is not None else round((request.fraction or 0) * wanted.height)
    choice = choose(_candidates(frames, request, by), n, request.strategy, request.seed)
    rows = _rows(frames, choice, request)
    earlier = Drop(keys=pa.table({"selection": pa.array([request.name], pa.string())}))
    store.create_tables([schemas.SELECTIONS])
    store.upsert(schemas.SELECTIONS, rows, "select", earlier)
    return {
        "name": request.name,
        "strategy": request.strategy,
        "by": by,
        "asked": n,
        "chosen": rows.num_rows,
        "of": wanted.height,
        "taken_before": taken.height,
        "by_file_time": wanted["t_ns"].null_count() if "hour" in request.balance else 0,
        "streams": dict(pl.DataFrame(rows).group_by("stream_id").len().sort("stream_id").iter_rows()),
    }


def frames_of(view: View, name: str) -> pl.DataFrame:
    """Return the frames of a selection, with the hashes of their images.

    That is the selection of that name that the view froze, or else the newest. Raises `UserError` if there is none.
    """
    for rows in (view.lazy("selections"), view.newest("selections")):
        found = rows.filter(pl.col("selection") == name).select(_IMAGE_KEY).collect()
        if found.height:
            return found
    known = sorted(view.newest("selections").select("selection").unique().collect()["selection"].to_list())
    raise UserError(f"there is no selection {name!r}; there are: {', '.join(known) or 'none yet'}")


def selections(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the selections, oldest first: name, frames, streams, strategy, and when they were made."""
    view = View.of(workspace)
    grouped = (
        view.newest("selections")
        .group_by("selection")
        .agg(
            n_frames=pl.len(),
            streams=pl.col("stream_id").unique().sort(),
            strategy=pl.col("strategy").first(),
            created_ns=pl.col("created_ns").max(),
        )
    )
    return grouped.sort("created_ns", "selection").collect().to_dicts()


def delete_selection(store: Store, name: str) -> None:
    """Delete a selection; releases keep theirs, and exports of it stay. Raises `UserError` for an unknown one."""
    known = set(store.read(schemas.SELECTIONS, ("selection",))["selection"].to_pylist())
    if name not in known:
        raise UserError(f"there is no selection {name!r}; there are: {', '.join(sorted(known)) or 'none yet'}")
    keys = pa.table({"selection": pa.array([name], pa.string())})
    store.upsert(schemas.SELECTIONS, schemas.SELECTIONS.empty(), "selection-delete", Drop(keys=keys))


def _check(request: SelectRequest) -> None:
    problems = []
    if wrong := wrong_with("selection", request.name):
        problems.append(wrong)
    if request.strategy not in STRATEGIES:
        problems.append(f"unknown strategy {request.strategy!r}; there are: {', '.join(STRATEGIES)}")
    if (request.n is None) == (request.fraction is None):
        problems.append("expected a number of frames or a fraction: give one of --n and --fraction")
    if request.n is not None and request.n < 1:
        problems.append(f"--n {request.n}: expected at least 1")
    shares = {"--fraction": request.fraction, "--quality": request.quality}
    problems += [
        f"{option} {value:g}: expected a number from 0 to 1"
        for option, value in shares.items()
        if value is not None and not 0 <= value <= 1
    ]
    if request.seed < 0:
        problems.append(f"--seed {request.seed}: expected 0 or more")
    unknown = [part for part in request.balance if part not in _PARTS]
    problems += [f"unknown balance {part!r}; there are: {', '.join(_PARTS)}" for part in unknown]
    if request.name in request.after:
        problems.append(f"selection {request.name!r} cannot come after itself; give it another --name")
    if problems:
        raise UserError(problems)
    if request.where is not None:
        check_condition(request.where)


def _wanted(view: View, request: SelectRequest) -> pl.DataFrame:
    """Return the frames there are to choose from."""
    if schemas.CURATION.written_by not in view.selection.keys:
        raise UserError("these frames were never curated (the run had no stage curation), so that none is kept")
    tests = ["status = 'ok'", "keep", *([f"({request.where})"] if request.where else [])]
    return pl.DataFrame(view.sql(f"SELECT stream_id, frame_idx, content_hash FROM curated WHERE {' AND '.join(tests)}"))


def _taken(workspace: Workspace, store: Store, view: View, after: tuple[str, ...], with_vectors: bool) -> pl.DataFrame:
    """Return the frames of earlier selections, of releases (those that they keep) and of selections in releases.

    Frames that `view` still has are described by their current columns, the others by those of their time.
    """
    releases = set(store.read(schemas.RELEASES, ("name",))["name"].to_pylist())
    images = [pl.DataFrame(schema=dict.fromkeys(_IMAGE_KEY, pl.String) | {"frame_idx": pl.Int64})]
    as_they_were = []
    for name in after:
        release, _, part = name.partition(":")
        then = View.of(workspace, release=release) if release in releases else View.of(workspace)
        if release in releases and not part:
            kept = (
                then.lazy("curation")
                .filter("keep")
                .join(then.lazy("frames"), on=FRAME_KEY)
                .select(_IMAGE_KEY)
                .collect()
            )
        else:
            kept = frames_of(then, part or name)
        images.append(kept)
        as_they_were.append(_described(then, kept, with_vectors))
    now = _described(view, pl.concat(images), with_vectors)
    return pl.concat([now, *as_they_were]).unique(_IMAGE_KEY, keep="first", maintain_order=True)


def _described(view: View, images: pl.DataFrame, with_vectors: bool) -> pl.DataFrame:
    """Return the frames that a view still has with this content, with the columns that selection needs."""
    # Few frames are wanted of many: those of each table are chosen before anything is joined.
    keys = images.lazy().select(FRAME_KEY).unique()
    end = view.lazy("frames").group_by("stream_id").agg(end_ns=pl.col("time_ns").max())
    known = view.lazy("frames").select(*_IMAGE_KEY, "t_ns", "mtime_ns", "time_ns").join(keys, on=FRAME_KEY, how="semi")
    known = known.join(images.lazy().select(_IMAGE_KEY), on=_IMAGE_KEY, how="semi").join(
        end, on="stream_id", how="left"
    )
    described = {"quality": ["sharpness"], "fingerprints": ["layout"], "duplicates": ["group_id"]}
    for table, columns in (described | ({"embeddings": ["model", "vector"]} if with_vectors else {})).items():
        rows = view.lazy(table).select(*FRAME_KEY, *columns).join(keys, on=FRAME_KEY, how="semi")
        known = known.join(rows, on=FRAME_KEY, how="left")
    frames = known.collect()
    scenes = view.lazy("scenes").select("stream_id", "start_idx", "end_idx", "scene_idx").collect()
    placed = place_in_intervals(frames, scenes)
    return placed.select(*known.collect_schema().names(), pl.col("scene_idx").fill_null(0))


def _basis(frames: pl.DataFrame, request: SelectRequest) -> CompareBy | None:
    """Return by what the strategy compares frames, or None. Raises `UserError` if some frames do not have it."""
    if request.strategy not in _BY_LOOKS:
        return None
    if request.by != "layout" and frames.height:
        models = frames["model"].unique()
        if models.null_count() == 0 and len(models) == 1:
            return "embedding"
        if request.by == "embedding":
            raise UserError(
                f"--by embedding: {frames['vector'].null_count():,} of {frames.height:,} frames have no embedding, the "
                f"others are of {models.drop_nulls().len()} models; run their streams with the stage embeddings, and "
                "one model"
            )
    if frames["layout"].null_count():
        blind = sorted(frames.filter(pl.col("layout").is_null())["stream_id"].unique().to_list())
        raise UserError(
            f"--strategy {request.strategy}: frames of {', '.join(blind)} have no layouts to compare; run these "
            "streams with the stage fingerprints (--add-stage fingerprints), or choose with --strategy uniform"
        )
    return "layout"


def _features(frames: pl.DataFrame, by: CompareBy | None) -> FloatArray:
    if by is None:
        return np.empty((frames.height, 0), np.float32)
    if by == "layout":
        return layout_vectors(layout_array(frames.select("layout").to_arrow()["layout"]))
    return vector_array(frames["vector"].to_frame().to_arrow()["vector"].cast(pa.list_(pa.float32())))


def _candidates(frames: pl.DataFrame, request: SelectRequest, by: CompareBy | None) -> Candidates:
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
        _features(frames, by),
    )


def _stratum(request: SelectRequest) -> pl.Expr:
    parts = request.balance or (("scene",) if request.strategy == "stratified" else ())
    return pl.concat_str([_PARTS[part] for part in parts], separator=", ") if parts else pl.lit("")


def _reasons(choice: Choice, request: SelectRequest, begun: bool) -> list[str]:
    reasons = [_REASONS[request.strategy]] * len(choice.at)
    if request.strategy == "diverse" and reasons and not begun:
        reasons[0] = "the best, with nothing to be far from"
    return reasons


def _rows(frames: pl.DataFrame, choice: Choice, request: SelectRequest) -> pa.Table:
    chosen = frames.with_columns(stratum=_stratum(request))[choice.at]
    given = chosen.select(
        *FRAME_KEY,
        "content_hash",
        "stratum",
        selection=pl.lit(request.name),
        rank=pl.int_range(pl.len(), dtype=pl.Int64),
        strategy=pl.lit(request.strategy),
        reason=pl.Series(_reasons(choice, request, bool(frames["taken"].any())), dtype=pl.String),
        value=pl.Series(choice.value, dtype=pl.Float32),
        created_ns=pl.lit(time.time_ns(), pl.Int64),
    )
    return given.to_arrow().select(schemas.SELECTIONS.arrow_schema.names).cast(schemas.SELECTIONS.arrow_schema)
