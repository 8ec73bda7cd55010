"""What is measured on frames, and the verdicts drawn from the measurements."""

import pyarrow as pa

from schemas.core import STREAM_ID, Column, frame_table, stage_table

LUMA = "luma 0..255"


def _luma(name: str, doc: str) -> Column:
    return Column(name, pa.float32(), doc, LUMA, nullable=True, low=0, high=255)


def _stretch(what: str) -> tuple[Column, ...]:
    return (
        Column("start_idx", pa.int64(), f"First frame of the {what}.", low=0),
        Column("end_idx", pa.int64(), f"Last frame of the {what}, included.", low=0),
        Column("n_frames", pa.int64(), f"Frames in the {what}; missing numbers are not counted.", "frames", low=1),
    )


QUALITY = frame_table(
    "quality",
    "Sharpness and exposure of each frame, measured on the picture at `image.long_side` pixels; null where corrupt.",
    (
        Column("laplacian_var", pa.float32(), "Variance of the Laplacian.", "luma²", nullable=True, low=0),
        Column("sharpness", pa.float32(), "Score of the method that `blur.method` names.", nullable=True, low=0),
        _luma("luma_mean", "Mean luma."),
        _luma("luma_p05", "5th percentile of luma."),
        _luma("luma_p50", "Median luma."),
        _luma("luma_p95", "95th percentile of luma."),
        Column("contrast", pa.float32(), "Standard deviation of luma.", LUMA, nullable=True, low=0, high=127.5),
        Column("entropy", pa.float32(), "Shannon entropy of the luma histogram.", "bits", True, low=0, high=8),
    ),
)

FINGERPRINTS = frame_table(
    "fingerprints",
    "What look-alikes are found by; null where corrupt.",
    (
        Column("phash", pa.string(), "64-bit DCT hash, 16 hex digits as imagehash prints it.", nullable=True),
        Column("layout", pa.binary(), "Mean luma of 8x8 cells, row by row, one byte each.", nullable=True),
    ),
)

MOTION = frame_table(
    "motion",
    "Change from the previous frame; null on a stream's first frame, across a gap and next to a corrupt frame.",
    (
        Column("motion", pa.float32(), "Mean absolute luma difference.", "0..1", nullable=True, low=0, high=1),
        Column(
            "motion_peak",
            pa.float32(),
            "High percentile of the difference over small tiles, camera-wide brightness change taken out.",
            "0..1",
            nullable=True,
            low=0,
            high=1,
        ),
        Column(
            "tile_contrast",
            pa.float32(),
            "Standard deviation of the tiles' luma in the previous frame.",
            LUMA,
            nullable=True,
            low=0,
            high=128,
        ),
        Column(
            "tiles",
            pa.binary(),
            "Mean luma of 18x32 tiles, row by row, one byte each, of one frame in eight.",
            nullable=True,
        ),
        Column(
            "sketch",
            pa.binary(),
            "16 numbers of two bytes that tell how far pictures are apart: of each file, and of the first frame of "
            "each group of pictures of a clip.",
            nullable=True,
        ),
    ),
)

MEDIA = frame_table(
    "media",
    "Frames of clips that were written out as files, with `ingest.materialize=jpeg`.",
    (
        Column(
            "picture",
            pa.string(),
            "JPEG below the workspace; null for frames that are files of their own, and where corrupt.",
            nullable=True,
        ),
    ),
)

EMBEDDINGS = frame_table(
    "embeddings",
    "What frames show, as vectors.",
    (
        Column("model", pa.string(), "Architecture, and the beginning of the hash of the weights."),
        Column("vector", pa.list_(pa.float32()), "Vector of length 1; its products with others are their cosines."),
    ),
)

IDLE = stage_table(
    "idle",
    "Intervals in which nothing moves, and the picture stays what it was at the beginning.",
    ("stream_id", "start_idx"),
    (
        STREAM_ID,
        *_stretch("interval"),
        Column("idle_score", pa.float32(), "1 for no motion at all, 0 at the threshold.", low=0, high=1),
        Column("frozen", pa.bool_(), "Whether the feed stood still: no frame brought anything new."),
    ),
)

SCENES = stage_table(
    "scenes",
    "What lies between cuts and fades; every frame of a stream is of one scene.",
    ("stream_id", "scene_idx"),
    (
        STREAM_ID,
        Column("scene_idx", pa.int64(), "Number of the scene in its stream, from 0.", low=0),
        *_stretch("scene"),
        Column("begins", pa.string(), "What it begins with: `start` of the stream, `cut` or `fade`."),
    ),
)

DUPLICATES = frame_table(
    "duplicates",
    "The group of look-alikes that each decodable frame belongs to; a frame without any is a group of one.",
    (
        Column("group_id", pa.string(), "Identity of the group; never changes once given."),
        Column("is_representative", pa.bool_(), "Whether the group is built around this frame."),
        Column("representative_stream", pa.string(), "Stream of the representative."),
        Column("representative_idx", pa.int64(), "Frame number of the representative.", low=0),
        Column("hamming", pa.int32(), "Differing hash bits to the representative.", "bits", low=0, high=64),
        Column(
            "agreement",
            pa.float32(),
            "Correlation of the layouts in the third best of the four quarters; null where it was not asked for.",
            nullable=True,
            low=-1,
            high=1,
        ),
        Column("cosine", pa.float32(), "Cosine similarity to the representative, where embeddings are used.", "", True),
        Column(
            "confidence",
            pa.float32(),
            "1 for identical bytes, else 0.99 (1 - hamming / 32); 0.99 cosine for groups by embedding.",
            low=0,
            high=1,
        ),
    ),
)

CURATION = frame_table(
    "curation",
    "Whether a frame is kept, and every reason why not.",
    (
        Column("keep", pa.bool_(), "True where there is no reason to drop the frame."),
        Column("reasons", pa.list_(pa.string()), "Reasons to drop it; empty where it is kept."),
        Column("flags", pa.list_(pa.string()), "Remarks that drop nothing: `odd_size`, `frozen`."),
    ),
)
