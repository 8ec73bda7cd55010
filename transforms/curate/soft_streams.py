"""How sharp each stream is as a whole, and whether its frames are too much alike to tell blur from a soft subject."""

from __future__ import annotations

import polars as pl

_LEAST_FRAMES = 12
_SHARPNESS_RATIO = 0.5
_LUMA_SPREAD, _CONTRAST_SPREAD = 20.0, 0.13


def stream_levels(frames: pl.DataFrame, stream: str, floor: float) -> pl.DataFrame:
    """Return a row for each stream: `level`, the upper quartile of its sharpness, and `alike`.

    `frames` are those that are judged for blur, with the columns `stream`, `sharpness`, `luma_mean` and `contrast`.

    A stream is `alike` if its sharpness, from the lowest tenth to the highest fiftieth of its frames, is within a
    factor of two, or below `floor`, and its frames do not differ as unlike scenes do: in the interquartile ranges of
    both luma (more than 20 of 255) and of contrast relative to it (more than 0.13). Light alone changes the first, and
    what comes into a fixed image the second. A camera that shows unlike scenes, none of them sharp, is out of focus;
    images of one thing that are all soft say nothing on it. Of fewer than 12 frames no stream is alike, since so few of
    unlike scenes often look so. docs/evaluation.md has the evidence.
    """

    def quantile(values: pl.Expr, share: float) -> pl.Expr:
        return values.quantile(share, "nearest")

    def spread(values: pl.Expr) -> pl.Expr:
        return quantile(values, 0.75) - quantile(values, 0.25)

    sharpness, luma = pl.col("sharpness"), pl.col("luma_mean")
    low, high = quantile(sharpness, 0.1), quantile(sharpness, 0.98)
    is_tight = (low >= _SHARPNESS_RATIO * high) | (high < floor)
    contrast = pl.col("contrast") / luma.clip(1.0)
    is_unlike = (spread(luma) > _LUMA_SPREAD) & (spread(contrast) > _CONTRAST_SPREAD)
    alike = is_tight & ~is_unlike & (sharpness.count() >= _LEAST_FRAMES)
    found = frames.group_by(stream).agg(level=quantile(sharpness, 0.75), alike=alike)
    return found.with_columns(pl.col("alike").fill_null(False))
