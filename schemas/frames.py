"""Tables of streams, of listed files, and of the frames that were read."""

import pyarrow as pa

from schemas.declaration import FRAME_IDX, FRAME_KEY, STREAM_ID, Column, Table, frame_table

INTERVAL = pa.struct([pa.field("start", pa.int64()), pa.field("end", pa.int64())])
SIZE = pa.struct([pa.field("width", pa.int32()), pa.field("height", pa.int32()), pa.field("n_frames", pa.int64())])

STREAMS = Table(
    "streams",
    "One row per camera stream: its location, and what the last run found there.",
    key=("stream_id",),
    columns=(
        STREAM_ID,
        Column("uri", pa.string(), "The folder or clip of this id."),
        Column("kind", pa.string(), "`folder` (one file per frame), `video`, or `recording` (a topic of one)."),
        Column("n_frames", pa.int64(), "Frames listed.", "frames"),
        Column("first_idx", pa.int64(), "Lowest frame number.", nullable=True),
        Column("last_idx", pa.int64(), "Highest frame number.", nullable=True),
        Column("step", pa.int64(), "Largest difference between the numbers of two consecutive frames.", low=1),
        Column("gaps", pa.list_(INTERVAL), "Missing numbers as intervals, both ends inclusive."),
        Column("n_missing", pa.int64(), "Frame numbers missing in the gaps.", "frames"),
        Column("n_ignored", pa.int64(), "Files in the folder that are no frames, and are ignored.", "files"),
        Column(
            "n_repeated",
            pa.int64(),
            "Files skipped because another one has the same number.",
            "files",
        ),
        Column("sampling", pa.string(), "Which frames are used: the value of `ingest.fps`.", nullable=True),
        Column("source_id", pa.int64(), "Hash of a clip's uri, size and mtime when it was listed.", nullable=True),
        Column("n_bad", pa.int64(), "Frames that were read and could not be decoded.", "frames"),
        Column("sizes", pa.list_(SIZE), "Image sizes found, most frequent first; a stream should have one only."),
        Column("error", pa.string(), "Why a clip was skipped, with `ingest.unreadable=skip`.", nullable=True),
        Column(
            "naming",
            pa.string(),
            "How the names of a folder are read, a pattern as of `ingest.name`; null for clips.",
            nullable=True,
        ),
        Column(
            "naming_now",
            pa.string(),
            "How these names would be read if they were new, where frames keep the numbers that they had before.",
            nullable=True,
        ),
        Column(
            "part",
            pa.string(),
            "Which stream of its folder it is, where names tell several apart, or which topic of its recording.",
            nullable=True,
        ),
        Column("frame_id", pa.string(), "Frame of reference of the camera, of a recording's topic.", nullable=True),
        Column(
            "camera_info",
            pa.string(),
            "Calibration that a recording holds for the camera, as JSON: `width`, `height`, `distortion_model`, `D`, "
            "`K`, `R`, `P`.",
            nullable=True,
        ),
        Column(
            "timezone",
            pa.string(),
            "The value of `ingest.timezone` where times of the stream are local ones; null where they are not.",
            nullable=True,
        ),
        Column(
            "n_unclear_times",
            pa.int64(),
            "Frames, or 1 for a clip that begins so, whose local time occurs twice or never in `timezone`.",
            "frames",
            nullable=True,
        ),
        Column("listed_ns", pa.int64(), "When the folder was last listed.", "ns since 1970"),
    ),
)

FILE_COLUMNS = (
    Column(
        "uri",
        pa.string(),
        "The file of the frame; for clips with the frame's time, `#pts=…&key=…[&packet=…]`; for recordings with the "
        "place of its message, `#topic=…&at=…`.",
    ),
    Column("size_bytes", pa.int64(), "Size of the file, or of the frame's packet in a clip.", "bytes", low=0),
    Column("mtime_ns", pa.int64(), "Modification time of the file.", "ns since 1970"),
    Column("stat_id", pa.int64(), "Hash of uri, size and mtime; 0 if they are no proof of unchanged content."),
)

TIME_COLUMNS = (
    Column("t_ns", pa.int64(), "Time of the frame.", "ns since 1970", nullable=True),
    Column(
        "time_source",
        pa.string(),
        "Where that time comes from: `name` of the file, `table` (`ingest.times`), `exif` or, of clips, "
        "`container`, and of recordings `recording`: when the message was recorded. Times without an offset "
        "from UTC are those of `ingest.timezone`, or taken as if they were UTC.",
        nullable=True,
    ),
)

LISTING = Table(
    "listing",
    "The last listing: one row per frame file, replaced per stream when its folder changes.",
    key=FRAME_KEY,
    columns=(STREAM_ID, FRAME_IDX, *FILE_COLUMNS, *TIME_COLUMNS),
)

FRAMES = frame_table(
    "frames",
    "One row per frame that was read: identity, size and whether it decodes.",
    (
        Column("content_hash", pa.string(), "BLAKE3 of the file's bytes, or of a clip's decoded planes, as hex."),
        Column(
            "width",
            pa.int32(),
            "Width as displayed, after the rotation by EXIF or the clip's metadata.",
            "px",
            nullable=True,
            low=1,
        ),
        Column(
            "height",
            pa.int32(),
            "Height as displayed, after the rotation by EXIF or the clip's metadata.",
            "px",
            nullable=True,
            low=1,
        ),
        Column(
            "format",
            pa.string(),
            "`jpeg`, `png`, …, or a clip's codec, such as `h264`; null if unknown.",
            nullable=True,
        ),
        Column("status", pa.string(), "`ok`, or `corrupt` if the bytes do not decode."),
        Column(
            "damage",
            pa.string(),
            "`none`; `minor`: only the mark at the end of a JPEG is missing, no pixel; `data`: a part of its data is "
            "damaged, and what the image shows there is wrong. Null if corrupt, and on systems where the decoder's "
            "warnings cannot be read.",
            nullable=True,
        ),
        Column(
            "white_level",
            pa.float64(),
            "The value that is measured as white, 255, in files of more than 8 bits per sample; null for others. See "
            "`image.white_level`.",
            nullable=True,
        ),
        Column("error", pa.string(), "Why the frame is corrupt.", nullable=True),
        Column("time_ns", pa.int64(), "Presentation time in the clip.", "ns", nullable=True),
        *FILE_COLUMNS,
        *TIME_COLUMNS,
    ),
)
