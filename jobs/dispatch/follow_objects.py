"""Objects that a person left on a frame, followed over the next frames by a model; what it finds is suggested."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl
import pyarrow as pa
from blake3 import blake3

import schemas
from jobs.core.errors import UserError
from jobs.dispatch.task_options import FollowOptions
from jobs.models.transformers import in_folder
from jobs.storage.changes import Drop
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import imported_labels
from jobs.views.view import View
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import Color, ImageParams
from transforms.models.propagate import KINDS, Carried, PropagateParams, Propagator, PropagatorSpec

_JOB = "follow"
_COLUMNS = ("stream_id", "frame_idx", "uri", "content_hash", "status", "white_level", "width", "height")

Frame = Mapping[str, Any]


def follow(
    workspace: Workspace, job_id: str, options: FollowOptions, on_frames: Callable[[int], None]
) -> dict[str, Any]:
    """Store where the model sees the objects on the next frames, and return how many frames and objects that were.

    It ends before a gap in the numbers, a frame without an image and a frame of another size. `on_frames` is called
    after each frame; what it raises ends the job with nothing stored. The same job stores the same rows once.
    """
    origin, *later = _frames(workspace, options)
    found = in_folder("weights", options.weights, KINDS)
    params = PropagateParams(weights=options.weights, reach=options.frames)
    spec = PropagatorSpec(found.kind, found.weights.path, found.weights.name, found.weights.sha256, params)
    model = Propagator(spec, "", max(1, os.cpu_count() or 1))
    names = ("annotation_id", "category", "score", "x", "y", "w", "h")
    objects = [
        dict(zip(names, (each.object_id, each.category, 1.0, *each.bbox), strict=True)) for each in options.objects
    ]
    source = f"{imported_labels.PREFIX}{_JOB} {options.stream} {options.idx}"
    rows: list[dict[str, Any]] = []
    with Clips() as clips:
        state = model.start(model.prepare(_image(origin, clips), objects), options.idx)
        for frame in later:
            carried = model.step(state, model.prepare(_image(frame, clips)), wanted=True)
            assert carried is not None
            rows += _rows(frame, carried, source, found.weights.name)
            on_frames(1)
    store = Store(workspace.root)
    store.create_tables([schemas.IMPORTS])
    table = pa.Table.from_pylist(rows, schemas.IMPORTS.arrow_schema)
    store.upsert(schemas.IMPORTS, table, job_id, Drop(keys=pa.table({"source": [source]})))
    return {"frames": len(later), "objects": len(rows), "stream": options.stream, "idx": options.idx}


def _frames(workspace: Workspace, options: FollowOptions) -> list[Frame]:
    """Return the frame and those after it. Raises `UserError` where it shows another image by now."""
    mine = (pl.col("stream_id") == options.stream) & (pl.col("frame_idx") >= options.idx)
    read = View.of(workspace).lazy("frames").filter(mine).select(_COLUMNS).sort("frame_idx").head(options.frames + 1)
    rows = read.collect().to_dicts()
    if not rows or rows[0]["frame_idx"] != options.idx or not rows[0]["content_hash"].startswith(options.h):
        raise UserError(f"frame {options.stream} {options.idx} shows another image than when it was edited; edit it")
    return list(_unbroken(rows))


def _unbroken(rows: list[dict[str, Any]]) -> Iterator[Frame]:
    step = rows[1]["frame_idx"] - rows[0]["frame_idx"] if len(rows) > 1 else 1
    first = rows[0]
    for at, row in enumerate(rows):
        same = all(row[name] == first[name] for name in ("width", "height"))
        if row["status"] != "ok" or not same or row["frame_idx"] != first["frame_idx"] + at * step:
            return
        yield row


def _image(frame: Frame, clips: Clips) -> Color:
    image = open_frame(frame["uri"], None, ImageParams(white_level=frame["white_level"]), clips)
    image.load()
    if image.hash_hex != frame["content_hash"]:
        raise UserError(f"frame {frame['stream_id']} {frame['frame_idx']}: its file has changed; run its stream again")
    return image.color()


def _rows(frame: Frame, carried: Carried, source: str, model: str) -> Iterator[dict[str, Any]]:
    for origin, box, score, mask in zip(
        carried.origins, carried.boxes.tolist(), carried.scores.tolist(), carried.run_lengths, strict=True
    ):
        text = "\x1f".join([source, frame["content_hash"], str(frame["frame_idx"]), origin["annotation_id"]])
        yield {
            "annotation_id": blake3(text.encode()).hexdigest()[:32],
            **{name: frame[name] for name in ("stream_id", "frame_idx", "content_hash")},
            "kind": imported_labels.OBJECT,
            "source": source,
            "role": imported_labels.SUGGESTION,
            "category": origin["category"],
            "score": score,
            **dict(zip(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), box, strict=True)),
            "mask_rle": mask,
            "model": model,
            "is_crowd": False,
            "file_name": "",
            "matched_by": "content",
            "imported_ns": time.time_ns(),
        }
