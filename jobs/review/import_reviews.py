"""`winnow review import`: what people made of frames becomes rows of `reviews`, all of a file or nothing."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from blake3 import blake3

import schemas
from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from jobs.storage.store import Drop, Store
from jobs.storage.workspace import Workspace
from jobs.views import final_objects
from jobs.views.categories import categories_of, register
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.formats.reviewing.coco import read_review_coco
from transforms.formats.reviewing.cvat import read_cvat
from transforms.formats.reviewing.decisions import Known, decide
from transforms.formats.reviewing.labelstudio import read_labelstudio
from transforms.formats.reviewing.shapes import Returned, ReviewFileError, parse_name

_SHOWN = 20
_PICTURE = [*FRAME_KEY, "content_hash"]
_DECISIONS = ("approve", "correct", "reject", "add")
_JOB = "review"

Row = dict[str, Any]


@dataclass(frozen=True)
class ImportRequest:
    """A file that came back: its format (None tells by what is in it), and what it does not say itself.

    `reviewer` is whoever looked at the frames, whatever the file says; `categories` are to be accepted beside those
    that the tables know; `ids` says which object a number of a COCO file stands for.
    """

    file: Path
    format: str | None = None
    reviewer: str | None = None
    note: str | None = None
    categories: tuple[str, ...] = ()
    ids: Path | None = None
    dry_run: bool = False


def bring_in(workspace: Workspace, request: ImportRequest) -> dict[str, Any]:
    """Write what a file says into `reviews`, and return it in numbers.

    A frame of which the tables know the same already, or something newer, is left as it is, so that a file can be
    brought in again. Raises `UserError` with everything that is wrong with the file, before anything is written.
    """
    store = Store(workspace.require().root)
    returned, problems = _read(request)
    store.create_tables([schemas.REVIEWS, schemas.CATEGORIES])
    view = View.of(workspace)
    matched = list(_matched(returned, view, problems))
    known = _known(matched, view)
    categories = frozenset(categories_of(view)) | frozenset(request.categories)
    earlier = _earlier(matched, view)
    counts = Counter(dict.fromkeys((*_DECISIONS, "unchanged", "older"), 0))
    rows: list[Row] = []
    now = time.time_ns()
    for (frame, _), about in zip(matched, known, strict=True):
        reviewer = request.reviewer or frame.reviewer
        if not reviewer:
            problems.append(f"{frame.place}: the file does not say who looked at it; name the person with --reviewer")
            continue
        decided, wrong = decide(about, frame, categories, reviewer)
        problems += wrong
        fresh = _rows(decided, about, frame, reviewer, request.note, now)
        before = earlier.get((about.stream_id, about.frame_idx, about.content_hash), [])
        if _said(fresh) == _said(before):
            counts["unchanged"] += 1
        elif before and (frame.reviewed_ns or now) < max(row["reviewed_ns"] for row in before):
            counts["older"] += 1
        else:
            rows += fresh
            counts.update(row["decision"] for row in fresh if row["decision"] in _DECISIONS)
    _refuse(request.file, problems)
    if rows and not request.dry_run:
        table = pa.Table.from_pylist(rows, schemas.REVIEWS.arrow_schema)
        brought = (row["category"] for row in rows if row["category"] and row["decision"] != "reject")
        register(store, brought, f"review {request.file.name}", _JOB)
        store.upsert(schemas.REVIEWS, table, _JOB, Drop(keys=table.select(_PICTURE)))
    return {"file": str(request.file), "frames": len(matched), **counts}


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
    """Return which object a number stands for: by the file that was named, or that lies beside the imported one."""
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
    """Yield the frames of a file with their rows in `frames`; say of the others what is wrong with them."""
    names = [parse_name(frame.name) for frame in returned]
    numbers = sorted({name.number for name in names if name})
    columns = [*_PICTURE, "width", "height"]
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
        # A tool may have taken the folders off; then the content decides.
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
            problems.append(f"{frame.place}: {frame.name} shows another picture now; send it out for review again")
        else:
            problems.append(f"{frame.place}: {frame.name} is no frame of the workspace")


def _is_in(stream_id: str, folder: str) -> bool:
    return f"/{folder}".endswith(f"/{stream_id}") or folder.endswith(f"={stream_id}")


def _known(matched: Sequence[tuple[Returned, Row]], view: View) -> list[Known]:
    """Return what the tables know of each of these frames and its objects."""
    wanted = pl.LazyFrame(
        {name: [row[name] for _, row in matched] for name in _PICTURE},
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


def _earlier(matched: Sequence[tuple[Returned, Row]], view: View) -> dict[tuple[str, int, str], list[Row]]:
    """Return the rows of `reviews` that there are of these pictures."""
    pictures = {tuple(row[name] for name in _PICTURE) for _, row in matched}
    streams = sorted({row["stream_id"] for _, row in matched})
    found: dict[tuple[str, int, str], list[Row]] = {}
    for row in view.lazy("reviews").filter(pl.col("stream_id").is_in(streams)).collect().to_dicts():
        key = (row["stream_id"], row["frame_idx"], row["content_hash"])
        if key in pictures:
            found.setdefault(key, []).append(row)
    return found


def _rows(
    decided: Sequence[Row], about: Known, frame: Returned, reviewer: str, note: str | None, now: int
) -> list[Row]:
    """Return rows of `reviews` for a frame and the objects on it."""
    text = "\x1f".join(["seen", about.stream_id, str(about.frame_idx), about.content_hash])
    whole = {"annotation_id": blake3(text.encode()).hexdigest()[:32], "decision": "seen", "note": None}
    told = {
        **{name: getattr(about, name) for name in _PICTURE},
        "reviewer": reviewer,
        "reviewed_ns": frame.reviewed_ns or now,
    }
    names = schemas.REVIEWS.arrow_schema.names
    rows = []
    for each in ({**whole, "note": frame.note}, *decided):
        row = {name: each.get(name) for name in names} | told
        rows.append(row | {"note": row["note"] or note})
    return rows


def _said(rows: Sequence[Row]) -> list[str]:
    """Return what rows say but for when, in an order of its own and in the precision of the table."""
    table = pa.Table.from_pylist(list(rows), schemas.REVIEWS.arrow_schema).drop_columns(["reviewed_ns"])
    return sorted(repr(row) for row in table.to_pylist())
