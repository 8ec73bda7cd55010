"""What the pixel pass is given, a block of frames, and what it tells of it besides rows."""

from __future__ import annotations

import pyarrow as pa

import schemas

TABLES = {t.name: t for t in (schemas.FRAMES, schemas.QUALITY, schemas.FINGERPRINTS, schemas.MOTION, schemas.MEDIA)}
"""The stages of the pass, by the table that each writes."""

DEFAULT_STAGES = tuple(name for name in TABLES if name != "media")

EVERY_STAGE, MOTION_ONLY, ALL_BUT_MOTION = range(3)

KNOWN = pa.struct(
    [schemas.FRAMES.arrow_schema.field(n) for n in ("content_hash", "width", "height", "format", "status", "error")]
)
BLOCK = pa.schema(
    [
        # Number of the block, the same in all of its rows.
        pa.field("block", pa.int64(), nullable=False),
        pa.field("stream_id", pa.string(), nullable=False),
        pa.field("frame_idx", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        # Content id from an earlier run where size and mtime still vouch for it; null means: read and see.
        pa.field("trusted_id", pa.int64()),
        # Where they do not vouch for it: what that run found, which equal bytes confirm without a decode.
        pa.field("known", KNOWN),
        # Whether the row before this one is the frame before it in the stream, with no gap between.
        pa.field("follows", pa.bool_(), nullable=False),
        # False for a row that is there only because the next one is compared with its pixels.
        pa.field("wanted", pa.bool_(), nullable=False),
        # Which stages the row is for: `EVERY_STAGE`, or `MOTION_ONLY` and `ALL_BUT_MOTION` where two blocks share it.
        pa.field("share", pa.int8(), nullable=False),
        # The input_id of the row that these stages have for the frame; null where there is none.
        *(pa.field(f"have_{stage}", pa.int64()) for stage in TABLES if stage != "frames"),
    ]
)
FAULT = pa.struct(
    [
        schemas.QUARANTINE.arrow_schema.field(n)
        for n in ("stream_id", "frame_idx", "stage", "uri", "error_type", "error")
    ]
)
VERIFIED = {name: f"verified_{name}" for name in TABLES}
"""How many rows of each stage were only confirmed: the bytes had to be looked at, and are what an earlier run saw."""
TALLY = ("block", "n_frames", "n_read", "n_decoded", "bytes_read", "started_ns", *VERIFIED.values())
