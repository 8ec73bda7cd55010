"""What is seen on frames: objects, and which frames were looked at."""

import pyarrow as pa

from schemas.core import FRAME_IDX, FRAME_KEY, STREAM_ID, Column, frame_table, stage_table


def _edge(name: str, doc: str, low: float | None = None) -> Column:
    return Column(name, pa.float32(), doc, "px", low=low)


ANNOTATIONS = stage_table(
    "annotations",
    "Objects on frames, in pixels of the full frame as `frames` has its size, counted from the top left corner.",
    ("annotation_id",),
    (
        Column("annotation_id", pa.string(), "Identity of the object: the same whenever it is computed again."),
        STREAM_ID,
        FRAME_IDX,
        Column("category", pa.string(), "What it is, in the words of the model."),
        Column("score", pa.float32(), "How sure the model is.", low=0, high=1),
        _edge("bbox_x", "Left edge of the box."),
        _edge("bbox_y", "Upper edge of the box."),
        _edge("bbox_w", "Width of the box.", low=0),
        _edge("bbox_h", "Height of the box.", low=0),
        Column(
            "mask_rle", pa.string(), "COCO's compressed run lengths of the mask; null for a box alone.", nullable=True
        ),
        Column("track_id", pa.int64(), "Number of the object over frames; null if not tracked.", nullable=True),
        Column("text", pa.string(), "What is written or said of it; null for most.", nullable=True),
        Column("source", pa.string(), "What found it, such as `onnx` or `motion`."),
        Column("model", pa.string(), "Name of the weights, or of the method where there are none."),
        Column("weights_hash", pa.string(), "SHA-256 of the weights; null where there are none.", nullable=True),
    ),
    stage="annotate",
    order=(*FRAME_KEY, "annotation_id"),
)

ANNOTATED = frame_table(
    "annotated",
    "Frames that were looked at, also those on which nothing was found; written after their objects.",
    (Column("n_objects", pa.int64(), "Rows of the frame in `annotations`.", "objects", low=0),),
    stage="annotate",
)
