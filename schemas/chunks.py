"""The table of timelines: which parts of long clips runs are to take."""

import pyarrow as pa

from schemas.declaration import STREAM_ID, Column, Table

CHUNKS = Table(
    "chunks",
    "Parts of clips, cut by `winnow chunk` and named together as a timeline, which is an input of runs. A part is a "
    "view of frames of its stream, half-open in presentation time.",
    key=("timeline", "chunk_idx"),
    columns=(
        Column("timeline", pa.string(), "Name of the timeline."),
        Column("chunk_idx", pa.int64(), "Number of the chunk in its timeline, from 0.", low=0),
        STREAM_ID,
        Column("uri", pa.string(), "The clip."),
        Column("start_pts", pa.int64(), "Presentation timestamp of the first frame.", "time_base"),
        Column("end_pts", pa.int64(), "Presentation timestamp after the last frame, not included.", "time_base"),
        Column("time_base", pa.float64(), "Length of a unit of the timestamps.", "s", low=0),
        Column("start_idx", pa.int64(), "Number of the first frame.", low=0),
        Column("end_idx", pa.int64(), "Number after that of the last frame, not included.", low=0),
        Column("n_frames", pa.int64(), "Number of frames.", low=1),
        Column("start_s", pa.float64(), "Time of the first frame after that of the clip.", "s", low=0),
        Column("end_s", pa.float64(), "Time after the last frame, as above.", "s", low=0),
        Column("title", pa.string(), "What it was called, in the file of marks."),
        Column("reason", pa.string(), "By what it was cut: `scene`, `minutes` or `mark`."),
        Column("made_by", pa.string(), "Who made the timeline."),
        Column("made_ns", pa.int64(), "When.", "ns since 1970"),
    ),
)
