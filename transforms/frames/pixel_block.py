"""Input and output schemas of the pixel pass: a block of frames in, rows per table and counts out."""

from __future__ import annotations

import pyarrow as pa

import schemas

TABLES = {t.name: t for t in (schemas.FRAMES, schemas.QUALITY, schemas.FINGERPRINTS, schemas.MOTION, schemas.MEDIA)}
"""The stages of the pixel pass, by the name of the table that each writes."""

DEFAULT_STAGES = tuple(name for name in TABLES if name != "media")

EVERY_STAGE, MOTION_ONLY, ALL_BUT_MOTION = range(3)

_FOUND = ("content_hash", "width", "height", "format", "status", "damage", "white_level", "error")
KNOWN = pa.struct([schemas.FRAMES.arrow_schema.field(n) for n in _FOUND])
BLOCK = pa.schema(
    [
        # Number of the block, the same in all of its rows.
        pa.field("block", pa.int64(), nullable=False),
        pa.field("stream_id", pa.string(), nullable=False),
        pa.field("frame_idx", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        # Content id from an earlier run if size and mtime are unchanged; null means that the file must be read.
        pa.field("trusted_id", pa.int64()),
        # Otherwise the values that the earlier run found: they are reused without decoding if the bytes are equal.
        pa.field("known", KNOWN),
        # Whether the previous row is the previous frame of the stream, without a gap between them.
        pa.field("follows", pa.bool_(), nullable=False),
        # False for a row that is only needed as the predecessor with which the next frame is compared.
        pa.field("wanted", pa.bool_(), nullable=False),
        # Which stages to compute: `EVERY_STAGE`, or `MOTION_ONLY` and `ALL_BUT_MOTION` if two blocks share the frame.
        pa.field("share", pa.int8(), nullable=False),
        # The input_id of the stage's existing row for the frame; null if it has none.
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
"""How many existing rows of each stage were confirmed by reading the bytes again and finding them unchanged."""
TALLY = ("block", "n_frames", "n_read", "n_decoded", "bytes_read", "started_ns", *VERIFIED.values())
