"""What the rows of every table look like. Declarations only: nothing here reads or writes."""

from schemas.annotations import ANNOTATED, ANNOTATIONS
from schemas.core import FRAME_KEY, Column, SchemaMismatchError, Table
from schemas.frames import FRAMES, LISTING, STREAMS
from schemas.metrics import CURATION, DUPLICATES, EMBEDDINGS, FINGERPRINTS, IDLE, MEDIA, MOTION, QUALITY, SCENES
from schemas.ops import HEADS, JOURNAL, QUARANTINE, RELEASES, RUNS, SCOPES, SELECTIONS, STAGE_RUNS
from schemas.reviews import ESCALATED, ESCALATIONS, OBJECT_COLUMNS, REVIEWS, ROUTING

ALL: tuple[Table, ...] = (
    STREAMS,
    LISTING,
    FRAMES,
    QUALITY,
    FINGERPRINTS,
    MOTION,
    MEDIA,
    EMBEDDINGS,
    SCENES,
    IDLE,
    DUPLICATES,
    CURATION,
    ANNOTATIONS,
    ANNOTATED,
    ROUTING,
    ESCALATED,
    ESCALATIONS,
    REVIEWS,
    SELECTIONS,
    QUARANTINE,
    RUNS,
    STAGE_RUNS,
    HEADS,
    SCOPES,
    RELEASES,
)
BY_NAME: dict[str, Table] = {table.name: table for table in ALL}

__all__ = [
    "ALL",
    "ANNOTATED",
    "ANNOTATIONS",
    "BY_NAME",
    "CURATION",
    "DUPLICATES",
    "EMBEDDINGS",
    "ESCALATED",
    "ESCALATIONS",
    "FINGERPRINTS",
    "FRAMES",
    "FRAME_KEY",
    "HEADS",
    "IDLE",
    "JOURNAL",
    "LISTING",
    "MEDIA",
    "MOTION",
    "OBJECT_COLUMNS",
    "QUALITY",
    "QUARANTINE",
    "RELEASES",
    "REVIEWS",
    "ROUTING",
    "RUNS",
    "SCENES",
    "SCOPES",
    "SELECTIONS",
    "STAGE_RUNS",
    "STREAMS",
    "Column",
    "SchemaMismatchError",
    "Table",
]
