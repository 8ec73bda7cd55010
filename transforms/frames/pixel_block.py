"""Input and output schemas of the pixel pass: a block of frames in, rows per table and counts out."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa

import schemas

EVERY_STAGE, PAIRS_ONLY, ALL_BUT_PAIRS = range(3)
_HAVE = "have_"

_FOUND = ("content_hash", "width", "height", "format", "status", "damage", "white_level", "error")
KNOWN = pa.struct([schemas.FRAMES.arrow_schema.field(n) for n in _FOUND])
_COMMON = (
    # Number of the block, the same in all of its rows.
    pa.field("block", pa.int64(), nullable=False),
    pa.field("stream_id", pa.string(), nullable=False),
    pa.field("frame_idx", pa.int64(), nullable=False),
    pa.field("uri", pa.string(), nullable=False),
    # Time of the frame and where it comes from, as listed: from its name or a table; null means that EXIF may say it.
    pa.field("t_ns", pa.int64()),
    pa.field("time_source", pa.string()),
    # Content id from an earlier run if size and mtime are unchanged; null means that the file must be read.
    pa.field("trusted_id", pa.int64()),
    # Otherwise the values that the earlier run found: they are reused without decoding if the bytes are equal.
    pa.field("known", KNOWN),
    # Whether the previous row is the previous frame of the stream, without a gap between them.
    pa.field("follows", pa.bool_(), nullable=False),
    # False for a row that is only needed as the predecessor with which the next frame is compared.
    pa.field("wanted", pa.bool_(), nullable=False),
    # Which stages to compute: `EVERY_STAGE`, or `PAIRS_ONLY` and `ALL_BUT_PAIRS` if two blocks share the frame.
    pa.field("share", pa.int8(), nullable=False),
)
FAULT = pa.struct(
    [
        schemas.QUARANTINE.arrow_schema.field(n)
        for n in ("stream_id", "frame_idx", "stage", "uri", "error_type", "error")
    ]
)
VERIFIED = pa.map_(pa.string(), pa.int64())
"""How many existing rows of each stage were confirmed by reading the bytes again and finding them unchanged."""
TALLY = ("block", "n_frames", "n_read", "n_decoded", "bytes_read", "started_ns")


def have(stage: str) -> str:
    """Return the column with the input_id of the stage's existing row for the frame; null if it has none."""
    return _HAVE + stage


@lru_cache
def block_schema(stages: tuple[str, ...]) -> pa.Schema:
    """Return the schema of a block for these stages, besides `frames`: a row per frame, by stream and number.

    The row of a predecessor comes right before that of the frame that is compared with it.
    """
    return pa.schema([*_COMMON, *(pa.field(have(stage), pa.int64()) for stage in stages)])


def stages_with_rows(rows: pa.Table) -> frozenset[str]:
    """Return the stages, besides `frames`, that have rows for some frames of a block."""
    names = [name for name in rows.column_names if name.startswith(_HAVE)]
    return frozenset(name.removeprefix(_HAVE) for name in names if rows[name].null_count < rows.num_rows)
