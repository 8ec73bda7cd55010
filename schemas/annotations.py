"""What is seen on frames: objects with their masks and tracks, words, and which frames were looked at."""

import pyarrow as pa

from schemas.core import FRAME_IDX, FRAME_KEY, STREAM_ID, Column, Table, frame_table, stage_table


def _edge(name: str, doc: str, low: float | None = None) -> Column:
    return Column(name, pa.float32(), doc, "px", low=low)


_ID = Column("annotation_id", pa.string(), "Identity of the object: the same whenever it is computed again.")
_SOURCE = (
    Column("source", pa.string(), "What found it, such as `onnx` or `motion`."),
    Column("model", pa.string(), "Name of the weights, or of the method where there are none."),
    Column("weights_hash", pa.string(), "SHA-256 of the weights; null where there are none.", nullable=True),
)
_OBJECT = (
    _ID,
    STREAM_ID,
    FRAME_IDX,
    Column("category", pa.string(), "What it is, in the words of the model."),
    Column("score", pa.float32(), "How sure the model is.", low=0, high=1),
    _edge("bbox_x", "Left edge of the box."),
    _edge("bbox_y", "Upper edge of the box."),
    _edge("bbox_w", "Width of the box.", low=0),
    _edge("bbox_h", "Height of the box.", low=0),
    Column("mask_rle", pa.string(), "COCO's compressed run lengths of the mask; null for a box alone.", nullable=True),
    Column("track_id", pa.int64(), "Number of the object over frames; null if not tracked.", nullable=True),
    Column("text", pa.string(), "What is written or said of it; null for most.", nullable=True),
    *_SOURCE,
)
_IN_ORDER = (*FRAME_KEY, "annotation_id")

ANNOTATIONS = stage_table(
    "annotations",
    "Objects on frames, in pixels of the full frame as `frames` has its size, counted from the top left corner. Under "
    "this name `winnow sql` shows them with what is in `masks` and `tracks` of them, and the rows of `propagations` "
    "and `texts` as well.",
    ("annotation_id",),
    _OBJECT,
    stage="annotate",
    order=_IN_ORDER,
)

ANNOTATED = frame_table(
    "annotated",
    "Frames that were looked at, also those on which nothing was found; written after their objects.",
    (Column("n_objects", pa.int64(), "Rows of the frame in `annotations`.", "objects", low=0),),
    stage="annotate",
)

MASKS = stage_table(
    "masks",
    "Masks that were made of boxes, over the full frame.",
    ("annotation_id",),
    (
        _ID,
        STREAM_ID,
        FRAME_IDX,
        Column("mask_rle", pa.string(), "COCO's compressed run lengths of the mask."),
        Column("mask_score", pa.float32(), "How good the model thinks that the mask is.", low=0, high=1),
        *_SOURCE,
    ),
    stage="segment",
    order=_IN_ORDER,
)

SEGMENTED = frame_table(
    "segmented",
    "Frames whose objects were cut out; written after their masks. Frames without objects have no row.",
    (Column("n_masks", pa.int64(), "Rows of the frame in `masks`.", "masks", low=0),),
    stage="segment",
)

TRACKS = stage_table(
    "tracks",
    "Which objects are the same one over frames; those that no track came of have no row.",
    ("annotation_id",),
    (
        _ID,
        STREAM_ID,
        FRAME_IDX,
        Column("track_id", pa.int64(), "Number of the object in its stream; never the same across a cut or a gap."),
    ),
    stage="track",
    order=_IN_ORDER,
)

PROPAGATIONS = stage_table(
    "propagations",
    "Objects that were carried from an annotated frame to those after it that no detector has looked at, cut out anew "
    "on each. Their boxes go round their masks.",
    ("annotation_id",),
    (
        *_OBJECT,
        Column("origin_id", pa.string(), "The object in `annotations` that it was carried from."),
    ),
    stage="propagate",
    order=_IN_ORDER,
)

PROPAGATED = frame_table(
    "propagated",
    "Frames that objects were carried to, also those on which none was in sight any more; written after these. That "
    "nothing was carried to a frame does not say that there is nothing on it.",
    (
        Column("n_propagated", pa.int64(), "Rows of the frame in `propagations`.", "objects", low=0),
        Column("origin_idx", pa.int64(), "Number of the annotated frame that they were carried from.", low=0),
        Column("content_id", pa.int64(), "Identifies the picture of the frame alone, as `input_id` of `frames` does."),
    ),
    stage="propagate",
)

TEXTS = stage_table(
    "texts",
    "Lines of text on frames; the category of each is `text`.",
    ("annotation_id",),
    _OBJECT,
    stage="ocr",
    order=_IN_ORDER,
)

OCR = frame_table(
    "ocr",
    "Frames on which text was looked for, also those without any; written after their lines.",
    (Column("n_texts", pa.int64(), "Rows of the frame in `texts`.", "lines", low=0),),
    stage="ocr",
)

CAPTIONS = frame_table(
    "captions",
    "What a model says that a frame shows.",
    (
        Column("caption", pa.string(), "A sentence on the frame."),
        Column("caption_model", pa.string(), "Name of the weights."),
        Column("caption_weights", pa.string(), "SHA-256 of the weights."),
    ),
    stage="caption",
)

CATEGORIES = Table(
    "categories",
    "The number of each category in exports. Rows are added, never changed: a number means the same for good.",
    key=("category",),
    columns=(
        Column("number", pa.int64(), "From 0: the label in YOLO; one less than the id in COCO.", low=0),
        Column("category", pa.string(), "What it is, in the words of the model or of a person."),
        Column("origin", pa.string(), "Where it came from: stage, detector and hash of the weights, or a review."),
        Column("job_id", pa.string(), "The run that brought it in, or `review`."),
        Column("added_ns", pa.int64(), "When it got its number.", "ns since 1970"),
    ),
)

OBJECTS_OF = {
    ANNOTATED.name: ANNOTATIONS,
    SEGMENTED.name: MASKS,
    PROPAGATED.name: PROPAGATIONS,
    OCR.name: TEXTS,
}
"""The table of objects that each table of frames counts."""
