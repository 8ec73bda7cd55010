"""Curation: which frames are kept, and the reasons for dropping the others, from measures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le

import schemas
from transforms.curate.soft_streams import stream_levels

Reason = Literal[
    "corrupt",
    "damaged",
    "blurry",
    "dark",
    "overexposed",
    "low_information",
    "idle",
    "exact_duplicate",
    "near_duplicate",
]
REASONS: tuple[Reason, ...] = (
    "corrupt",
    "damaged",
    "blurry",
    "dark",
    "overexposed",
    "low_information",
    "idle",
    "exact_duplicate",
    "near_duplicate",
)
"""Every reason for dropping a frame, in the order of listing. Named as in CleanVision where it has the issue."""


FLAGS = ("odd_size", "frozen", "soft_throughout")
"""Every remark that does not drop a frame, in the order in which they are listed."""


class BlurLimits(NamedTuple):
    """Sharpness below `below` is blur if it is also low for its stream; below `floor` it is where frames differ."""

    below: float
    floor: float


BLUR_LIMITS = {
    "acutance": BlurLimits(0.22, 0.08),
    "laplacian_var": BlurLimits(100.0, 6.0),
    "tenengrad": BlurLimits(2500.0, 300.0),
}
"""Limits per blur method, for images measured at 640 pixels; docs/evaluation.md has the evidence."""


@dataclass(frozen=True)
class CurationParams:
    """Thresholds of the keep decision. All luma values are 0..255.

    `blurry_below`: a frame is blurry if its sharpness is below this and also low for its stream. None takes the limit
    of `blur.method`. Frames with bad exposure are not judged for blur.
    `blurry_relative`: sharpness is low for a stream below this times the stream's level, the upper quartile of its
    well-exposed frames, because all frames of a strongly compressed camera are soft without being blurred.
    `blurry_floor`: below this sharpness a frame is blurry, except in a stream that is soft throughout. None takes the
    limit of `blur.method`.
    `soft_streams`: whether `blurry_floor` holds for streams of twelve frames and more that are all alike, such as those
    of a microscope, of the sky or of a wall. Nothing tells a soft subject from a camera out of focus there. `keep` goes
    by `blurry_relative` and `blurry_below` alone in them, and flags what is below the floor `soft_throughout`; `drop`
    calls it blurry.
    `dark_mean`: a frame is dark if its mean luma is below.
    `dark_p95`: a frame is dark if the 95th percentile of its luma is below.
    `overexposed_mean`: a frame is overexposed if its mean luma is above.
    `overexposed_p50`: a frame is overexposed if its median luma is above.
    `low_information_entropy`: a frame has low information if the entropy of its luma histogram, in bits, is below.
    `ignore`: reasons that are not applied.
    """

    blurry_below: Annotated[float, Ge(0)] | None = None
    blurry_relative: Annotated[float, Ge(0), Le(1)] = 0.4
    blurry_floor: Annotated[float, Ge(0)] | None = None
    soft_streams: Literal["keep", "drop"] = "keep"
    dark_mean: Annotated[float, Ge(0), Le(255)] = 32.0
    dark_p95: Annotated[float, Ge(0), Le(255)] = 56.0
    overexposed_mean: Annotated[float, Ge(0), Le(255)] = 225.0
    overexposed_p50: Annotated[float, Ge(0), Le(255)] = 250.0
    low_information_entropy: Annotated[float, Ge(0), Le(8)] = 2.5
    ignore: tuple[Reason, ...] = ()

    def blur_limits(self, method: str) -> BlurLimits:
        """Return the limits for the scores of a blur method."""
        usual = BLUR_LIMITS[method]
        below = usual.below if self.blurry_below is None else self.blurry_below
        return BlurLimits(below, usual.floor if self.blurry_floor is None else self.blurry_floor)


MEASURES: Mapping[Reason, Mapping[str, str]] = {
    # A whole stream is not below its own level: it is the floor that drops it, where its frames are unlike.
    "blurry": {"sharpness": "blurry_floor"},
    "dark": {"luma_mean": "dark_mean", "luma_p95": "dark_p95"},
    "overexposed": {"luma_mean": "overexposed_mean", "luma_p50": "overexposed_p50"},
    "low_information": {"entropy": "low_information_entropy"},
}
"""For each reason that compares measures with thresholds: columns of `quality`, with the parameter of each."""

MEASURED = ("sharpness", "luma_mean", "luma_p50", "luma_p95", "contrast", "entropy")
"""The columns of `quality` that verdicts are made from."""

INPUT = pa.schema(
    [
        pa.field("stream_id", pa.dictionary(pa.int32(), pa.string())),
        *(schemas.FRAMES.arrow_schema.field(n) for n in ("frame_idx", "width", "height")),
        # Whether the frame's bytes decode to an image.
        pa.field("decodable", pa.bool_()),
        # Whether a part of its data is damaged; null if it does not decode, or where that is not known.
        pa.field("damaged_data", pa.bool_()),
        # Content id of the frame: equal for equal bytes.
        pa.field("content_id", pa.int64()),
        *(schemas.QUALITY.arrow_schema.field(name) for name in MEASURED),
        # Number of the idle interval that contains the frame, null for none, and whether the feed was frozen in it.
        pa.field("interval", pa.int64()),
        pa.field("frozen", pa.bool_()),
        # Number of its duplicate group; null for none.
        pa.field("group", pa.int64()),
    ]
)


def curate(frames: pa.Table, params: CurationParams, blur_method: str, idle_keep: int) -> pa.Table:
    """Decide for every frame whether it is kept.

    `frames` has schema `INPUT` and contains whole streams, and all members of every duplicate group. Returns the
    columns of the `curation` table without stage key and input id, one row per frame, in the given order.

    Of an idle interval the `idle_keep` sharpest frames without a reason of their own are kept, near duplicates
    included, as long as their bytes differ: they represent the interval. Of a duplicate group one frame is kept: the
    best of those without another reason (most pixels, then sharpest, then first), so that no scene is lost because its
    representative is blurry.
    """
    limits = params.blur_limits(blur_method)
    rows = _with_blur(_numbered(frames).with_columns(*_exposure(params)), params, limits)
    flawed = pl.any_horizontal("corrupt", "damaged", "blurry", "dark", "overexposed", "low_information")
    # A frame without measures (of a stream that another configuration measures) cannot represent others.
    rows = rows.with_columns(sound=~flawed & pl.col("luma_mean").is_not_null())
    rows = rows.with_columns(worth=_worth(rows))
    rows = rows.with_columns(*_idle(idle_keep, "idle" in params.ignore))
    has_reason = pl.col("idle") | ~pl.col("sound")
    rows = rows.with_columns(claim=pl.col("worth") + has_reason.cast(pl.Int64) * pl.len())
    rows = rows.with_columns(*_duplicates(params)).select(
        *REASONS, "soft_throughout", odd_size=_odd_size(), frozen=pl.col("frozen").fill_null(False)
    )
    decided = {
        "stream_id": frames["stream_id"].cast(pa.string()),
        "frame_idx": frames["frame_idx"],
        "keep": ~rows.select(pl.any_horizontal(REASONS)).to_series().to_numpy(),
        "reasons": _names_of(rows, REASONS),
        "flags": _names_of(rows, FLAGS),
    }
    columns = [c.name for c in schemas.CURATION.columns if c.name not in ("stage_key", "input_id")]
    return pa.table(decided, schema=pa.schema([schemas.CURATION.arrow_schema.field(n) for n in columns]))


def _numbered(frames: pa.Table) -> pl.DataFrame:
    """Return the frames with a number for their stream, `stream`, in order of the streams' names."""
    names = frames.unify_dictionaries()["stream_id"].combine_chunks()
    stream = np.empty(0, np.int64)
    if len(names):
        stream = pc.rank(names.dictionary, "ascending").to_numpy().astype(np.int64)[names.indices.to_numpy()]
    rows = pl.from_arrow(frames.drop_columns("stream_id").append_column("stream", pa.array(stream)))
    assert isinstance(rows, pl.DataFrame)
    return rows


