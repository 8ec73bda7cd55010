"""Tables of evaluations: models measured on sealed frames, compared with each other, and each use of these frames."""

import pyarrow as pa

from schemas.declaration import FRAME_KEY, Column, Table

_FOUND_BOX = pa.struct(
    [
        pa.field("category", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("bbox_x", pa.float32(), nullable=False),
        pa.field("bbox_y", pa.float32(), nullable=False),
        pa.field("bbox_w", pa.float32(), nullable=False),
        pa.field("bbox_h", pa.float32(), nullable=False),
    ]
)
_LABELLED_BOX = pa.struct(
    [
        pa.field("category", pa.string(), nullable=False),
        pa.field("bbox_x", pa.float32(), nullable=False),
        pa.field("bbox_y", pa.float32(), nullable=False),
        pa.field("bbox_w", pa.float32(), nullable=False),
        pa.field("bbox_h", pa.float32(), nullable=False),
        pa.field("is_crowd", pa.bool_(), nullable=False),
    ]
)
_EVALUATION_ID = Column("evaluation_id", pa.string(), "Hash of the model and of the frames and objects that it met.")

EVALUATIONS = Table(
    "evaluations",
    "Models measured on frames that they have not seen: one row per model and set of frames.",
    key=("evaluation_id",),
    columns=(
        _EVALUATION_ID,
        Column("model_id", pa.string(), "Hash of the weights: their row in `models`."),
        Column("name", pa.string(), "Name of the model."),
        Column("version", pa.int64(), "Version of the model."),
        Column("release", pa.string(), "The release that has the frames and their objects."),
        Column("split", pa.string(), "The split of the release; empty for all of its frames."),
        Column("split_seed", pa.int64(), "The seed of that split.", low=0),
        Column("content", pa.string(), "Hash of the frames and their objects."),
        Column("frames", pa.int64(), "Number of frames.", low=0),
        Column("objects", pa.int64(), "Number of labelled objects.", low=0),
        Column("units", pa.int64(), "Number of units that may be drawn independently: streams, or scenes.", low=0),
        Column("ap", pa.float64(), "COCO's AP; null where it is not defined.", nullable=True),
        Column("ap50", pa.float64(), "COCO's AP50; null where it is not defined.", nullable=True),
        Column("min_score", pa.float64(), "The score of the best F1; errors are counted from it on."),
        Column("ms_per_frame", pa.float64(), "Median time of the model for one frame on that machine.", "ms"),
        Column("report", pa.string(), "Calibration, confusions and thresholds, as JSON."),
        Column("environment", pa.string(), "Machine and libraries, as JSON."),
        Column("job_id", pa.string(), "The job that measured it."),
        Column("created_ns", pa.int64(), "When.", "ns since 1970"),
    ),
)

EVALUATION_FIGURES = Table(
    "evaluation_figures",
    "Figures of an evaluation, of all frames and of parts of them: one row per figure.",
    key=("evaluation_id", "part", "of", "name"),
    columns=(
        _EVALUATION_ID,
        Column("part", pa.string(), "`all`, `category`, `stream` or `hour`."),
        Column("of", pa.string(), "The category, the stream, or the hour of the day in UTC; empty for all."),
        Column("name", pa.string(), "The figure: one of COCO's twelve, `objects`, `precision`, `recall`, `threshold`."),
        Column("value", pa.float64(), "Its value; null where it is not defined.", nullable=True),
    ),
)

EVALUATION_FRAMES = Table(
    "evaluation_frames",
    "What a model found on each frame of an evaluation, and what there was.",
    key=("evaluation_id", *FRAME_KEY),
    columns=(
        _EVALUATION_ID,
        Column("stream_id", pa.string(), "Stream of the frame."),
        Column("frame_idx", pa.int64(), "Number of the frame."),
        Column("content_hash", pa.string(), "Content hash (BLAKE3) of the frame."),
        Column("unit", pa.string(), "The unit that the frame is drawn with in a comparison: stream, scene or group."),
        Column("correct", pa.int64(), "Objects found, at an overlap of 0.5 and `min_score`.", low=0),
        Column("wrong", pa.int64(), "Boxes found that are none.", low=0),
        Column("missed", pa.int64(), "Objects not found.", low=0),
        Column("found", pa.list_(_FOUND_BOX), "All boxes found, the highest score first."),
        Column("labelled", pa.list_(_LABELLED_BOX), "The objects that were there."),
    ),
)

COMPARISONS = Table(
    "model_comparisons",
    "Two models on the same frames: the difference of AP, by a paired bootstrap over units.",
    key=("evaluation_id", "against_id"),
    columns=(
        _EVALUATION_ID,
        Column("against_id", pa.string(), "The evaluation of the other model, on the same frames."),
        Column("verdict", pa.string(), "`better`, `not_better`, `worse`, or `cannot_tell` for too few units."),
        Column("difference", pa.float64(), "AP less that of the other one, mean of all draws.", nullable=True),
        Column("low", pa.float64(), "Its 5 % bound.", nullable=True),
        Column("high", pa.float64(), "Its 95 % bound.", nullable=True),
        Column("classes", pa.string(), "Objects, difference and bounds for each category, as JSON."),
        Column("units", pa.int64(), "Number of units drawn from.", low=0),
        Column("draws", pa.int64(), "Number of draws.", low=0),
        Column("job_id", pa.string(), "The job that compared them."),
        Column("created_ns", pa.int64(), "When.", "ns since 1970"),
    ),
)

TEST_USES = Table(
    "test_uses",
    "Each time that sealed frames were opened: the more often models are chosen by them, the less they say.",
    key=("job_id", "model_id"),
    columns=(
        Column("job_id", pa.string(), "The job that opened them."),
        Column("model_id", pa.string(), "The model that was measured."),
        Column("release", pa.string(), "The release."),
        Column("split", pa.string(), "The split; empty for all frames of the release."),
        Column("split_seed", pa.int64(), "The seed of that split.", low=0),
        Column("content", pa.string(), "Hash of the frames and their objects."),
        Column("frames", pa.int64(), "Number of frames.", low=0),
        Column("by", pa.string(), "Who requested it."),
        Column("at_ns", pa.int64(), "When.", "ns since 1970"),
    ),
)
