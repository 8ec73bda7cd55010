"""`annotations` as readers see them: detections with masks and tracks, propagated objects, and texts."""

from __future__ import annotations

from collections.abc import Container

import schemas

NAME = schemas.ANNOTATIONS.name
DETECTED = "annotations_found"
"""The relation of what detectors alone found: the selected rows of the stored table `annotations`."""

_REFINED_BY = {schemas.MASKS: "mask_rle", schemas.TRACKS: "track_id"}
"""The column of an object that another table knows better, by that table."""


def statement(stages: Container[str]) -> str:
    """Return the SELECT behind `annotations`, in the columns of the stored table.

    `stages` are those with selected rows; the tables of others are not read. A propagated object takes the track of the
    object that it was propagated from. It is shown as long as that object is there, and no detector has run on its own
    frame.

    >>> statement({"annotate"})
    'SELECT found.* FROM annotations_found found '
    """
    refined, joins = [], []
    for table, column in _REFINED_BY.items():
        if table.written_by in stages:
            refined.append(f"coalesce({table.name}.{column}, found.{column}) AS {column}")
            joins.append(f"LEFT JOIN {table.name} ON {table.name}.annotation_id = found.annotation_id")
    replaced = f" REPLACE ({', '.join(refined)})" if refined else ""
    select = f"SELECT found.*{replaced} FROM {DETECTED} found {' '.join(joins)}"
    parts = [select]
    if schemas.PROPAGATIONS.written_by in stages:
        parts.append(
            "SELECT carried.* EXCLUDE (origin_id) REPLACE (origin.track_id AS track_id) FROM propagations carried "
            f"JOIN ({select}) origin ON origin.annotation_id = carried.origin_id "
            "ANTI JOIN annotated ON annotated.stream_id = carried.stream_id "
            "AND annotated.frame_idx = carried.frame_idx"
        )
    if schemas.TEXTS.written_by in stages:
        parts.append("SELECT * FROM texts")
    return " UNION ALL BY NAME ".join(parts)
