"""Tables of frame measures, and of what is derived from them: scenes, idle intervals, duplicates, curation."""

import pyarrow as pa

from schemas.declaration import STREAM_ID, Column, frame_table, stage_table

LUMA = "luma 0..255"


def _luma(name: str, doc: str) -> Column:
    return Column(name, pa.float32(), doc, LUMA, nullable=True, low=0, high=255)


def _imagehash(name: str, doc: str) -> Column:
    why = f"{doc}, as imagehash prints it; null unless `fingerprints.also` names it."
    return Column(name, pa.string(), why, nullable=True, on_request=True)


def _stretch(what: str) -> tuple[Column, ...]:
    return (
        Column("start_idx", pa.int64(), f"First frame of the {what}.", low=0),
        Column("end_idx", pa.int64(), f"Last frame of the {what}, inclusive.", low=0),
        Column("n_frames", pa.int64(), f"Frames in the {what}; missing numbers are not counted.", "frames", low=1),
    )


QUALITY = frame_table(
    "quality",
    "Sharpness and exposure of each frame, measured on the image at `image.long_side` pixels; null if corrupt.",
    (
        Column("laplacian_var", pa.float32(), "Variance of the Laplacian.", "luma²", nullable=True, low=0),
        Column("sharpness", pa.float32(), "Sharpness by the method in `blur.method`.", nullable=True, low=0),
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
    "Perceptual hash and layout, by which duplicates are found; null if corrupt.",
    (
        Column("phash", pa.string(), "64-bit DCT hash, 16 hex digits in the format of imagehash.", nullable=True),
        Column("layout", pa.binary(), "Mean luma of 8x8 cells, row by row, one byte each.", nullable=True),
        _imagehash("dhash", "64-bit hash of differences between neighbours, 16 hex digits"),
        _imagehash("whash", "64-bit wavelet hash, 16 hex digits"),
        _imagehash("colorhash", "42-bit hash of colours, 11 hex digits"),
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
            "High percentile of the difference over small tiles, after a global change of brightness was removed.",
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
            "Count sketch of 16 two-byte numbers, which gives the pixelwise distance of images; of each file, and of "
            "the first frame of each group of pictures of a clip.",
            nullable=True,
        ),
    ),
)

MEDIA = frame_table(
    "media",
    "Frames of clips that were written as JPEG files, with `ingest.materialize=jpeg`.",
    (
        Column(
            "picture",
            pa.string(),
            "Path of the JPEG below the workspace; null for frames that have a file of their own, or are corrupt.",
            nullable=True,
        ),
    ),
    in_curated=False,
)

EMBEDDINGS = frame_table(
    "embeddings",
    "Embeddings: the content of frames as vectors.",
    (
        Column("model", pa.string(), "Architecture, and the first digits of the hash of the weights."),
        Column(
            "vector",
            pa.list_(pa.float32()),
            "Vector of length 1; the dot product of two vectors is their cosine similarity.",
        ),
    ),
    in_curated=False,
)

IDLE = stage_table(
    "idle",
    "Idle intervals: nothing moves, and the image does not drift from the first one.",
    ("stream_id", "start_idx"),
    (
        STREAM_ID,
        *_stretch("interval"),
        Column("idle_score", pa.float32(), "1 for no motion at all, 0 at the threshold.", low=0, high=1),
        Column("frozen", pa.bool_(), "Whether the feed was frozen: all frames repeat earlier ones."),
    ),
)

SCENES = stage_table(
    "scenes",
    "Scenes between cuts and fades; every frame of a stream belongs to one scene.",
    ("stream_id", "scene_idx"),
    (
        STREAM_ID,
        Column("scene_idx", pa.int64(), "Number of the scene in its stream, from 0.", low=0),
        *_stretch("scene"),
        Column("begins", pa.string(), "How it begins: with the `start` of the stream, a `cut` or a `fade`."),
    ),
)

DUPLICATES = frame_table(
    "duplicates",
    "The duplicate group of each decodable frame; a frame without duplicates is a group of one.",
    (
        Column("group_id", pa.string(), "Id of the group, which never changes."),
        Column("is_representative", pa.bool_(), "Whether this frame represents the group."),
        Column("representative_stream", pa.string(), "Stream of the representative."),
        Column("representative_idx", pa.int64(), "Frame number of the representative.", low=0),
        Column(
            "hamming",
            pa.int32(),
            "Hamming distance of the perceptual hashes to the representative.",
            "bits",
            low=0,
            high=64,
        ),
        Column(
            "agreement",
            pa.float32(),
            "Correlation of the layouts in the third best of the four quarters; null if not used.",
            nullable=True,
            low=-1,
            high=1,
        ),
        Column("cosine", pa.float32(), "Cosine similarity to the representative, if embeddings are used.", "", True),
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
        Column("keep", pa.bool_(), "True if there is no reason to drop the frame."),
        Column("reasons", pa.list_(pa.string()), "Reasons to drop it; empty if it is kept."),
        Column(
            "flags",
            pa.list_(pa.string()),
            "Remarks that do not drop the frame: `odd_size`, `frozen`, `soft_throughout`.",
        ),
    ),
)
