"""Tables of uncertainty, of escalation to vision language models, and of reviews by people."""

import pyarrow as pa

from schemas.annotations import ANNOTATIONS
from schemas.declaration import FRAME_IDX, FRAME_KEY, STREAM_ID, Column, Table, frame_table

_OF_OBJECT = {c.name: c for c in ANNOTATIONS.columns}
_DECIDED = ("category", "score", "bbox_x", "bbox_y", "bbox_w", "bbox_h", "mask_rle", "track_id", "text")
_ORIGIN = ("source", "model", "weights_hash")
_BY_PEOPLE = (
    Column(
        "rotation",
        pa.float32(),
        "How far the box is turned clockwise about its centre; null for an upright one.",
        "degrees",
        nullable=True,
        low=0,
        high=360,
    ),
    Column(
        "polygons",
        pa.list_(pa.list_(pa.float64())),
        "Polygons as a person drew them, each as x, y, x, y, …; `mask_rle` has the pixels inside. Null for others.",
        "px",
        nullable=True,
    ),
    Column("is_crowd", pa.bool_(), "Whether it is a group of objects that were not separated.", nullable=True),
    Column(
        "attributes", pa.string(), "Attributes and relations from the annotation tool, as JSON object.", nullable=True
    ),
)


def _share(name: str, doc: str) -> Column:
    return Column(name, pa.float32(), doc, "0..1", low=0, high=1)


def _of_object(name: str) -> Column:
    column = _OF_OBJECT[name]
    return Column(name, column.dtype, column.doc, column.unit, nullable=True, low=column.low, high=column.high)


ROUTING = frame_table(
    "routing",
    "Uncertainty of the detections on a frame, its causes, and who is to review the frame.",
    (
        _share("uncertainty", "How uncertain the frame is: e / (1 + e) for e expected errors."),
        Column(
            "expected_errors",
            pa.float32(),
            "Errors expected on the frame: weak objects, by the square of how far their scores are below 1, with 1 at "
            "`annotate.min_score`; 2 for each that flickers; objects of one of two detectors alone, by their scores; "
            "`count_jump`.",
            "objects",
            nullable=True,
            low=0,
        ),
        _share("low_margin", "How near the lowest score of an object is to `annotate.min_score`."),
        _share("disagreement", "Share of two detectors' objects, weighted by score, that only one of them found."),
        _share(
            "flicker", "Share of objects that both adjacent frames have and this one has not, or the other way round."
        ),
        _share("count_jump", "Relative difference of the number of objects to that of the adjacent frames."),
        Column("doubts", pa.list_(pa.string()), "Names of the uncertainty measures above zero, the largest first."),
        Column(
            "route",
            pa.string(),
            "`fine` (no review needed); `larger` (a larger model), `vlm` (a vision language model) or `person`; "
            "`over_budget` (uncertain, but beyond all budgets); `reviewed` (a person has reviewed this content).",
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
    "Verdicts of a vision language model on the objects of a frame.",
    (
        Column("call_id", pa.string(), "The call, in `escalations`."),
        Column("verdicts", pa.list_(_VERDICT), "For each object: `keep`, `drop`, or `relabel` with the new category."),
        Column(
            "missing", pa.list_(pa.string()), "Categories of objects that it sees without a box, one entry per object."
        ),
        Column("model", pa.string(), "The model that answered."),
    ),
    stage="escalate",
    in_curated=False,
)

ESCALATIONS = Table(
    "escalations",
    "Every call of a vision language model: prompt, model, cost and result.",
    key=("call_id",),
    columns=(
        Column("call_id", pa.string(), "Hash of model, prompt and image: the same call is not made twice."),
        STREAM_ID,
        FRAME_IDX,
        Column("content_hash", pa.string(), "Content hash of the image that was sent."),
        Column("api", pa.string(), "Protocol of the endpoint: `openai`, `anthropic` or `gemini`."),
        Column("model", pa.string(), "The model that answered."),
        Column("prompt_hash", pa.string(), "Hash of the prompt without the image, as hex."),
        Column("state", pa.string(), "`done`; `invalid`: no answer was valid; `failed`: there was no answer."),
        Column("attempts", pa.int64(), "Number of attempts.", low=1),
        Column("tokens_in", pa.int64(), "Tokens of all attempts, as the endpoint counts them.", "tokens", low=0),
        Column("tokens_out", pa.int64(), "Tokens of all answers.", "tokens", low=0),
        Column("cost_usd", pa.float64(), "Cost at the configured prices.", "USD", low=0),
        Column("seconds", pa.float64(), "Duration of the last attempt.", "s", low=0),
        Column("before", pa.string(), "The objects as they were sent, as JSON."),
        Column("after", pa.string(), "The answer, as JSON; null if none was valid.", nullable=True),
        Column("error", pa.string(), "The last error.", nullable=True),
        Column("misfits", pa.int64(), "Number of invalid answers.", nullable=True, low=0),
        Column("job_id", pa.string(), "The run that made the call."),
        Column("asked_ns", pa.int64(), "When the last attempt was made.", "ns since 1970"),
    ),
)

REVIEWS = Table(
    "reviews",
    "Decisions of people on objects, and the frames that they reviewed. On a frame with a row `seen`, the objects that "
    "are not rejected are complete.",
    key=("annotation_id",),
    columns=(
        Column("annotation_id", pa.string(), "The object; for `seen` an id of the frame and its content."),
        STREAM_ID,
        FRAME_IDX,
        Column(
            "content_hash",
            pa.string(),
            "Content of the frame that was reviewed; the decision is not valid for other content.",
        ),
        Column("decision", pa.string(), "`approve`, `reject`, `correct`, `add`, or `seen` for the frame as a whole."),
        *(_of_object(name) for name in (*_DECIDED, *_ORIGIN)),
        *_BY_PEOPLE,
        Column("author", pa.string(), "Who drew or corrected the object; null where nobody did.", nullable=True),
        Column("reviewer", pa.string(), "Who decided."),
        Column(
            "reviewed_ns",
            pa.int64(),
            "When it was decided, by the annotation tool, or else when it was imported.",
            "ns since 1970",
        ),
        Column("note", pa.string(), "Note of the reviewer.", nullable=True),
        Column(
            "event_seq",
            pa.int64(),
            "Number in `review_events` of the approval in the browser; null for what came from a file.",
            nullable=True,
            low=1,
        ),
    ),
)

OVERRIDES = Table(
    "overrides",
    "Frames that somebody kept or dropped by hand, which is the last word on them; `curation` shows the verdicts with "
    "it, `curation_all` without.",
    key=FRAME_KEY,
    columns=(
        STREAM_ID,
        FRAME_IDX,
        Column(
            "content_hash", pa.string(), "Content of the frame that was decided about; not valid for other content."
        ),
        Column("decision", pa.string(), "`keep` or `drop`."),
        Column("author", pa.string(), "Who decided."),
        Column("decided_ns", pa.int64(), "When it was decided.", "ns since 1970"),
        Column("note", pa.string(), "Why, in the words of the author.", nullable=True),
    ),
)

OBJECT_COLUMNS = ("annotation_id", *FRAME_KEY, *_DECIDED, *_ORIGIN)
"""The columns of an object, from a model or a person."""

COLUMNS_BY_PEOPLE = tuple(column.name for column in _BY_PEOPLE)
"""The columns of an object that are null for what a model found."""
