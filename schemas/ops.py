"""Tables of runs, quarantined frames, heads (the current version of each stage), releases, selections and splits."""

import pyarrow as pa

from schemas.declaration import FRAME_IDX, FRAME_KEY, STREAM_ID, Column, Table

JOB_ID = Column("job_id", pa.string(), "The run.")
STAGE = Column("stage", pa.string(), "Name of the stage.")
STAGE_KEY = Column("stage_key", pa.string(), "Hash of the stage's code, parameters and upstream keys.")
RULE = Column("rule", pa.string(), "The SQL condition on upstream rows that chose frames; null for all.", nullable=True)

QUARANTINE = Table(
    "quarantine",
    "Quarantined frames, which failed with an error; the next run tries them again.",
    key=(*FRAME_KEY, "stage"),
    columns=(
        STREAM_ID,
        FRAME_IDX,
        STAGE,
        Column("uri", pa.string(), "The file of the frame."),
        Column("error_type", pa.string(), "Class of the error."),
        Column("error", pa.string(), "What went wrong."),
        Column("attempts", pa.int64(), "Number of runs that tried it.", low=1),
        JOB_ID,
        Column("failed_ns", pa.int64(), "When it last failed.", "ns since 1970"),
    ),
)

RUNS = Table(
    "runs",
    "One row per run: its configuration, its result, and the table versions at its end.",
    key=("job_id",),
    columns=(
        JOB_ID,
        Column("parent", pa.string(), "The run that this one replays.", nullable=True),
        Column("state", pa.string(), "`pending`, `running`, `paused`, `done`, `failed` or `cancelled`."),
        Column("profile", pa.string(), "Profile on which the configuration is based."),
        Column("config", pa.string(), "The whole configuration, as JSON."),
        Column("inputs", pa.list_(pa.string()), "Inputs as given."),
        Column("streams", pa.list_(pa.string()), "Streams that the run covers."),
        Column("frames", pa.int64(), "Frames listed in these streams.", "frames"),
        Column("counts", pa.string(), "Frames and bytes read, decoded and written, and frames `kept`, as JSON."),
        Column(
            "frames_per_second", pa.float64(), "Rate of the pixel pass, start-up excluded; 0 if it had none.", "1/s"
        ),
        Column("started_ns", pa.int64(), "When it started.", "ns since 1970"),
        Column("ended_ns", pa.int64(), "When it ended.", "ns since 1970", nullable=True),
        Column("seconds", pa.float64(), "Run time without pauses.", "s", nullable=True),
        Column("error", pa.string(), "Why it failed.", nullable=True),
        Column("environment", pa.string(), "Versions, host and process that ran it, as JSON."),
        Column("versions", pa.string(), "Version of every table at the end, as JSON.", nullable=True),
    ),
)

STAGE_RUNS = Table(
    "stage_runs",
    "One row per run and stage: its key, and how many rows it computed and reused.",
    key=("job_id", "stage"),
    columns=(
        JOB_ID,
        STAGE,
        STAGE_KEY,
        Column("params", pa.string(), "Parameters that enter the key, as JSON."),
        Column("code_hash", pa.string(), "Hash of the code, which enters the key."),
        Column("upstream", pa.string(), "Keys of the stages that it reads, as JSON."),
        Column(
            "context", pa.int64(), "Number of previous frames from which each row is computed.", "frames", nullable=True
        ),
        Column("state", pa.string(), "`pending`, `paused`, `done`, or `skipped` by a run of one stage alone."),
        Column("frames_in", pa.int64(), "Frames in the scope of the stage.", "frames"),
        Column("computed", pa.int64(), "Frames (or intervals) computed.", "rows"),
        Column("reused", pa.int64(), "Frames whose existing rows were reused.", "rows"),
        Column(
            "verified",
            pa.int64(),
            "Frames in `reused` whose file had to be read to verify them.",
            "frames",
            nullable=True,
        ),
        Column("corrupt", pa.int64(), "Frames in `frames_in` that do not decode.", "frames"),
        Column("quarantined", pa.int64(), "Frames that failed, for the next run to try again.", "frames"),
        Column("removed", pa.int64(), "Rows deleted because their frame no longer exists.", "rows"),
        Column("seconds", pa.float64(), "Wall time; stages of one pixel pass share theirs.", "s"),
        RULE,
    ),
)

HEADS = Table(
    "heads",
    "The head of each stream and stage: the stage key whose rows the plain table names show.",
    key=("stream_id", "stage"),
    columns=(
        STREAM_ID,
        STAGE,
        STAGE_KEY,
        JOB_ID,
        Column("moved_ns", pa.int64(), "When the head was set to this key.", "ns since 1970"),
        RULE,
    ),
)

SCOPES = Table(
    "scopes",
    "The scopes that table stages have finished, and the input they were computed from.",
    key=("stage", "stage_key", "scope"),
    columns=(
        STAGE,
        STAGE_KEY,
        Column("scope", pa.string(), "A stream id, or `*` for the workspace."),
        Column("input_id", pa.int64(), "Digest of the upstream rows of the scope."),
        Column("n_rows", pa.int64(), "Rows written for it.", "rows", low=0),
        JOB_ID,
    ),
)

