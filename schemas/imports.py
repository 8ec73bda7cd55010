"""The table of existing labels that were brought onto frames: `winnow labels import`."""

import pyarrow as pa

from schemas.declaration import FRAME_IDX, STREAM_ID, Column, Table
from schemas.reviews import REVIEWS

_OF_REVIEW = {column.name: column for column in REVIEWS.columns}
_OBJECT = ("category", "score", "bbox_x", "bbox_y", "bbox_w", "bbox_h", "mask_rle", "track_id", "text", "model")
_MORE = ("rotation", "polygons", "is_crowd", "attributes")

IMPORTS = Table(
    "imports",
    "Labels from elsewhere, and the frames that they describe completely. `winnow sql` shows the objects in "
    "`annotations` as well, as long as the frame shows the image that was labelled.",
    key=("annotation_id",),
    columns=(
        Column("annotation_id", pa.string(), "The object; for `frame` an id of source, frame and content."),
        STREAM_ID,
        FRAME_IDX,
        Column("content_hash", pa.string(), "Content of the labelled frame; labels are not valid for other content."),
        Column("kind", pa.string(), "`object`, or `frame` for a labelled frame as a whole, also one without objects."),
        Column("source", pa.string(), "`import:` and the name that was given to the labels."),
        Column(
            "role",
            pa.string(),
            "`ground-truth`: what is on the frame, as if a person had reviewed it; `suggestion`: not reviewed yet.",
        ),
        *(_OF_REVIEW[name] for name in (*_OBJECT, *_MORE)),
        Column("file_name", pa.string(), "Name of the image in the imported files."),
        Column(
            "matched_by",
            pa.string(),
            "How the frame was found: `content` (equal bytes), `path` (folders and name) or `name`.",
        ),
        Column("imported_ns", pa.int64(), "When the labels were imported, or last changed.", "ns since 1970"),
    ),
)
