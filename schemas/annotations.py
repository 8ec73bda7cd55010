"""Tables of objects, masks, tracks, text lines and captions, and of the frames that were annotated."""

import pyarrow as pa

from schemas.declaration import FRAME_IDX, FRAME_KEY, STREAM_ID, Column, Table, frame_table, stage_table


def _edge(name: str, doc: str, low: float | None = None) -> Column:
    return Column(name, pa.float32(), doc, "px", low=low)


_ID = Column("annotation_id", pa.string(), "Id of the object: the same whenever it is recomputed.")
_SOURCE = (
    Column("source", pa.string(), "The kind of detector, such as `onnx` or `motion`."),
    Column("model", pa.string(), "Name of the weights, or of the method if there are none."),
    Column("weights_hash", pa.string(), "SHA-256 of the weights; null if there are none.", nullable=True),
)
_OBJECT = (
    _ID,
    STREAM_ID,
    FRAME_IDX,
    Column("category", pa.string(), "Category name, as the model has it."),
    Column("score", pa.float32(), "Confidence score of the model.", low=0, high=1),
    _edge("bbox_x", "Left edge of the box."),
    _edge("bbox_y", "Top edge of the box."),
    _edge("bbox_w", "Width of the box.", low=0),
    _edge("bbox_h", "Height of the box.", low=0),
    Column("mask_rle", pa.string(), "COCO's compressed run lengths of the mask; null for a box alone.", nullable=True),
    Column("track_id", pa.int64(), "Number of the object over frames; null if not tracked.", nullable=True),
    Column("text", pa.string(), "Text that was read, or a description; null for most objects.", nullable=True),
    *_SOURCE,
)
_IN_ORDER = (*FRAME_KEY, "annotation_id")

ANNOTATIONS = stage_table(
    "annotations",
    "Objects on frames, in pixels of the full frame (its size is in `frames`), origin at the top left. Under this name "
    "`winnow sql` shows them joined with `masks` and `tracks`, together with the rows of `propagations` and `texts`.",
    ("annotation_id",),
    _OBJECT,
    stage="annotate",
    order=_IN_ORDER,
)

ANNOTATED = frame_table(
    "annotated",
    "Frames that were annotated, including those without objects; written after their objects.",
    (Column("n_objects", pa.int64(), "Rows of the frame in `annotations`.", "objects", low=0),),
    stage="annotate",
)

MASKS = stage_table(
    "masks",
    "Masks of boxed objects, over the full frame.",
    ("annotation_id",),
    (
        _ID,
        STREAM_ID,
        FRAME_IDX,
        Column("mask_rle", pa.string(), "COCO's compressed run lengths of the mask."),
        Column("mask_score", pa.float32(), "Quality of the mask as the model predicts it.", low=0, high=1),
        *_SOURCE,
    ),
    stage="segment",
    order=_IN_ORDER,
)

SEGMENTED = frame_table(
    "segmented",
    "Frames whose objects were segmented; written after their masks. Frames without objects have no row.",
    (Column("n_masks", pa.int64(), "Rows of the frame in `masks`.", "masks", low=0),),
    stage="segment",
    in_curated=False,
)

TRACKS = stage_table(
    "tracks",
    "Which objects are the same one over frames; objects without a track have no row.",
    ("annotation_id",),
    (
        _ID,
        STREAM_ID,
        FRAME_IDX,
        Column("track_id", pa.int64(), "Number of the track in its stream; no track spans a cut or a gap."),
    ),
    stage="track",
    order=_IN_ORDER,
)

PROPAGATIONS = stage_table(
    "propagations",
    "Objects that were propagated from an annotated frame to later frames that no detector has processed, with a new "
    "mask on each. Boxes are the bounding boxes of the masks.",
    ("annotation_id",),
    (
        *_OBJECT,
        Column("origin_id", pa.string(), "The object in `annotations` from which it was propagated."),
    ),
    stage="propagate",
    order=_IN_ORDER,
)

PROPAGATED = frame_table(
    "propagated",
    "Frames to which objects were propagated, including those on which none is visible any more; written after the "
    "objects. A frame without propagated objects is not known to be empty.",
    (
        Column("n_propagated", pa.int64(), "Rows of the frame in `propagations`.", "objects", low=0),
        Column("origin_idx", pa.int64(), "Number of the annotated frame from which they were propagated.", low=0),
        Column("content_id", pa.int64(), "Hash of the frame's content alone, as `input_id` of `frames`."),
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
    "Frames on which text was searched, including those without any; written after their lines.",
    (Column("n_texts", pa.int64(), "Rows of the frame in `texts`.", "lines", low=0),),
    stage="ocr",
)

CAPTIONS = frame_table(
    "captions",
    "Captions: a sentence by a model on the content of a frame.",
    (
        Column("caption", pa.string(), "The caption."),
        Column("caption_model", pa.string(), "Name of the weights."),
        Column("caption_weights", pa.string(), "SHA-256 of the weights."),
    ),
    stage="caption",
)

CATEGORIES = Table(
    "categories",
    "The number of each category in exports. Rows are added, never changed: numbers are permanent.",
    key=("category",),
    columns=(
        Column("number", pa.int64(), "From 0: the label in YOLO; one less than the id in COCO.", low=0),
        Column("category", pa.string(), "Category name, as the model or the reviewer has it."),
        Column("origin", pa.string(), "Where it comes from: stage, detector and hash of the weights, or a review."),
        Column("job_id", pa.string(), "The run that added it, or `review`."),
        Column("added_ns", pa.int64(), "When it was added.", "ns since 1970"),
    ),
)

OBJECTS_OF = {
    ANNOTATED.name: ANNOTATIONS,
    SEGMENTED.name: MASKS,
    PROPAGATED.name: PROPAGATIONS,
    OCR.name: TEXTS,
}
"""The table of objects that belongs to each table of annotated frames."""
