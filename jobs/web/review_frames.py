"""A frame as the tables have it, before anybody edits it in the browser; and what models suggest on others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
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
_FEW = 8
_IN_BULK = "in bulk"
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

    def of(self, shown: Shown, row: int, settings: ProjectSettings, needs_reason: bool = True) -> FromTables:
        """Return the frame in a row of the columns, read unless the tables are what they were.

        Without `needs_reason`, it may lack why the frame is in the queue.
        """
        key = (_versions(shown), *shown.frames.keys.frame(row))
        with self._lock:
            for known in [key] if needs_reason else [key, (*key, _IN_BULK)]:
                if known in self._held:
                    self._held.move_to_end(known)
                    return self._held[known]
        found = _read(self._project, shown, row, settings)
        self._hold({key: found})
        return found

    def read_many(self, shown: Shown, rows: Sequence[int], settings: ProjectSettings) -> None:
        """Read many frames in one pass, so that `of` has them; a few are not worth it."""
        if len(rows) < _FEW:
            return
        versions, keys = _versions(shown), shown.frames.keys
        found = _read_many(self._project, shown, rows, settings)
        self._hold({(versions, *keys.frame(row), _IN_BULK): frame for row, frame in zip(rows, found, strict=True)})

    def _hold(self, fresh: Mapping[Any, FromTables]) -> None:
        with self._lock:
            self._held.update(fresh)
            while len(self._held) > max(_MOST_HELD, len(fresh)):
                self._held.popitem(last=False)


def _versions(shown: Shown) -> tuple[int, ...]:
    return tuple(shown.store.open(table).version for table in (*_OF_MODELS, schemas.REVIEWS))


class _ManyRows:
    """The rows of some frames in tables and views, by name as `View.lazy` has them, by frame."""

    def __init__(self, shown: Shown, rows: Sequence[int]) -> None:
        frames = [shown.frames.keys.frame(row) for row in rows]
        self._shown = shown
        self._wanted = pl.LazyFrame(
            {"stream_id": [stream for stream, _ in frames], "frame_idx": [number for _, number in frames]},
            schema={"stream_id": pl.String, "frame_idx": pl.Int64},
        )

    def by_frame(self, name: str) -> dict[tuple[str, int], pl.DataFrame]:
        """Return the rows of each frame that has any."""
        found = self._shown.view.lazy(name).join(self._wanted, on=schemas.FRAME_KEY, how="semi").collect()
        parts = found.partition_by(list(schemas.FRAME_KEY), as_dict=True)
        return {(str(stream), int(number)): rows for (stream, number), rows in parts.items()}


def _read_many(project: str, shown: Shown, rows: Sequence[int], settings: ProjectSettings) -> list[FromTables]:
    many = _ManyRows(shown, rows)
    names = (schemas.FRAMES.name, final_objects.BY_MODELS, schemas.REVIEWS.name, final_objects.REVIEWED)
    frames, objects, reviews, reviewed = (many.by_frame(name) for name in names)
    found = []
    for row in rows:
        place = shown.frames.keys.frame(row)
        frame = frames[place].to_dicts()[0]
        image = Image(project, *place, frame["content_hash"], int(frame["width"] or 0), int(frame["height"] or 0))
        models = _bodies(objects[place], settings) if place in objects else {}
        seed = _seed(reviews.get(place), reviewed.get(place), image, models, settings)
        # Why frames are in the queue is of no use to edits of many.
        found.append(FromTables(image, models, seed, None, ()))
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
    reviews, reviewed = (rows.lazy(name).collect() for name in (schemas.REVIEWS.name, final_objects.REVIEWED))
    seed = _seed(reviews, reviewed, image, models, settings)
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


def _seed(
    reviews: pl.DataFrame | None,
    reviewed: pl.DataFrame | None,
    image: Image,
    models: Mapping[str, Body],
    settings: ProjectSettings,
) -> Seed:
    """Return a frame as people left it by files, or as models did.

    `reviews` and `reviewed` are its rows of `reviews` and of `reviewed_frames`, None for none.
    """
    of_image = None if reviews is None else reviews.filter(content_hash=image.content_hash)
    seen = [] if of_image is None else of_image.filter(decision=SEEN).to_dicts()
    if of_image is None or not seen:
        if reviewed is not None and reviewed.height:
            return Seed(dict(models), state="approved", reviewer=str(reviewed["reviewer"][0]))
        return Seed(dict(models))
    is_there = pl.col("decision").is_in(final_objects.HUMAN)
    there = _bodies(of_image.filter(is_there), settings)
    rejected = _bodies(of_image.filter(decision="reject"), settings)
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
