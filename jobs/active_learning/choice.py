"""Which frames people are asked about in a round: the most uncertain ones, and some at random, none of them known."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

import schemas
from jobs.active_learning.options import LoopOptions
from jobs.core.errors import UserError
from jobs.review.frames_apart import COLUMNS, frames_apart, spread_of
from jobs.storage.store import Drop, Store
from jobs.training.options import TEST
from jobs.views import final_objects, snapshot_spec
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.core.identity import hash_strings

RANDOM, UNCERTAIN = "random", "uncertain"
"""What chose a frame, the beginning of the column `reason` of its row in `selections`."""

_STRATEGY = "loop"
_NEAREST = 1e-9
_IMAGE_KEY = (*FRAME_KEY, "content_hash")


@dataclass(frozen=True)
class ChosenFrames:
    """The frames of a round with `reason` and `value`, and what was counted while they were chosen.

    `eligible`: kept frames that nobody has reviewed. `duplicates`: those left out since they are duplicates of what was
    reviewed or is measured on, or alike or next to each other. `sealed`: frames that versions are measured on.
    """

    frames: pl.DataFrame
    eligible: int
    duplicates: int
    sealed: int

    @property
    def n_random(self) -> int:
        """Return how many of them chance has chosen."""
        return self.frames.filter(pl.col("reason") == RANDOM).height


def selection_of(name: str, number: int) -> str:
    """Return the name of the selection that has the frames of a round."""
    return f"{name}-r{number}"


def choose(
    view: View,
    store: Store,
    options: LoopOptions,
    number: int,
    n: int,
    streams: Collection[str],
    has_model: bool,
) -> ChosenFrames:
    """Return at most `n` frames of some streams for a round of a loop, those by chance first; without a model all are.

    Chance draws from all frames that are eligible, before uncertainty does, so that these frames say how often
    the model errs where it is sure. Of the others come the most uncertain. Neither has a frame that somebody has
    reviewed, that an earlier round asked about, or that versions are measured on, nor a duplicate of one. The same
    tables give the same frames. Raises `UserError` where the loop is measured on the streams that it learns from.
    """
    pool = _pool(view)
    sealed, asked = _sealed(store, options, streams), _asked(store, options, number)
    reviewed = view.lazy(final_objects.REVIEWED).collect().select(_IMAGE_KEY)
    closed = pool.join(pl.concat([reviewed, asked]).unique(), on=_IMAGE_KEY, how="semi").select(FRAME_KEY)
    measured = pool.join(sealed, on="content_hash", how="semi").select(FRAME_KEY)
    out = pl.concat([closed, measured]).unique()
    is_mine = pl.col("stream_id").is_in(sorted(streams)) & pl.col("keep").fill_null(False)
    eligible = pool.filter(is_mine).join(out, on=FRAME_KEY, how="anti")
    steps = view.lazy(schemas.STREAMS.name).select("stream_id", "step").collect()
    queue = _Queue(pool.join(out, on=FRAME_KEY, how="semi"), steps, spread_of(view))
    shuffled = eligible.with_columns(uncertainty=_chances(eligible, f"{options.seed}:{options.name}:{number}"))
    # What another model was uncertain about is not what this one will be.
    by_chance = n if options.policy == RANDOM or not has_model else min(n, math.ceil(options.random_share * n))
    drawn = eligible.join(queue.first(shuffled, by_chance), on=FRAME_KEY, how="semi", maintain_order="left")
    rest = eligible.join(drawn.select(FRAME_KEY), on=FRAME_KEY, how="anti")
    n_rest = 0 if by_chance == n else n - drawn.height
    uncertain = rest.join(queue.first(rest, n_rest, drawn), on=FRAME_KEY, how="semi")
    causes = pl.format(f"{UNCERTAIN}: {{}}", pl.col("doubts").list.join(", ").fill_null(""))
    columns = [*_IMAGE_KEY, "reason", pl.col("uncertainty").fill_null(0.0).cast(pl.Float32).alias("value")]
    named = uncertain.sort("uncertainty", *FRAME_KEY, descending=[True, False, False]).with_columns(reason=causes)
    frames = [drawn.with_columns(reason=pl.lit(RANDOM)).select(columns), named.select(columns)]
    apart = queue.first(eligible, eligible.height).height
    return ChosenFrames(pl.concat(frames), eligible.height, eligible.height - apart, measured.height)


def record(store: Store, options: LoopOptions, number: int, chosen: ChosenFrames, job_id: str) -> None:
    """Record the frames of a round as a selection; what an attempt before has recorded is replaced."""
    name = selection_of(options.name, number)
    rows = chosen.frames.with_row_index("rank").with_columns(
        selection=pl.lit(name),
        rank=pl.col("rank").cast(pl.Int64),
        strategy=pl.lit(_STRATEGY),
        stratum=pl.lit(""),
        created_ns=pl.lit(time.time_ns(), pl.Int64),
    )
    table = rows.select(schemas.SELECTIONS.arrow_schema.names).to_arrow().cast(schemas.SELECTIONS.arrow_schema)
    store.create_tables([schemas.SELECTIONS])
    store.upsert(schemas.SELECTIONS, table, job_id, Drop(keys=pa.table({"selection": pa.array([name], pa.string())})))


def _pool(view: View) -> pl.DataFrame:
    """Return all frames that have an image: of other streams, too, since there may be duplicates of these."""
    columns = ", ".join((*_IMAGE_KEY, *COLUMNS, "doubts"))
    found = pl.DataFrame(view.sql(f"SELECT {columns} FROM curated WHERE status = 'ok'"))
    return found.with_columns(pl.col("stream_id", "content_hash").cast(pl.String)).sort(FRAME_KEY)


def _sealed(store: Store, options: LoopOptions, streams: Collection[str]) -> pl.DataFrame:
    """Return `content_hash` of the frames that versions are measured on."""
    measured = options.measured
    if measured.split:
        given = store.read(schemas.SPLITS, ("content_hash", "split"))
        return pl.DataFrame(given).filter(pl.col("split") == TEST).select("content_hash").unique()
    released = View(store, snapshot_spec.choose(store, None, measured.release))
    frames = released.lazy("frames").select("stream_id", "content_hash").collect()
    if both := sorted(set(frames["stream_id"].to_list()) & set(streams)):
        raise UserError(
            f"release {measured.release} has stream {both[0]}, from which the loop learns: expected one of other "
            f"streams alone (winnow release create NAME --streams …), or --on release:{measured.release}/{TEST}"
        )
    return frames.select("content_hash").unique()


def _asked(store: Store, options: LoopOptions, number: int) -> pl.DataFrame:
    """Return the frames that earlier rounds have asked about, reviewed or not."""
    earlier = [selection_of(options.name, each) for each in range(1, number)]
    rows = pl.DataFrame(store.read(schemas.SELECTIONS, ("selection", "strategy", *_IMAGE_KEY)))
    mine = rows.filter(pl.col("selection").is_in(earlier), pl.col("strategy") == _STRATEGY)
    return mine.select(pl.col(name).cast(pl.Int64 if name == "frame_idx" else pl.String) for name in _IMAGE_KEY)


def _chances(frames: pl.DataFrame, seed: str) -> pl.Series:
    """Return a number for each frame, 0..1, by a hash of it and the seed: the order by it is one by chance."""
    text = frames.select(pl.concat_str(pl.lit(seed), "stream_id", "frame_idx", separator="\x1f")).to_series()
    return pl.Series(hash_strings(text.to_arrow()) >> 11).cast(pl.Float64) / 2**53


@dataclass(frozen=True)
class _Queue:
    """Frames that are not asked about, `out`, and how far others have to be apart from them and from one another."""

    out: pl.DataFrame
    steps: pl.DataFrame
    spread: float

    def first(self, frames: pl.DataFrame, n: int, taken: pl.DataFrame | None = None) -> pl.DataFrame:
        """Return the keys of the `n` most uncertain frames: no duplicate of one that is `out`, `taken` or among them.

        Nor are two of them of one stream within `spread` seconds.
        """
        if n <= 0 or not frames.height:
            return frames.clear().select(FRAME_KEY)
        closed = self.out if taken is None else pl.concat([self.out, taken])
        # Without a spread there is still no second one of a group.
        everything = pl.concat([frames, closed.select(frames.columns)], how="vertical_relaxed")
        return frames_apart(everything, closed, self.steps, self.spread or _NEAREST, n).select(FRAME_KEY)
