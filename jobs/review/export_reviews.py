"""`winnow review export`: frames of the review queue, as a folder that an annotation tool reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.core.choices import MediaMode, ReviewFormat
from jobs.core.errors import UserError
from jobs.core.naming import wrong_with_category
from jobs.core.optional_packages import require
from jobs.datasets.atomic_publish import staged
from jobs.datasets.export_objects import objects_of
from jobs.datasets.frame_sampling import frames_of
from jobs.datasets.media import bring
from jobs.datasets.staleness import refuse_outdated
from jobs.review.decisions import SEEN, tags_in
from jobs.review.frames_apart import COLUMNS, frames_apart, spread_of
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import final_objects, snapshot_spec
from jobs.views.overridden_verdicts import BY_HAND
from jobs.views.statement import check_condition
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.formats.exports.losses import losses
from transforms.formats.exports.objects import Objects
from transforms.formats.reviewing.coco import review_coco_files
from transforms.formats.reviewing.cvat import cvat_files
from transforms.formats.reviewing.labelstudio import labelstudio_files
from transforms.formats.reviewing.shapes import image_name
from transforms.frames.clip import FrameName

_IMAGES = "images/"

FORMATS: Mapping[ReviewFormat, Callable[[pa.Table, Objects, str], dict[str, bytes]]] = {
    "labelstudio": labelstudio_files,
    "cvat": cvat_files,
    "coco": review_coco_files,
}


@dataclass(frozen=True)
class QueueRequest:
    """Which frames to export for review, for which tool, and whether images are exported with them.

    Without `where`, the frames of the review queue. `n`: only the most uncertain, those that curation keeps first.
    `spread`: of frames of a stream that are no more seconds apart, and of a group of duplicates, only the most
    uncertain one; 0 for all of them, and None for `route.spread` with `n`, and 0 without. Frames that somebody has
    reviewed are left out, unless `include_reviewed`. `root` is put before the names of images in Label Studio's tasks.
    `categories` are offered in addition to those that the tables know. `selection`: only frames of this selection, also
    those that no queue has.
    """

    format: ReviewFormat
    out: Path
    where: str | None = None
    n: int | None = None
    include_reviewed: bool = False
    media: MediaMode = "copy"
    root: str = "/data/local-files/?d="
    categories: tuple[str, ...] = ()
    spread: float | None = None
    selection: str | None = None


def export_queue(workspace: Workspace, request: QueueRequest) -> dict[str, Any]:
    """Write the folder and return its manifest, with numbers; no folder where no frame is selected.

    `near` counts the frames that are next to others of them, or duplicates, with `spread` as that of the review queue,
    and `near_left_out` says whether these are left out.

    Raises `UserError` for an invalid request, and `RunFailedError` where an image is no longer the one that was
    measured.
    """
    store = Store(workspace.require().root)
    _check(request)
    chosen = snapshot_spec.pinned(store)
    view = View(store, chosen)
    rows, near = _rows(view, request)
    manifest = {"format": request.format, "out": str(request.out), "frames": rows.num_rows, **near}
    if not rows.num_rows:
        return manifest | {"objects": 0}
    refuse_outdated(view, rows)
    objects = objects_of(view, rows, None)
    if objects.rows.num_rows and objects.rows.num_rows > objects.rows["mask_rle"].null_count:
        require("annotate", "pycocotools")
    objects = replace(objects, categories=tuple(dict.fromkeys((*objects.categories, *request.categories))))
    out = request.out.absolute()
    with staged(place(out)) as temporary:
        bring(rows.append_column("expected", rows["content_hash"]), request.media, temporary)
        for name, data in FORMATS[request.format](rows, objects, request.root).items():
            (temporary / name).write_bytes(data)
        manifest |= losses(request.format, rows, objects) | {"where": request.where, "source": chosen.manifest()}
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        if out.exists():
            out.rmdir()
        temporary.replace(out)
    return manifest


def _check(request: QueueRequest) -> None:
    problems = []
    if request.format not in FORMATS:
        problems.append(f"unknown format {request.format!r}; there are: {', '.join(FORMATS)}")
    if request.n is not None and request.n < 1:
        problems.append(f"--n {request.n}: expected at least 1")
    if request.spread is not None and not 0 <= request.spread < float("inf"):
        problems.append(f"--spread {request.spread:g}: expected seconds, from 0 on")
    if request.out.exists() and (not request.out.is_dir() or any(request.out.iterdir())):
        problems.append(f"{request.out} exists, and somebody may be working on it; name an empty or new folder")
    problems += [f"--category: {wrong}" for name in request.categories if (wrong := wrong_with_category(name))]
    if problems:
        raise UserError(problems)
    if request.where is not None:
        check_condition(request.where)


def _rows(view: View, request: QueueRequest) -> tuple[pa.Table, dict[str, Any]]:
    """Return the frames to review, with the names of their images, in order of stream and number; and `near`."""
    is_queue = request.where is None and request.selection is None
    if is_queue and schemas.ROUTING.written_by not in view.selection.keys:
        raise UserError(
            "there is no review queue; run with the stage route (winnow run with --add-stage route), or say which "
            "frames with --where"
        )
    # Routes do not depend on overrides, but nobody needs to be asked about a frame that was dropped by hand.
    queue = f"route = 'person' AND NOT coalesce(list_contains(reasons, '{BY_HAND}'), false)"
    test = f"({request.where})" if request.where else queue if is_queue else "true"
    columns = ", ".join(("stream_id", "frame_idx", "content_hash", "width", "height", "uri", *COLUMNS))
    rows = pl.DataFrame(view.sql(f"SELECT {columns} FROM curated WHERE status = 'ok' AND {test}"))
    if request.selection is not None:
        rows = rows.with_columns(pl.col("stream_id", "content_hash").cast(pl.String))
        rows = rows.join(frames_of(view, request.selection), on=[*FRAME_KEY, "content_hash"], how="semi")
    rows, near = _chosen(rows, view, request)
    rows = rows.sort(FRAME_KEY).drop("keep", "group_id", "time_ns")
    seen = view.lazy("reviews").filter(decision=SEEN).select(*FRAME_KEY, "content_hash", "attributes").collect()
    rows = rows.join(seen, on=[*FRAME_KEY, "content_hash"], how="left", maintain_order="left")
    tags = [json.dumps(tags_in(text)) for text in rows["attributes"]]
    rows = rows.drop("attributes").with_columns(tags=pl.Series(tags, dtype=pl.String))
    names = [
        _IMAGES + image_name(stream, number, content, _suffix(uri))
        for stream, number, content, uri in rows.select(*FRAME_KEY, "content_hash", "uri").iter_rows()
    ]
    table = rows.to_arrow().append_column("file_name", pa.array(names, pa.string()))
    for name in ("stream_id", "content_hash", "uri", "tags"):
        table = table.set_column(table.schema.get_field_index(name), name, pc.cast(table[name], pa.string()))
    return table.append_column("source", table["uri"]), near


def _chosen(rows: pl.DataFrame, view: View, request: QueueRequest) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return those of the frames that are exported, and how many are next to others of them, or duplicates."""
    reviewed = view.lazy(final_objects.REVIEWED).collect()
    seen = rows.join(reviewed, on=[*FRAME_KEY, "content_hash"], how="semi")
    if request.include_reviewed:
        seen = seen.clear()
    waiting = rows.join(seen, on=FRAME_KEY, how="anti", maintain_order="left")
    of_queue = spread_of(view)
    spread = request.spread
    if spread is None and request.n is not None:
        spread = of_queue
    steps = view.lazy(schemas.STREAMS.name).select("stream_id", "step").collect()
    # What a condition selects is exported as a whole, but for what else is requested.
    compared = spread or (of_queue if spread is None and request.where else 0.0)
    apart = frames_apart(rows, seen, steps, compared, None) if compared else waiting
    near = {"near": waiting.height - apart.height, "near_left_out": bool(spread)}
    if spread:
        return frames_apart(rows, seen, steps, spread, request.n), near
    if request.n is not None:
        keys = (~pl.col("keep").fill_null(False), "uncertainty", *FRAME_KEY)
        waiting = waiting.sort(*keys, descending=[False, True, False, False], nulls_last=True).head(request.n)
    return waiting, near


def _suffix(uri: str) -> str:
    return ".jpg" if FrameName.parse(uri) else Path(uri).suffix.lower()