RELEASES = Table(
    "releases",
    "Named, fixed versions of the tables, from which exports are made.",
    key=("name",),
    columns=(
        Column("name", pa.string(), "Name of the release."),
        Column("manifest", pa.string(), "Table versions, and stage keys per stream, as JSON."),
        Column("note", pa.string(), "Note of its author.", nullable=True),
        JOB_ID,
        Column("created_ns", pa.int64(), "When it was created.", "ns since 1970"),
    ),
)

SELECTIONS = Table(
    "selections",
    "Frames that `winnow select` chose, and why.",
    key=("selection", *FRAME_KEY),
    columns=(
        Column("selection", pa.string(), "Name of the selection."),
        STREAM_ID,
        FRAME_IDX,
        Column("content_hash", pa.string(), "Content hash (BLAKE3) of the chosen frame."),
        Column("rank", pa.int64(), "Position in the order of choice, from 0.", low=0),
        Column("strategy", pa.string(), "`uniform`, `stratified`, `diverse` or `coverage`; `worst` by an evaluation."),
        Column("stratum", pa.string(), "The stratum of the frame, empty if there is one only."),
        Column("reason", pa.string(), "Why it was chosen."),
        Column(
            "value",
            pa.float32(),
            "Its score: distance to the nearest frame chosen before, mean gain of all frames, or its own worth.",
        ),
        Column("created_ns", pa.int64(), "When it was chosen.", "ns since 1970"),
    ),
)

PROJECTIONS = Table(
    "projections",
    "Places of frames on a plane, as `winnow map` computed them: frames that look alike are near one another.",
    key=("projection", *FRAME_KEY),
    columns=(
        Column("projection", pa.string(), "Name of the projection: `umap-embedding` or `umap-layout`."),
        STREAM_ID,
        FRAME_IDX,
        Column("method", pa.string(), "`umap`."),
        Column("model", pa.string(), "The model of the vectors; null for layouts.", nullable=True),
        Column("neighbours", pa.int64(), "How many neighbours of each frame stay neighbours.", low=2),
        Column("min_distance", pa.float64(), "How near points may be to each other.", low=0, high=1),
        Column("seed", pa.int64(), "Seed of the random numbers.", low=0),
        Column("x", pa.float32(), "Place from left to right; the axes have no meaning, distances have."),
        Column("y", pa.float32(), "Place from below to above."),
        Column("created_ns", pa.int64(), "When it was computed.", "ns since 1970"),
    ),
)

SPLITS = Table(
    "splits",
    "The split that a frame was given when a release was exported; all later exports of that seed leave it there.",
    key=("seed", *FRAME_KEY, "content_hash"),
    columns=(
        Column("seed", pa.int64(), "The `--seed` of the export; each seed has splits of its own.", low=0),
        STREAM_ID,
        FRAME_IDX,
        Column("content_hash", pa.string(), "Content hash (BLAKE3) of the frame; other content is another frame."),
        Column("split", pa.string(), "Name of the split; null for a frame that was left out.", nullable=True),
        Column(
            "left_out",
            pa.string(),
            "Why it was left out: `near_border`, `shared_track` or `duplicate` of a frame of another split; else null.",
            nullable=True,
        ),
        Column("release", pa.string(), "The release by whose export it was given first."),
        Column("split_by", pa.string(), "How it was chosen: `time`, `scene`, `stream`, `track` or `group`."),
        Column("given_ns", pa.int64(), "When it was given.", "ns since 1970"),
    ),
)

JOURNAL = Table(
    "journal",
    "Events of each run in order of time, read from files that runs append to: it has no table versions.",
    key=("job_id", "attempt", "at_ns", "event", "stage"),
    columns=(
        Column("at_ns", pa.int64(), "When it happened.", "ns since 1970"),
        JOB_ID,
        Column("attempt", pa.int64(), "Number of the run's current start.", low=1),
        Column(
            "event",
            pa.string(),
            "`run_started`, `stage_started`, `block_done`, `objects_seen`, `frames_set_aside`, `committed`, "
            "`train_step`, `train_epoch`, `stage_done`, `release_made`, `run_done`, `run_paused`, `run_cancelled` or "
            "`run_failed`.",
        ),
        Column("stage", pa.string(), "The stage, or the table of a commit; null for a whole run.", nullable=True),
        Column("stream_id", pa.string(), "Stream of a block's first frame.", nullable=True),
        Column("first_idx", pa.int64(), "Number of a block's first frame.", nullable=True),
        Column("last_stream_id", pa.string(), "Stream of a block's last frame.", nullable=True),
        Column("last_idx", pa.int64(), "Number of a block's last frame.", nullable=True),
        Column("frames", pa.int64(), "Frames processed.", "frames", nullable=True),
        Column("rows", pa.int64(), "Rows written.", "rows", nullable=True),
        Column("seconds", pa.float64(), "Duration.", "s", nullable=True),
        Column("error", pa.string(), "What went wrong.", nullable=True),
        Column("data", pa.string(), "Further data, as JSON.", nullable=True),
    ),
)
