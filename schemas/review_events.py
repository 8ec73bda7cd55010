"""Tables of review in the browser: every edit as an event, and the settings of a project."""

import pyarrow as pa

from schemas.declaration import FRAME_IDX, STREAM_ID, Column, Table

REVIEW_EVENTS = Table(
    "review_events",
    "Edits that people made in the browser, in order, each once. From them the state of every frame can be made again. "
    "What was approved is in `reviews` as well.",
    key=("event_id",),
    columns=(
        Column("seq", pa.int64(), "Number of the event in the project, without a gap.", low=1),
        Column("event_id", pa.string(), "Id that the browser gave the event; `seed-…` for a frame as it was before."),
        STREAM_ID,
        FRAME_IDX,
        Column("content_hash", pa.string(), "Content of the frame that was edited."),
        Column("width", pa.int64(), "Width of the upright frame.", "px", low=1),
        Column("height", pa.int64(), "Height of the upright frame.", "px", low=1),
        Column("revision", pa.int64(), "Revision of the frame after the event, without a gap; 0 for `seed`.", low=0),
        Column(
            "kind",
            pa.string(),
            "`seed` (the frame as it was before anybody edited it), `edit`, `submit`, `approve`, `return` or `reopen`.",
        ),
        Column("ops", pa.string(), "What changed, as a JSON list: operation, object, and its fields before and after."),
        Column("digest", pa.string(), "Hash of the request, by which a repeated one is known."),
        Column("state", pa.string(), "State of the frame after it: `open`, `submitted`, `returned` or `approved`."),
        Column("reviewer", pa.string(), "Who did it; empty for a frame that nobody had reviewed."),
        Column("note", pa.string(), "Note, such as why a frame was returned.", nullable=True),
        Column("at_ns", pa.int64(), "When it was stored.", "ns since 1970"),
        Column(
            "active_ms", pa.int64(), "How long the person worked on the frame before it.", "ms", nullable=True, low=0
        ),
    ),
    order=("seq",),
)

PROJECT_SETTINGS = Table(
    "project_settings",
    "Changes of the settings of a project and of its categories, in order; the last ones hold. None is ever changed: "
    "taking one back is a change of its own.",
    key=("change_id",),
    columns=(
        Column("change_id", pa.string(), "Id of the change."),
        Column("number", pa.int64(), "Number of the change, from 1.", low=1),
        Column(
            "kind",
            pa.string(),
            "`setting`; `colour`, `key`, `rename` or `merge` of a category; or `undo` of another change.",
        ),
        Column("subject", pa.string(), "Name of the setting or category; for `undo` the id of the change."),
        Column(
            "value", pa.string(), "The new value, as JSON; null where a setting has its default again.", nullable=True
        ),
        Column("author", pa.string(), "Who changed it."),
        Column("at_ns", pa.int64(), "When it was changed.", "ns since 1970"),
    ),
    order=("number",),
)
