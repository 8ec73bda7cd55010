"""A frame as the tables have it, before anybody edits it in the browser; and what models suggest on others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import polars as pl

import schemas
from jobs.editing.event_rows import Image, Seed
from jobs.editing.objects import Body, of_row
from jobs.review.decisions import SEEN, tags_in
from jobs.views import final_objects, imported_labels
from jobs.views.project_settings import ProjectSettings
from jobs.web.frame_rows import FrameRows
from jobs.web.project_data import Shown
from transforms.core.boxes import box_iou

_MOST_HELD = 256
_SAME_THING = 0.7
_OF_MODELS = tuple(
    schemas.BY_NAME[name]
    for name in (
        *("annotations", "annotated", "masks", "tracks", "propagations", "propagated", "texts", "imports"),
        *("routing", "escalated", "frames", "heads", "project_settings"),
    )
)


@dataclass(frozen=True)
class FromTables:
    """A frame: its image, what models found, what `reviews` has of it, and why it is in the queue.

    `models`: objects by id. `seed`: how it is before the first edit.
    """

    image: Image
    models: Mapping[str, Body]
    seed: Seed
    uncertainty: float | None
    doubts: tuple[str, ...]


class FramesFromTables:
    """The frames of a project that somebody requested lately; safe for threads."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._held: OrderedDict[Any, FromTables] = OrderedDict()
        self._lock = Lock()

    def of(self, shown: Shown, row: int, settings: ProjectSettings) -> FromTables:
        """Return the frame in a row of the columns, read unless the tables are what they were."""
        versions = tuple(shown.store.open(table).version for table in (*_OF_MODELS, schemas.REVIEWS))
        key = (versions, *shown.frames.keys.frame(row))
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        found = _read(self._project, shown, row, settings)
        with self._lock:
            self._held[key] = found
            if len(self._held) > _MOST_HELD:
                self._held.popitem(last=False)
        return found


def _read(project: str, shown: Shown, row: int, settings: ProjectSettings) -> FromTables:
    stream, idx = shown.frames.keys.frame(row)
    frame = shown.frames.stored_rows(schemas.FRAMES, row).to_pylist()[0]
    size = (int(frame["width"] or 0), int(frame["height"] or 0))
    image = Image(project, stream, idx, frame["content_hash"], *size)
    rows = FrameRows(shown, row)
    models = _bodies(_objects_of_models(shown, rows, row), settings)
    routing = shown.frames.stored_rows(schemas.ROUTING, row, columns=("uncertainty", "doubts")).to_pylist()
    why: dict[str, Any] = routing[0] if routing else {"uncertainty": None, "doubts": ()}
    seed = _seed(rows, image, models, settings)
    uncertainty = None if why["uncertainty"] is None else round(float(why["uncertainty"]), 4)
    return FromTables(image, models, seed, uncertainty, tuple(why["doubts"] or ()))


def _objects_of_models(shown: Shown, rows: FrameRows, row: int) -> pl.DataFrame:
    if shown.frames.stored_rows(schemas.PROPAGATED, row).num_rows:
        # Their tracks are those of objects on other frames.
        stream, idx = shown.frames.keys.frame(row)
        mine = (pl.col("stream_id") == stream) & (pl.col("frame_idx") == idx)
        return shown.view.lazy(final_objects.BY_MODELS).filter(mine).collect()
    return rows.lazy(final_objects.BY_MODELS).collect()


def _bodies(rows: pl.DataFrame, settings: ProjectSettings) -> dict[str, Body]:
    found = {}
    for row in rows.sort("annotation_id").to_dicts():
        body = of_row(row)
        found[row["annotation_id"]] = {**body, "category": settings.name_of(body["category"])}
    return found


def _seed(rows: FrameRows, image: Image, models: Mapping[str, Body], settings: ProjectSettings) -> Seed:
    """Return a frame as people left it by files, or as models did."""
    reviews = rows.lazy(schemas.REVIEWS.name).filter(content_hash=image.content_hash).collect()
    seen = reviews.filter(decision=SEEN).to_dicts()
    if not seen:
        labelled = rows.lazy(final_objects.REVIEWED).collect().to_dicts()
        if labelled:
            return Seed(dict(models), state="approved", reviewer=labelled[0]["reviewer"])
        return Seed(dict(models))
    is_there = pl.col("decision").is_in(final_objects.HUMAN)
    there = _bodies(reviews.filter(is_there), settings)
    rejected = _bodies(reviews.filter(decision="reject"), settings)
    tags = tuple(str(tag) for tag in tags_in(seen[0]["attributes"]))
    return Seed(there, rejected, "approved", seen[0]["reviewer"], tags)


def suggestions(models: Mapping[str, Body], objects: Mapping[str, Body]) -> dict[str, Body]:
    """Return what models say of a frame that people have worked on, without what is there, or was deleted, by them.

    An object of the models is there if its id is known, or a box of its category overlaps it by 0.7 or more (IoU).
    """
    fresh = {name: body for name, body in models.items() if name not in objects}
    others = [body for body in objects.values() if not str(body["source"]).startswith(imported_labels.PREFIX)]
    if not fresh or not others:
        return fresh
    one = np.array([body["bbox"] for body in fresh.values()], np.float64)
    other = np.array([body["bbox"] for body in others], np.float64)
    same = np.array([[a["category"] == b["category"] for b in others] for a in fresh.values()])
    known = ((box_iou(one, other) >= _SAME_THING) & same).any(axis=1)
    return {name: body for (name, body), is_known in zip(fresh.items(), known.tolist(), strict=True) if not is_known}
