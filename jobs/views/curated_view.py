"""`curated`: one row per frame with the columns of every per-frame table."""

from __future__ import annotations

import pyarrow as pa

import schemas

NAME = "curated"

_JOINED = (
    schemas.QUALITY,
    schemas.FINGERPRINTS,
    schemas.MOTION,
    schemas.DUPLICATES,
    schemas.CURATION,
    schemas.ANNOTATED,
    schemas.PROPAGATED,
    schemas.OCR,
    schemas.CAPTIONS,
    schemas.ROUTING,
)
_OWN = frozenset({"stage_key", "input_id"})
# Binary columns are of no use to readers, who find them in `fingerprints` and `motion`.
_LEFT_OUT = frozenset({*_OWN, "content_id", "layout", "tiles", "sketch", *schemas.FRAME_KEY})


def _columns(table: schemas.Table) -> list[str]:
    return [column.name for column in table.columns if column.name not in _LEFT_OUT]


def schema() -> pa.Schema:
    """Return the columns: those of `frames`, then those of the other tables; null where a stage has no row."""
    own = [field for field in schemas.FRAMES.arrow_schema if field.name not in _OWN]
    return pa.schema([*own, *(table.arrow_schema.field(name) for table in _JOINED for name in _columns(table))])


def statement() -> str:
    """Return the SELECT behind `curated`."""
    columns = [f"f.* EXCLUDE ({', '.join(sorted(_OWN))})"]
    columns += [f"{table.name}.{name}" for table in _JOINED for name in _columns(table)]
    joins = " ".join(f"LEFT JOIN {table.name} USING (stream_id, frame_idx)" for table in _JOINED)
    return f"SELECT {', '.join(columns)} FROM frames f {joins}"
