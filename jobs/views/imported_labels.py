"""Imported labels that are valid now: of frames that still show the image that was labelled."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pyarrow as pa

import schemas
from schemas import FRAME_KEY

PREFIX = "import:"
"""What the `source` of an imported object begins with; the name of the import follows."""

GROUND_TRUTH, SUGGESTION = "ground-truth", "suggestion"
OBJECT, FRAME = "object", "frame"

_IMAGE = [*FRAME_KEY, "content_hash"]

Tables = Callable[[str], pl.LazyFrame]


def objects(table: Tables) -> pl.LazyFrame:
    """Return the imported objects on frames that show what was labelled, in the columns of `imports`."""
    return _shown(table).filter(kind=OBJECT)


def frames(table: Tables) -> pl.LazyFrame:
    """Return the labelled frames that show what was labelled, also those without objects: key, content and `role`."""
    return _shown(table).filter(kind=FRAME).select(*_IMAGE, "role", "source")


def with_ground_truth(reviews: pa.Table, imports: pa.Table) -> pa.Table:
    """Return reviews with a row `seen` for each frame with imported ground truth, in the columns that these have.

    `imports` has the columns of `imports`. A frame whose content is known is not to be asked about.
    """
    said = pl.DataFrame(imports).filter(kind=FRAME, role=GROUND_TRUTH).with_columns(decision=pl.lit("seen"))
    return pa.concat_tables([reviews, said.select(reviews.column_names).to_arrow().cast(reviews.schema)])


def _shown(table: Tables) -> pl.LazyFrame:
    shown = table("frames").select(_IMAGE)
    return table(schemas.IMPORTS.name).join(shown, on=_IMAGE, how="semi")
