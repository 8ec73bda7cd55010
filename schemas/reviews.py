"""What is said of annotations after the models: how doubtful frames are, what stronger models and people say."""

import pyarrow as pa

from schemas.annotations import ANNOTATIONS
from schemas.core import FRAME_IDX, FRAME_KEY, STREAM_ID, Column, Table, frame_table

_OF_OBJECT = {c.name: c for c in ANNOTATIONS.columns}
_TOLD = ("category", "score", "bbox_x", "bbox_y", "bbox_w", "bbox_h", "mask_rle", "track_id", "text")
_ORIGIN = ("source", "model", "weights_hash")


def _share(name: str, doc: str) -> Column:
    return Column(name, pa.float32(), doc, "0..1", low=0, high=1)


def _of_object(name: str) -> Column:
    column = _OF_OBJECT[name]
    return Column(name, column.dtype, column.doc, column.unit, nullable=True, low=column.low, high=column.high)


ROUTING = frame_table(
    "routing",
    "How doubtful what was found on a frame is, why, and who is to look at it next.",
    (
        _share("uncertainty", "All doubts together: 1 less the product of what each of them leaves."),
        _share("low_margin", "How near the least sure object is to `annotate.min_score`."),
        _share("disagreement", "Share of what two detectors found that the other one did not."),
        _share("flicker", "Share of objects that neighbouring frames have and this one has not, or the other way."),
        _share("count_jump", "How far the number of objects is from what it is around the frame."),
        Column("doubts", pa.list_(pa.string()), "Names of the doubts that are above zero, the strongest first."),
        Column(
            "route",
            pa.string(),
            "`fine`; `larger` (a larger model), `vlm` (a vision language model) or `person`; `over_budget` (doubtful, "
            "and no budget reached it); `reviewed` (a person has looked at it as it is).",
        ),
    ),
    stage="route",
)

_VERDICT = pa.struct(
    [
        pa.field("annotation_id", pa.string()),
        pa.field("verdict", pa.string()),
        pa.field("category", pa.string()),
    ]
)

ESCALATED = frame_table(
    "escalated",
    "What a vision language model said of the objects on a frame.",
    (
        Column("call_id", pa.string(), "The question, in `escalations`."),
        Column("verdicts", pa.list_(_VERDICT), "Of each object: `keep`, `drop`, or `relabel` and as what."),
        Column("missing", pa.list_(pa.string()), "Categories of which it sees an object that has no box."),
        Column("model", pa.string(), "The model that was asked."),
    ),
    stage="escalate",
)

ESCALATIONS = Table(
    "escalations",
    "Every question to a vision language model: what was asked of whom, what it cost, what came of it.",
    key=("call_id",),
    columns=(
        Column("call_id", pa.string(), "Hash of model, prompt and picture: the same question is not asked twice."),
        STREAM_ID,
        FRAME_IDX,
        Column("content_hash", pa.string(), "The picture that was shown."),
        Column("api", pa.string(), "`openai`, `anthropic` or `gemini`: how the endpoint is spoken to."),
        Column("model", pa.string(), "The model that was asked."),
        Column("prompt_hash", pa.string(), "Hash of all that was said beside the picture, as hex."),
        Column("state", pa.string(), "`done`; `invalid`: no answer that came fitted; `failed`: no answer came."),
        Column("attempts", pa.int64(), "How often it was asked.", low=1),
        Column("tokens_in", pa.int64(), "Tokens of all attempts, as the endpoint counts them.", "tokens", low=0),
        Column("tokens_out", pa.int64(), "Tokens of all answers.", "tokens", low=0),
        Column("cost_usd", pa.float64(), "What that costs at the prices given.", "USD", low=0),
        Column("seconds", pa.float64(), "How long the last attempt took.", "s", low=0),
        Column("before", pa.string(), "The objects as they were shown, as JSON."),
        Column("after", pa.string(), "The answer, as JSON; null where none was valid.", nullable=True),
        Column("error", pa.string(), "What was wrong last.", nullable=True),
        Column("misfits", pa.int64(), "How many answers came and did not fit.", nullable=True, low=0),
        Column("job_id", pa.string(), "The run that asked."),
        Column("asked_ns", pa.int64(), "When it was asked last.", "ns since 1970"),
    ),
)

REVIEWS = Table(
    "reviews",
    "What people said of objects, and which frames they looked at. On a frame with a row `seen`, the objects that are "
    "not rejected are all there are.",
    key=("annotation_id",),
    columns=(
        Column("annotation_id", pa.string(), "The object; of `seen` an id of frame and picture."),
        STREAM_ID,
        FRAME_IDX,
        Column("content_hash", pa.string(), "The picture that it was said of; of another one it does not hold."),
        Column("decision", pa.string(), "`approve`, `reject`, `correct`, `add`, or `seen` for the frame as a whole."),
        *(_of_object(name) for name in (*_TOLD, *_ORIGIN)),
        Column("reviewer", pa.string(), "Who said so."),
        Column("reviewed_ns", pa.int64(), "When, as the tool has it, or else when it was imported.", "ns since 1970"),
        Column("note", pa.string(), "What else was said.", nullable=True),
    ),
)

OBJECT_COLUMNS = ("annotation_id", *FRAME_KEY, *_TOLD, *_ORIGIN)
"""What makes an object, whoever found it."""
