"""Tables of brands: the dictionary, where text and logos are, what they say, and for how long brands are visible."""

import pyarrow as pa

from schemas.declaration import FRAME_IDX, STREAM_ID, Column, Table, frame_table, stage_table

_CORNERS = tuple(f"{axis}{number}" for number in range(1, 5) for axis in "xy")
LINE = pa.struct(
    [
        *(pa.field(name, pa.float32(), nullable=False) for name in _CORNERS),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("sharpness", pa.float32(), nullable=False),
        pa.field("contrast", pa.float32(), nullable=False),
        pa.field("sketch", pa.binary(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)
"""A place on a frame that may show a brand: corners in pixels, from the upper left one clockwise, and measures.

`kind`: `line` of text, or `emblem`, which may be a logo.
"""

_LOGO = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
    ]
)
_QUAD = tuple(
    Column(name, pa.float32(), f"Corner {name[1]} of its quadrilateral, from the upper left one clockwise.", "px")
    for name in _CORNERS
)
_REGION = Column("region_id", pa.string(), "Id of the region: stream, frame and its number on that frame.")
_BRAND = Column("brand", pa.string(), "Name of the brand, as the dictionary has it.")
_KIND = Column("kind", pa.string(), "`line`, which may be text, or `emblem`, which may be a logo.")
_PLACEMENT = Column("placement", pa.string(), "Where it is: `board`, `kit`, `graphic`, `ground` or `other`.")


def _share(name: str, doc: str) -> Column:
    return Column(name, pa.float32(), doc, "0..1", low=0, high=1)


BRANDS = Table(
    "brands",
    "The dictionary of brands, as `winnow brands import` read it.",
    key=("brand",),
    columns=(
        Column("brand", pa.string(), "Name of the brand."),
        Column("aliases", pa.list_(pa.string()), "What it is also written as; the name itself always counts."),
        Column("never", pa.list_(pa.string()), "Words that are not the brand although they look like it."),
        Column("logos", pa.list_(_LOGO), "Reference images of its logos: file name, hash and bytes."),
        Column("colours", pa.list_(pa.string()), "Its colours as `#rrggbb`, for charts."),
    ),
)

FIELDS = frame_table(
    "fields",
    "The playing field on each frame, by its colour.",
    (
        Column("found", pa.bool_(), "Whether there is one; null if the frame is corrupt.", nullable=True),
        Column("share", pa.float32(), "Share of the frame that it covers.", "0..1", nullable=True, low=0, high=1),
        Column("hue", pa.float32(), "Median hue of what it covers.", "0..179", nullable=True, low=0, high=179),
        Column("mask", pa.binary(), "Which of 45 x 80 cells it covers, row by row, a bit each.", nullable=True),
    ),
    stage="field",
    in_curated=False,
)

EDGES = frame_table(
    "edges",
    "Lines of text and emblems that each frame may show, before anything is read; null if the frame is corrupt.",
    (
        Column("n_lines", pa.int64(), "How many there are.", "lines", nullable=True, low=0),
        Column("lines", pa.list_(LINE), "The lines, the best first, and the emblems after them.", nullable=True),
    ),
    in_curated=False,
)

REGIONS = stage_table(
    "regions",
    "Regions that may show a brand, followed over the frames of a scene.",
    ("region_id",),
    (
        _REGION,
        STREAM_ID,
        FRAME_IDX,
        Column("track_id", pa.int64(), "Number of what it is on several frames, in its stream.", low=0),
        Column("scene_idx", pa.int64(), "Number of its scene.", low=0),
        _KIND,
        _PLACEMENT,
        *_QUAD,
        Column("height_px", pa.float32(), "Height of its letters.", "px", low=0),
        _share("area_share", "Share of the frame that it covers."),
        Column("sharpness", pa.float32(), "Variance of the Laplacian within it.", "luma²", low=0),
        Column("contrast", pa.float32(), "Standard deviation of luma within it.", "luma", low=0),
        Column("score", pa.float32(), "How much it looks like text.", low=0, high=1),
        Column("read_as", pa.string(), "The region of the same look whose reading counts for it.", nullable=True),
        Column("is_read", pa.bool_(), "Whether it is read itself."),
    ),
    order=("stream_id", "frame_idx", "region_id"),
)

CROPS = stage_table(
    "crops",
    "The regions that are read or compared with logos, upright: lines 48 pixels high, emblems 96.",
    ("region_id",),
    (
        _REGION,
        STREAM_ID,
        FRAME_IDX,
        Column("width_px", pa.int64(), "Width of the crop.", "px", low=1),
        Column("height_px", pa.float32(), "Height of the region on the frame.", "px", low=0),
        Column("wide", pa.float32(), "Width of what it shows, as a multiple of the region's.", low=0),
        Column("tall", pa.float32(), "Height of what it shows, as a multiple of the region's.", low=0),
        Column("contrast", pa.float32(), "Standard deviation of luma.", "luma", low=0),
        Column("sharpness", pa.float32(), "Variance of the Laplacian.", "luma²", low=0),
        Column("crop_hash", pa.string(), "BLAKE3 of its pixels."),
        Column("image", pa.binary(), "The crop as JPEG."),
    ),
    stage="rectify",
    order=("stream_id", "frame_idx", "region_id"),
)

RECTIFIED = frame_table(
    "rectified",
    "Frames with regions that are read; written after their crops.",
    (Column("n_crops", pa.int64(), "Rows of the frame in `crops`.", "crops", low=0),),
    stage="rectify",
    in_curated=False,
)

READINGS = stage_table(
    "readings",
    "What was read on crops; a crop on which nothing was read has an empty text.",
    ("region_id",),
    (
        _REGION,
        STREAM_ID,
        FRAME_IDX,
        Column("text", pa.string(), "The text."),
        Column("score", pa.float32(), "Mean score of its characters.", low=0, high=1),
        Column("model", pa.string(), "Name of the weights."),
        Column("weights_hash", pa.string(), "SHA-256 of the weights."),
    ),
    stage="read",
    order=("stream_id", "frame_idx", "region_id"),
)

READ = frame_table(
    "read_frames",
    "Frames whose crops were read; written after the readings.",
    (Column("n_readings", pa.int64(), "Rows of the frame in `readings`.", "crops", low=0),),
    stage="read",
    in_curated=False,
)

LIKENESSES = stage_table(
    "likenesses",
    "How much crops are like the logos of brands: a row per brand with a logo on which enough features agree.",
    ("region_id", "brand"),
    (
        _REGION,
        STREAM_ID,
        FRAME_IDX,
        _BRAND,
        Column("logo", pa.string(), "Name of the reference image that it is most like."),
        Column("points", pa.int64(), "Places of the logo that one map takes to where they are in the crop.", low=1),
        Column("correlation", pa.float32(), "Of the luma of both under that map.", low=-1, high=1),
        _share("inside", "Share of the logo that is within the crop."),
        _share("begins", "Where in the crop it begins, from the left."),
        _share("ends", "Where it ends."),
        Column("tall", pa.float32(), "Its height, as a multiple of the region's.", low=0),
        Column("part", pa.float32(), "Its area, as a multiple of the region's.", low=0),
    ),
    stage="logos",
    order=("stream_id", "frame_idx", "region_id", "brand"),
)

MENTIONS = stage_table(
    "mentions",
    "What crops mean by the dictionary: a row per brand that a text or logo names, may name, or nearly names.",
    ("region_id", "number"),
    (
        _REGION,
        Column("number", pa.int64(), "Number of the mention in its reading, from 0.", low=0),
        STREAM_ID,
        FRAME_IDX,
        Column("brand", pa.string(), "The brand; null where the text names none.", nullable=True),
        Column("how", pa.string(), "`name`, `part` (letters are missing at an end), `fuzzy`, `logo`, `never`, `none`."),
        Column("state", pa.string(), "`resolved`, `unresolved` or `none`."),
        Column("score", pa.float32(), "How sure.", low=0, high=1),
        _share("letters", "Share of the brand's letters that were read."),
        Column("runner_up", pa.string(), "The brand that comes next, or that it nearly names.", nullable=True),
        Column("margin", pa.float32(), "Score less that of the runner-up.", low=-1, high=1),
        _share("begins", "Where in the region the name or logo begins, from the left."),
        _share("ends", "Where it ends."),
        Column("tall", pa.float32(), "Height of the name or logo, as a multiple of the region's.", low=0),
        Column("part", pa.float32(), "Area of the name or logo, as a multiple of the region's.", low=0),
        Column("text", pa.string(), "What was read; of a logo, the name of its reference image."),
    ),
    stage="match",
    order=("stream_id", "frame_idx", "region_id", "number"),
)

_ANSWER = pa.struct(
    [
        pa.field("region_id", pa.string(), nullable=False),
        pa.field("call_id", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("brand", pa.string()),
        pa.field("why", pa.string()),
    ]
)


def _asked(stage: str, doc: str) -> Table:
    states = "`answered`, `unsure`, `failed` or `skipped` with why"
    return frame_table(
        f"asked_{stage.removeprefix('ask_')}",
        doc,
        (
            Column("answers", pa.list_(_ANSWER), f"For each crop: the call, {states}, and the brand; null for none."),
            Column("n_open", pa.int64(), "Crops without an answer.", "crops", low=0),
        ),
        stage=stage,
        in_curated=False,
    )


ASKED_LOCAL = _asked("ask_local", "Frames with crops whose brand is open: what a model of one's own says of them.")
ASKED_CLOUD = _asked("ask_cloud", "Frames with crops whose brand then still is open: what another model says of them.")

APPEARANCES = stage_table(
    "appearances",
    "A brand that is visible in one place without interruption, within one scene.",
    ("stream_id", "appearance_id"),
    (
        STREAM_ID,
        Column("appearance_id", pa.int64(), "Number of the appearance in its stream, from 0.", low=0),
        _BRAND,
        Column("region_id", pa.string(), "The region on its best frame."),
        Column("track_id", pa.int64(), "Its track in `regions`.", low=0),
        Column("scene_idx", pa.int64(), "Its scene.", low=0),
        _PLACEMENT,
        Column("start_s", pa.float64(), "When it begins: the time of its first frame.", "s"),
        Column("end_s", pa.float64(), "When it ends: the time of the frame after its last one.", "s"),
        Column("start_idx", pa.int64(), "Its first frame.", low=0),
        Column("end_idx", pa.int64(), "Its last frame.", low=0),
        Column("n_frames", pa.int64(), "Frames on which it was seen.", "frames", low=1),
        Column("best_idx", pa.int64(), "The frame on which it is read best.", low=0),
        Column("confidence", pa.float32(), "Mean score of its readings, by size and sharpness.", low=0, high=1),
        Column("state", pa.string(), "`resolved`, or `unresolved` where no reading of its track is sure."),
        Column("how", pa.string(), "By what it is known on the best frame: as in `mentions`, or `vlm`."),
        Column("text", pa.string(), "What was read on the best frame; of a logo, the name of its reference image."),
        _share("mean_share", "Mean share of the frame that it covers."),
        _share("max_share", "Largest share of the frame that it covers."),
        Column("height_px", pa.float32(), "Mean height of its letters.", "px", low=0),
        _share("centre", "Share of its frames on which its middle is in the middle ninth of the frame."),
        Column("sharpness", pa.float32(), "Mean variance of the Laplacian.", "luma²", low=0),
    ),
    stage="vote",
)

EXPOSURE = stage_table(
    "exposure",
    "How long and how large each brand is visible in each stream, and next to whom.",
    ("stream_id", "brand"),
    (
        STREAM_ID,
        _BRAND,
        Column("visible_s", pa.float64(), "Time with the brand anywhere on the frame; several places count once.", "s"),
        Column("gross_s", pa.float64(), "Sum over its places.", "s"),
        Column("solus_s", pa.float64(), "Time with no other brand of the dictionary visible.", "s"),
        Column("high_s", pa.float64(), "Visible time if all that is unresolved were the brand.", "s"),
        Column("hits", pa.int64(), "Appearances of at least `exposure.hit_s`, at least `exposure.apart_s` apart."),
        _share("mean_share", "Mean share of the frame that its places cover, by time."),
        _share("max_share", "Largest share of the frame that one of its places covers."),
        _share("share_of_voice", "Its visible time as a share of that of all brands in the stream."),
        Column("weighted_s", pa.float64(), "Gross time weighted by `exposure.weight_…`.", "s"),
        Column("height_px", pa.float32(), "Mean height of its letters, by time.", "px", low=0),
        _share("confidence", "Mean confidence, by time."),
    ),
)