def _worth(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Return the rank of each frame among all, 0 for the best, shape (N,), int64."""
    pixels = pl.col("width").cast(pl.Int64) * pl.col("height")
    keys = (pixels, pl.col("sharpness"), pl.col("stream"), pl.col("frame_idx"))
    order = pl.arg_sort_by(keys, descending=(True, True, False, False), nulls_last=True)
    worth = np.empty(rows.height, np.int64)
    worth[rows.select(order).to_series().to_numpy()] = np.arange(rows.height)
    return worth


def _names_of(rows: pl.DataFrame, columns: Sequence[str]) -> pa.Array:
    """Return for every row the list of its boolean columns that are true."""
    bits = rows.select(pl.sum_horizontal(pl.col(name).cast(pl.Int32) * 2**at for at, name in enumerate(columns)))
    found, place = np.unique(bits.to_series().to_numpy(), return_inverse=True)
    lists = [[name for at, name in enumerate(columns) if mask >> at & 1] for mask in found.tolist()]
    return pa.array(lists, pa.list_(pa.string())).take(pa.array(place))


def _exposure(params: CurationParams) -> list[pl.Expr]:
    found = {
        "corrupt": ~pl.col("decodable"),
        "damaged": pl.col("damaged_data"),
        "dark": (pl.col("luma_mean") < params.dark_mean) | (pl.col("luma_p95") < params.dark_p95),
        "overexposed": (pl.col("luma_mean") > params.overexposed_mean) | (pl.col("luma_p50") > params.overexposed_p50),
        "low_information": pl.col("entropy") < params.low_information_entropy,
    }
    return [
        (pl.lit(False) if name in params.ignore else test.fill_null(False)).alias(name) for name, test in found.items()
    ]


def _with_blur(rows: pl.DataFrame, params: CurationParams, limits: BlurLimits) -> pl.DataFrame:
    """Add `blurry`, and `soft_throughout` for what is below the floor without being blurry."""
    if "blurry" in params.ignore:
        return rows.with_columns(blurry=pl.lit(False), soft_throughout=pl.lit(False))
    exposed = ~pl.any_horizontal("corrupt", "damaged", "dark", "overexposed", "low_information")
    levels = stream_levels(rows.filter(exposed), "stream", limits.floor)
    rows = rows.join(levels, on="stream", how="left", maintain_order="left")
    low_for_stream = pl.col("sharpness") < params.blurry_relative * pl.col("level")
    low = pl.col("sharpness") < limits.floor
    spared = low & pl.col("alike") & ~low_for_stream if params.soft_streams == "keep" else pl.lit(False)
    blurry = (low & ~spared) | ((pl.col("sharpness") < limits.below) & low_for_stream)
    return rows.with_columns(
        blurry=(exposed & blurry).fill_null(False), soft_throughout=(exposed & spared).fill_null(False)
    )


def _idle(keep: int, ignore: bool) -> list[pl.Expr]:
    """Mark the frames of idle intervals, `idle`, except the best sound ones, which represent them, `stands`."""
    if ignore:
        return [pl.lit(False).alias("idle"), pl.lit(False).alias("stands")]
    candidate = pl.when(pl.col("sound")).then("worth")
    inside = pl.col("interval").is_not_null()
    stands = inside & (candidate.rank("ordinal").over("interval") <= keep).fill_null(False)
    return [(inside & ~stands).alias("idle"), stands.alias("stands")]


def _duplicates(params: CurationParams) -> list[pl.Expr]:
    """Mark all frames of a group except that of the lowest `claim`; of equal bytes, all but one as exact duplicates."""
    grouped = pl.col("group").is_not_null()
    first_of_group = pl.col("claim") == pl.col("claim").min().over("group")
    first_of_bytes = pl.col("claim") == pl.col("claim").min().over("group", "content_id")
    exact = grouped & ~first_of_bytes
    near = grouped & first_of_bytes & ~first_of_group & ~pl.col("stands")
    return [
        (pl.lit(False) if name in params.ignore else mark).alias(name)
        for name, mark in (("exact_duplicate", exact), ("near_duplicate", near))
    ]


def _odd_size() -> pl.Expr:
    """Mark the frames whose size is not the most frequent one of their stream."""
    size = pl.col("width").cast(pl.Int64) * 2**32 + pl.col("height")
    usual = size.filter(pl.col("decodable")).mode().sort().first().over("stream")
    return (pl.col("decodable") & (size != usual)).fill_null(False)
