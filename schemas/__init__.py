"""Declarations of all tables: columns, keys and partitions. Nothing here reads or writes."""

from schemas.annotations import (
    ANNOTATED,
    ANNOTATIONS,
    CAPTIONS,
    CATEGORIES,
    MASKS,
    OBJECTS_OF,
    OCR,
    PROPAGATED,
    PROPAGATIONS,
    SEGMENTED,
    TEXTS,
    TRACKS,
)
from schemas.declaration import FRAME_KEY, Column, SchemaMismatchError, Table
from schemas.frames import FRAMES, LISTING, STREAMS
from schemas.imports import IMPORTS
from schemas.metrics import CURATION, DUPLICATES, EMBEDDINGS, FINGERPRINTS, IDLE, MEDIA, MOTION, QUALITY, SCENES
from schemas.models import MODELS
from schemas.ops import HEADS, JOURNAL, QUARANTINE, RELEASES, RUNS, SCOPES, SELECTIONS, SPLITS, STAGE_RUNS
from schemas.review_events import PROJECT_SETTINGS, REVIEW_EVENTS
from schemas.reviews import COLUMNS_BY_PEOPLE, ESCALATED, ESCALATIONS, OBJECT_COLUMNS, OVERRIDES, REVIEWS, ROUTING

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
    MASKS,
    SEGMENTED,
    TRACKS,
    PROPAGATIONS,
    PROPAGATED,
    TEXTS,
    OCR,
    CAPTIONS,
    CATEGORIES,
    ROUTING,
    ESCALATED,
    ESCALATIONS,
    REVIEWS,
    REVIEW_EVENTS,
    PROJECT_SETTINGS,
    OVERRIDES,
    IMPORTS,
    SELECTIONS,
    SPLITS,
    QUARANTINE,
    RUNS,
    STAGE_RUNS,
    HEADS,
    SCOPES,
    RELEASES,
    MODELS,
)
BY_NAME: dict[str, Table] = {table.name: table for table in ALL}


def of_stage(stage: str) -> tuple[Table, ...]:
    """Return the tables that a stage writes under its keys."""
    return tuple(table for table in ALL if table.has_stage_key and table.written_by == stage)


__all__ = [
    "ALL",
    "ANNOTATED",
    "ANNOTATIONS",
    "BY_NAME",
    "CAPTIONS",
    "CATEGORIES",
    "COLUMNS_BY_PEOPLE",
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
    "IMPORTS",
    "JOURNAL",
    "LISTING",
    "MASKS",
    "MEDIA",
    "MODELS",
    "MOTION",
    "OBJECTS_OF",
    "OBJECT_COLUMNS",
    "OCR",
    "OVERRIDES",
    "PROJECT_SETTINGS",
    "PROPAGATED",
    "PROPAGATIONS",
    "QUALITY",
    "QUARANTINE",
    "RELEASES",
    "REVIEWS",
    "REVIEW_EVENTS",
    "ROUTING",
    "RUNS",
    "SCENES",
    "SCOPES",
    "SEGMENTED",
    "SELECTIONS",
    "SPLITS",
    "STAGE_RUNS",
    "STREAMS",
    "TEXTS",
    "TRACKS",
    "Column",
    "SchemaMismatchError",
    "Table",
    "of_stage",
]
