"""The final objects of each frame: as models found them, corrected by vision language models and by people.

Tables of models are never changed by a review. Exports and scores read these views instead. Each is defined by one SQL
SELECT over other relations of a `View`:

- `objects` (`NAME`): on a frame that a person has reviewed, what that person left; on others, `objects_by_models`.
- `objects_by_models` (`BY_MODELS`): what the larger model found where frames were routed to it, else `annotations`,
  without what a vision language model dropped, and under the categories that it gave.
- `reviewed_frames` (`REVIEWED`): frames that a person has reviewed with the picture that they show now.
"""

from __future__ import annotations

import pyarrow as pa

import schemas

NAME = "objects"
BY_MODELS = "objects_by_models"
REVIEWED = "reviewed_frames"

HUMAN = ("approve", "correct", "add")
"""Decisions of a reviewer after which an object is there."""

COLUMNS = (*schemas.OBJECT_COLUMNS, "decision", "reviewer")
"""Columns of `objects` and `objects_by_models`: of `annotations`, and the last decision with who made it."""

_KEY = ", ".join(schemas.FRAME_KEY)
_PICTURE = f"{_KEY}, content_hash"
_OBJECT = ", ".join(schemas.OBJECT_COLUMNS)
_HUMAN = ", ".join(f"'{decision}'" for decision in HUMAN)

STATEMENTS = {
    # A review of another picture than the frame shows now does not count.
    REVIEWED: f"""
        SELECT {_PICTURE} FROM (SELECT {_PICTURE} FROM reviews WHERE decision = 'seen') AS seen
        SEMI JOIN frames USING ({_PICTURE})""",
    BY_MODELS: f"""
        WITH larger AS (
            SELECT {_KEY} FROM "annotated:larger" AS run
            SEMI JOIN frames USING (input_id, {_KEY})
            SEMI JOIN (SELECT {_KEY} FROM routing WHERE route = 'larger') AS routed USING ({_KEY})
        ), found AS (
            SELECT {_OBJECT} FROM annotations ANTI JOIN larger USING ({_KEY})
            UNION ALL SELECT {_OBJECT} FROM "annotations:larger" SEMI JOIN larger USING ({_KEY})
        ), said AS (
            SELECT verdict.annotation_id, verdict.verdict AS decision, verdict.category AS other, model AS reviewer
            FROM (SELECT unnest(verdicts) AS verdict, model FROM escalated) WHERE verdict IS NOT NULL
        )
        SELECT found.* REPLACE (CASE WHEN decision = 'relabel' THEN other ELSE category END AS category),
               decision, reviewer
        FROM found LEFT JOIN said ON said.annotation_id = found.annotation_id
        WHERE decision IS DISTINCT FROM 'drop'""",
    NAME: f"""
        SELECT {", ".join(COLUMNS)} FROM (SELECT * FROM reviews WHERE decision IN ({_HUMAN})) AS said
        SEMI JOIN {REVIEWED} USING ({_PICTURE})
        UNION ALL SELECT {", ".join(COLUMNS)} FROM {BY_MODELS} ANTI JOIN {REVIEWED} USING ({_KEY})""",
}
"""The SELECT behind each of the views."""


def schema(name: str) -> pa.Schema:
    """Return the columns of one of the views."""
    own = schemas.FRAMES.arrow_schema if name == REVIEWED else schemas.REVIEWS.arrow_schema
    return pa.schema([own.field(column) for column in (_PICTURE.split(", ") if name == REVIEWED else COLUMNS)])
