"""What stands of the annotations: as the models found them, less and more what stronger models and people said.

Tables of models are never changed by what is said of them. Exports and scores read this instead.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

import schemas

NAME = "objects"
"""The name under which queries have it."""

HUMAN = ("approve", "correct", "add")
"""Decisions after which an object is there."""

COLUMNS = (*schemas.OBJECT_COLUMNS, "decision", "reviewer")

_KEY = list(schemas.FRAME_KEY)
_PICTURE = [*_KEY, "content_hash"]


def standing(table: Callable[[str], pl.LazyFrame]) -> pl.LazyFrame:
    """Return the objects that stand, given the tables by name: columns of `annotations`, `decision` and `reviewer`.

    On a frame that a person has looked at, they are what that person left; of other frames, what `found_by_models`
    says. What was said of another picture than the frame now shows does not count.
    """
    seen = reviewed(table)
    said = table("reviews").filter(pl.col("decision").is_in(HUMAN)).join(seen, on=_PICTURE, how="semi").select(COLUMNS)
    return pl.concat([said, found_by_models(table).join(seen, on=_KEY, how="anti")])


def found_by_models(table: Callable[[str], pl.LazyFrame]) -> pl.LazyFrame:
    """Return what was found: by the larger model where frames went to it, else as a vision language model left it.

    That is without what it dropped, and under the categories that it gave.
    """
    now = ["input_id", *_KEY]
    routed = table("routing").filter(route="larger")
    larger = table("annotated:larger").join(table("frames").select(now), on=now, how="semi")
    larger = larger.join(routed, on=_KEY, how="semi").select(_KEY)
    columns = list(schemas.OBJECT_COLUMNS)
    first = table("annotations").select(columns).join(larger, on=_KEY, how="anti")
    second = table("annotations:larger").select(columns).join(larger, on=_KEY, how="semi")
    verdicts = (
        table("escalated")
        .select("verdicts", reviewer="model")
        .explode("verdicts")
        .drop_nulls("verdicts")
        .with_columns(pl.col("verdicts").struct.unnest())
        .select("annotation_id", "reviewer", decision="verdict", other="category")
    )
    relabelled = pl.when(pl.col("decision") == "relabel").then(pl.col("other")).otherwise(pl.col("category"))
    return (
        pl.concat([first, second])
        .join(verdicts, on="annotation_id", how="left")
        .filter(pl.col("decision").ne_missing("drop"))
        .with_columns(category=relabelled)
        .select(COLUMNS)
    )


def reviewed(table: Callable[[str], pl.LazyFrame]) -> pl.LazyFrame:
    """Return the frames that a person has looked at as they are now, with the hashes of their pictures."""
    shown = table("frames").select(_PICTURE)
    return table("reviews").filter(pl.col("decision") == "seen").select(_PICTURE).join(shown, on=_PICTURE, how="semi")
