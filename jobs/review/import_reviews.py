"""`winnow review import`: the file of an annotation tool becomes rows of `reviews`, as a whole or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import schemas
from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from jobs.review.decisions import PICTURE, Row, frame_rows, record_decisions
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import final_objects
from jobs.views.categories import categories_of
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.formats.reviewing.coco import read_review_coco
from transforms.formats.reviewing.cvat import read_cvat
from transforms.formats.reviewing.labelstudio import read_labelstudio
from transforms.formats.reviewing.match_objects import Known, decide
from transforms.formats.reviewing.shapes import Returned, ReviewFileError, parse_name

_SHOWN = 20


@dataclass(frozen=True)
class ImportRequest:
    """A file to import: its format (None: found out from its content), and what the file itself does not say.

    `reviewer` overrides the reviewer that the file names; `categories` are accepted as well as those that the tables
    know; `ids` is the file with the object that each number of a COCO file stands for.
    """

    file: Path
    format: str | None = None
    reviewer: str | None = None
    note: str | None = None
    categories: tuple[str, ...] = ()
    ids: Path | None = None
    dry_run: bool = False


def import_file(workspace: Workspace, request: ImportRequest) -> dict[str, Any]:
    """Record the reviews in a file, and return their numbers: those of `record_decisions`, and the `file`.

    A frame of which the tables have the same review, or a newer one, is left as it is, so that a file can be imported
    again. Raises `UserError` with everything that is wrong with the file, before anything is written.
    """
    store = Store(workspace.require().root)
    returned, problems = _read(request)
    store.create_tables([schemas.REVIEWS, schemas.CATEGORIES])
    view = View.of(workspace)
    matched = list(_matched(returned, view, problems))
    known = _known(matched, view)
    categories = frozenset(categories_of(view)) | frozenset(request.categories)
    rows: list[Row] = []
    now = time.time_ns()
    for (frame, _), about in zip(matched, known, strict=True):
        reviewer = request.reviewer or frame.reviewer
        if not reviewer:
            problems.append(f"{frame.place}: the file does not say who reviewed it; name the person with --reviewer")
            continue
        decided, wrong = decide(about, frame, categories, reviewer)
        problems += wrong
        picture = (about.stream_id, about.frame_idx, about.content_hash)
        rows += frame_rows(picture, decided, reviewer, frame.reviewed_ns or now, frame.note, request.note)
    _refuse(request.file, problems)
    origin = f"review {request.file.name}"
    counts = record_decisions(workspace, rows, origin, request.categories, request.dry_run)
    return {"file": str(request.file), **counts}


def _read(request: ImportRequest) -> tuple[list[Returned], list[str]]:
    """Return the frames of the file, and a line for everything in it that is not as the tool writes it.

    Raises `UserError` where none of it can be read.
    """
    try:
        data = request.file.read_bytes()
    except OSError as error:
        raise UserError(f"{request.file} cannot be read: {error.strerror or error}") from error
    kind = request.format or {b"<": "cvat", b"[": "labelstudio", b"{": "coco"}.get(data.lstrip()[:1])
    try:
        if kind == "labelstudio":
            return read_labelstudio(data), []
        require("annotate", "pycocotools")
        if kind == "cvat":
            return read_cvat(data), []
        if kind == "coco":
            return read_review_coco(data, _ids(request)), []
    except ReviewFileError as error:
        if not error.frames:
            _refuse(request.file, error.problems)
        return error.frames, error.problems
    raise UserError(f"{request.file}: expected JSON of Label Studio or COCO, or XML of CVAT; found neither")


def _refuse(file: Path, problems: Sequence[str]) -> None:
    if problems:
        more = [f"{file}: … and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
        raise UserError([*(f"{file}: {text}" for text in problems[:_SHOWN]), *more])


def _ids(request: ImportRequest) -> dict[str, str]:
    """Return the object id of each number, from the named file, or from `ids.json` beside the imported one."""
    path = request.ids or request.file.with_name("ids.json")
    if request.ids is None and not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"ids {path} cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"ids {path}: expected an object of ids, as `winnow review export` writes it")
    return found


def _matched(returned: Sequence[Returned], view: View, problems: list[str]) -> Iterator[tuple[Returned, Row]]:
    """Yield the frames of a file with their rows in `frames`; add a line to `problems` for each other one."""
    names = [parse_name(frame.name) for frame in returned]
    numbers = sorted({name.number for name in names if name})
    columns = [*PICTURE, "width", "height"]
    rows = view.lazy("frames").filter(pl.col("status") == "ok", pl.col("frame_idx").is_in(numbers)).select(columns)
    by_number: dict[int, list[Row]] = {}
    for row in rows.collect().to_dicts():
        by_number.setdefault(row["frame_idx"], []).append(row)
    places: dict[tuple[str, int], str] = {}
    for frame, name in zip(returned, names, strict=True):
        if name is None:
            problems.append(
                f"{frame.place}: {frame.name} does not name a frame; expected the name that `winnow review export` gave"
            )
            continue
        numbered = by_number.get(name.number, [])
        there = [row for row in numbered if _is_in(row["stream_id"], name.folder)]
        # A tool may have removed the folders; then the content decides.
        same = [row for row in there or numbered if row["content_hash"].startswith(name.hash)]
        if len(same) == 1 or (there and same):
            chosen = max(same, key=lambda row: len(row["stream_id"]))
            key = (chosen["stream_id"], chosen["frame_idx"])
            if key in places:
                problems.append(f"{frame.place}: frame {key[0]} {key[1]} is in the file twice, see {places[key]}")
                continue
            places[key] = frame.place
            yield frame, chosen
        elif there:
            problems.append(f"{frame.place}: {frame.name} shows another picture now; export it for review again")
        else:
            problems.append(f"{frame.place}: {frame.name} is no frame of the workspace")


def _is_in(stream_id: str, folder: str) -> bool:
    return f"/{folder}".endswith(f"/{stream_id}") or folder.endswith(f"={stream_id}")


def _known(matched: Sequence[tuple[Returned, Row]], view: View) -> list[Known]:
    """Return what the tables know of each of these frames and its objects."""
    wanted = pl.LazyFrame(
        {name: [row[name] for _, row in matched] for name in PICTURE},
        schema={"stream_id": pl.String, "frame_idx": pl.Int64, "content_hash": pl.String},
    )
    named = sorted({s.annotation_id for frame, _ in matched for s in frame.shapes if s.annotation_id})
    columns = list(schemas.OBJECT_COLUMNS)
    shown = view.lazy(final_objects.BY_MODELS).select(columns).join(wanted, on=FRAME_KEY, how="semi")
    ever = pl.concat([view.lazy(name).select(columns) for name in ("annotations_all", "propagations_all")])
    found = ever.filter(pl.col("annotation_id").is_in(named))
    said = view.lazy("reviews").filter(pl.col("decision").is_in(("correct", "add")))
    said = said.select(*columns, "decision", "content_hash").filter(pl.col("annotation_id").is_in(named))
    tables = [_by_frame(rows.collect()) for rows in (shown, found, said)]
    everywhere = {name: key for table in tables for key, objects in table.items() for name in objects}
    known = []
    for _, row in matched:
        key = (row["stream_id"], row["frame_idx"])
        elsewhere = frozenset(name for name in named if everywhere.get(name, key) != key)
        known.append(Known(**row, **_of(tables, key), elsewhere=elsewhere))
    return known


def _of(tables: Sequence[Mapping[tuple[str, int], dict[str, Row]]], key: tuple[str, int]) -> dict[str, Any]:
    return dict(zip(("shown", "found", "said"), (table.get(key, {}) for table in tables), strict=True))


def _by_frame(rows: pl.DataFrame) -> dict[tuple[str, int], dict[str, Row]]:
    found: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows.sort("annotation_id").to_dicts():
        found.setdefault((row["stream_id"], row["frame_idx"]), {})[row["annotation_id"]] = row
    return found
