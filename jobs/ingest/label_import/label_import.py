"""`winnow labels import`: existing labels become rows of `imports`, as a whole or not at all."""

from __future__ import annotations

import difflib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from blake3 import blake3

import schemas
from jobs.core.choices import LabelFormat, LabelledPixels, LabelRole
from jobs.core.errors import UserError
from jobs.core.image_lists import endings_in, names_in_list
from jobs.core.naming import many, wrong_with_category
from jobs.core.optional_packages import require
from jobs.ingest.label_import.dataset_files import DatasetFiles
from jobs.ingest.label_import.exif_turns import Labelled, turned_by_exif
from jobs.ingest.label_import.frame_matching import WAYS, Matched, Row, match_images
from jobs.ingest.label_import.readers import FORMATS, read_dataset
from jobs.storage.store import Drop, Store
from jobs.storage.workspace import Workspace
from jobs.views import final_objects, imported_labels
from jobs.views.categories import categories_of, register
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.formats.datasets.yolo import are_turned_boxes, in_pixels, with_turned_boxes
from transforms.formats.reviewing.known_frames import Known
from transforms.formats.reviewing.match_objects import decide
from transforms.formats.reviewing.shapes import Returned, ReviewFile
from transforms.formats.turned_labels import as_displayed, stored_size

ROLES = (imported_labels.GROUND_TRUTH, imported_labels.SUGGESTION)

_JOB = "labels"
_SHOWN = 20
_NAME = re.compile(r"[\w][\w .+-]{0,99}")
_IMAGE = (*FRAME_KEY, "content_hash")
_TRACK_BITS = 53
_HOW = ("file_name", "matched_by", "role")


@dataclass(frozen=True)
class LabelRequest:
    """A dataset to import: where it is, its format, and the name under which its labels are known.

    `role`: `ground-truth` or `suggestion`. `streams`: only frames of these; empty for all. `renamed`: classes by the
    category that they become. `skip_unmatched`: whether to import the rest where images are no frames of the
    workspace; `skip_unsupported`: likewise for shapes that the tables have no place for. `exif`: which pixels of images
    that EXIF turns the labels are of, where it is not `auto`. `reviewed`: a file with the names of images, a line each,
    of which the labels are ground truth, those of the others being suggestions; None where `role` is that of all.
    """

    path: Path
    format: LabelFormat
    name: str
    role: LabelRole = "ground-truth"
    streams: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    skip_unmatched: bool = False
    skip_unsupported: bool = False
    dry_run: bool = False
    exif: LabelledPixels = "auto"
    reviewed: Path | None = None


def import_labels(workspace: Workspace, request: LabelRequest) -> dict[str, Any]:
    """Make the labels of a source what a dataset says, and return what that changed, in numbers.

    `frames` and `objects` are those of the dataset; `matched` counts its images by how their frames were found.
    `added`, `removed` and `unchanged` compare objects with those that the source had before. `reviewed_by_people`:
    frames that a person has reviewed, of which the labels are stored, but do not count. `not_matched`: images that
    are no frames, with `skip_unmatched`. `exif`: of images that EXIF turns, on which pixels their labels are, and of
    how many of them nothing says so. `new_categories`: classes that the workspace did not know; `notes` has more.

    Raises `UserError` with everything that is wrong, before anything is written.
    """
    store = Store(workspace.require().root)
    source = _checked(request)
    view = View.of(workspace)
    files = DatasetFiles.at(request.path)
    kind = request.format
    names = _reviewed(request)
    predicted = request.role == imported_labels.SUGGESTION or names is not None
    file = read_dataset(kind, files, predicted=predicted)
    if any(shape.has_area for frame in file.frames for shape in frame.shapes):
        require("annotate", "pycocotools")
    problems = [*file.problems, *_unknown_streams(view, request)]
    notes = [*file.notes, *_unsupported(file, request, problems)]
    found = match_images(view, file.frames, files.image, request.streams)
    turns = turned_by_exif(list(_matched(file.frames, found, request, problems)), request.exif, problems)
    notes += turns.notes(request.exif)
    matched = _in_pixels(turns.labelled, kind)
    if names is not None:
        unknown = names - {name for one in matched for name in endings_in(one.returned.name, names)}
        problems += [f"--reviewed: {name} is no image of the dataset" for name in sorted(unknown)]
    rows = [row for one in matched for row in _rows(one, request, source, names, problems)]
    problems += _taken(view, rows, source)
    if problems:
        more = [f"{request.path}: … and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
        raise UserError([*(f"{request.path}: {text}" for text in problems[:_SHOWN]), *more])
    known = categories_of(view)
    classes = _classes(file, request, rows, notes)
    fresh = [name for name in classes if name not in known]
    notes += _near(fresh, known)
    before = _of_source(store, source)
    changes = _differences(before, rows)
    if not request.dry_run and (fresh or _content(before) != _content(rows)):
        store.create_tables([schemas.IMPORTS, schemas.CATEGORIES])
        # Numbers first: a reader of a category of `imports` finds the one that exports give it.
        register(store, classes, source, _JOB)
        if _content(before) != _content(rows):
            _replace(store, source, rows)
    people = view.lazy(final_objects.REVIEWED).filter(~pl.col("reviewer").str.starts_with(imported_labels.PREFIX))
    labelled = _images_of(rows).lazy().join(people, on=list(_IMAGE), how="semi")
    return {
        "name": request.name,
        "source": source,
        "role": " and ".join(_roles_in(rows)) or request.role,
        "ground_truth": sum(
            row["kind"] == imported_labels.FRAME and row["role"] == imported_labels.GROUND_TRUTH for row in rows
        ),
        "frames": sum(row["kind"] == imported_labels.FRAME for row in rows),
        "objects": sum(row["kind"] == imported_labels.OBJECT for row in rows),
        "matched": _ways(found),
        **changes,
        "reviewed_by_people": labelled.collect().height,
        "not_matched": sum(each.is_missing for each in found),
        "exif": {"displayed": turns.displayed, "stored": turns.stored, "unsaid": turns.unsaid},
        "new_categories": fresh,
        "notes": notes,
    }


def remove_labels(workspace: Workspace, name: str) -> dict[str, Any]:
    """Delete the labels of a source, and return how many `frames` and `objects` it had. Raises `UserError` for none."""
    store = Store(workspace.require().root)
    source = imported_labels.PREFIX + name
    before = _of_source(store, source)
    if not before:
        there = ", ".join(each["name"] for each in sources(workspace)) or "none"
        raise UserError(f"there are no labels {name!r}; there are: {there}")
    _replace(store, source, [])
    kinds = Counter(row["kind"] for row in before)
    return {"name": name, "frames": kinds[imported_labels.FRAME], "objects": kinds[imported_labels.OBJECT]}


def sources(workspace: Workspace) -> list[dict[str, Any]]:
    """Return every source of labels: `name`, `role`, `frames`, `objects`, `classes` and when it last changed."""
    rows = View.of(workspace).lazy(schemas.IMPORTS.name)
    is_frame = pl.col("kind") == imported_labels.FRAME
    counted = rows.group_by("source").agg(
        role=pl.col("role").unique().sort().str.join(" and "),
        frames=is_frame.sum(),
        objects=(~is_frame).sum(),
        classes=pl.col("category").drop_nulls().n_unique(),
        imported_ns=pl.col("imported_ns").max(),
    )
    found = counted.sort("source").collect().to_dicts()
    return [{"name": each.pop("source").removeprefix(imported_labels.PREFIX), **each} for each in found]


def _checked(request: LabelRequest) -> str:
    """Return the source of a request. Raises `UserError` with all that is wrong with it."""
    problems = []
    if request.format not in FORMATS:
        problems.append(f"unknown format {request.format!r}; there are: {', '.join(FORMATS)}")
    if request.role not in ROLES:
        problems.append(f"--as {request.role}: expected {' or '.join(ROLES)}")
    if not _NAME.fullmatch(request.name):
        problems.append(f"--name {request.name!r}: expected letters, digits, spaces, and . _ + - after the first")
    if not request.path.exists():
        problems.append(f"{request.path} is not there; expected the file or folder of a dataset")
    if problems:
        raise UserError(problems)
    return imported_labels.PREFIX + request.name


def _unknown_streams(view: View, request: LabelRequest) -> Iterator[str]:
    if request.streams:
        known = view.lazy("frames").select("stream_id").unique().sort("stream_id").collect()["stream_id"].to_list()
        for name in request.streams:
            if name not in known:
                yield f"--stream {name}: there is no such stream; there are: {', '.join(known[:5]) or 'none'}"


def _unsupported(file: ReviewFile, request: LabelRequest, problems: list[str]) -> list[str]:
    """Return notes on what is left out of a file; what is not to be left out is a problem."""
    if not request.skip_unsupported:
        problems += [f"{text}; --skip-unsupported imports the rest" for text in file.unsupported]
        return []
    shown = [f"left out: {text}" for text in file.unsupported[:_SHOWN]]
    return [
        *shown,
        *([f"left out: … and {len(file.unsupported) - _SHOWN:,} more"] if len(file.unsupported) > _SHOWN else []),
    ]


def _matched(
    frames: Sequence[Returned], found: Sequence[Matched], request: LabelRequest, problems: list[str]
) -> Iterator[Labelled]:
    """Yield each image with each frame that it is; `problems` gets a line for others, and for frames named twice."""
    places: dict[tuple[str, int], str] = {}
    missing = []
    for frame, match in zip(frames, found, strict=True):
        if match.is_missing:
            missing.append(f"{frame.place}: {match.problem}")
        elif match.problem:
            problems.append(f"{frame.place}: {match.problem}")
        for row in match.rows:
            key = (row["stream_id"], row["frame_idx"])
            if key in places:
                problems.append(f"{frame.place}: frame {key[0]} {key[1]} is in it twice, see {places[key]}")
                continue
            places[key] = frame.place
            yield Labelled(frame, row, match)
    if missing and (not request.skip_unmatched or not places):
        n = f"{len(missing):,} of {len(frames):,} images are no frames of the workspace"
        problems.append(n if not places else f"{n}; --skip-unmatched imports the labels of the others")
        problems += missing


def _in_pixels(matched: Sequence[Labelled], kind: LabelFormat) -> list[Labelled]:
    """Return labels in pixels of their images as displayed.

    Polygons of YOLO become turned boxes where all of them are rectangles, and in OBB.
    """
    is_yolo = kind.startswith("yolo")
    scaled = [replace(one, returned=_displayed(one, is_yolo)) for one in matched]
    is_turned = kind == "yolo-obb" or (kind == "yolo" and are_turned_boxes([one.returned for one in scaled]))
    return [replace(one, returned=with_turned_boxes(one.returned)) for one in scaled] if is_turned else scaled


def _displayed(one: Labelled, is_relative: bool) -> Returned:
    size = stored_size(one.row["width"], one.row["height"], one.orientation)
    returned = in_pixels(one.returned, *size) if is_relative else one.returned
    # Of a size that is wrong, which is a problem, nothing can be turned.
    is_turned = one.orientation != 1 and returned.size in {None, size}
    return as_displayed(returned, one.orientation, *size) if is_turned else returned


def _rows(
    one: Labelled, request: LabelRequest, source: str, reviewed: frozenset[str] | None, problems: list[str]
) -> list[Row]:
    """Return the rows of a labelled frame, that of the frame first; add a line to `problems` for what is wrong."""
    image = {name: one.row[name] for name in _IMAGE}
    shapes = tuple(
        replace(shape, category=request.renamed.get(shape.category, shape.category)) for shape in one.returned.shapes
    )
    named = frozenset(shape.annotation_id for shape in shapes if shape.annotation_id)
    known = Known(**image, width=one.row["width"], height=one.row["height"], elsewhere=named)
    decided = decide(known, replace(one.returned, shapes=shapes), request.name, source)
    problems += decided.problems
    for shape in shapes:
        if shape.score is not None and not 0 <= shape.score <= 1:
            problems.append(f"{one.returned.place}, {shape.place}: expected a score from 0 to 1, found {shape.score:g}")
    if decided.problems:
        return []
    common = {
        **image,
        "source": source,
        "role": _role(one.returned, request, reviewed),
        "file_name": one.returned.name,
        "matched_by": one.match.by,
        "imported_ns": time.time_ns(),
    }
    text = "\x1f".join([imported_labels.FRAME, source, *map(str, image.values())])
    tags = [tag for tag in one.returned.tags or () if tag]
    whole = {
        "annotation_id": blake3(text.encode()).hexdigest()[:32],
        "kind": imported_labels.FRAME,
        "attributes": json.dumps({"tags": tags}, sort_keys=True, ensure_ascii=False) if tags else None,
    }
    found = []
    for shape, each in zip(shapes, decided.decisions, strict=True):
        number = each["track_id"] if each["track"] is None else _track_of(source, one.row["stream_id"], each["track"])
        score = 1.0 if shape.score is None else shape.score
        found.append({**each, "kind": imported_labels.OBJECT, "track_id": number, "score": score})
    names = schemas.IMPORTS.arrow_schema.names
    return [{name: row.get(name) for name in names} | common for row in (whole, *found)]


def _classes(file: ReviewFile, request: LabelRequest, rows: Sequence[Row], notes: list[str]) -> list[str]:
    """Return the classes in the order of the file, with those that have no object, so that numbers stay as they were.

    A class without an object whose name no category can have is left out, with a note.
    """
    used = [row["category"] for row in rows if row["category"]]
    declared = dict.fromkeys(request.renamed.get(name, name) for name in file.classes)
    wrong = {name: said for name in declared.keys() - set(used) if (said := wrong_with_category(name))}
    notes += [f"a class without an object is left out: {wrong[name]}" for name in declared if name in wrong]
    return list(dict.fromkeys([*(name for name in declared if name not in wrong), *used]))


def _role(returned: Returned, request: LabelRequest, reviewed: frozenset[str] | None) -> LabelRole:
    if reviewed is None:
        return request.role
    return "ground-truth" if endings_in(returned.name, reviewed) else "suggestion"


def _roles_in(rows: Sequence[Row]) -> list[str]:
    return [role for role in ROLES if any(row["role"] == role for row in rows)]


def _reviewed(request: LabelRequest) -> frozenset[str] | None:
    """Return the names of images with ground truth; None for no list."""
    if request.reviewed is None:
        return None
    if request.role == imported_labels.SUGGESTION:
        raise UserError(
            f"--reviewed {request.reviewed} makes the labels of some images ground truth, and those of the others "
            "suggestions; leave out --as"
        )
    return names_in_list("--reviewed", request.reviewed)


def _track_of(source: str, stream: str, track: str) -> int:
    """Return a number for a track that the files have a name for: the same whenever they are imported."""
    digest = blake3("\x1f".join([source, stream, track]).encode()).digest(8)
    return int.from_bytes(digest, "big") >> (64 - _TRACK_BITS)


def _taken(view: View, rows: Sequence[Row], source: str) -> Iterator[str]:
    """Say which frames have ground truth of another source: only one source can have the ground truth of a frame."""
    mine = [row for row in rows if row["role"] == imported_labels.GROUND_TRUTH]
    others = imported_labels.frames(view.lazy).filter(
        pl.col("role") == imported_labels.GROUND_TRUTH, pl.col("source") != source
    )
    both = others.join(_images_of(mine).lazy(), on=list(_IMAGE), how="semi")
    for other, n in both.group_by("source").len().sort("source").collect().iter_rows():
        name = other.removeprefix(imported_labels.PREFIX)
        yield (
            f"{many(n, 'frame', 'have')} ground truth named {name!r} already; replace it with --name {name!r}, "
            "remove it "
            f"with `winnow labels remove {name}`, or import these with --as {imported_labels.SUGGESTION}"
        )


def _near(fresh: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    """Say which new classes resemble categories that there are."""
    folded = {name.casefold(): name for name in sorted(known, reverse=True)}
    for name in fresh:
        if near := difflib.get_close_matches(name.casefold(), folded, 1):
            other = folded[near[0]]
            yield f"class {name!r} is new; if it is {other!r}, import it with --map {name}={other}"


def _ways(found: Sequence[Matched]) -> dict[str, int]:
    counts = Counter(each.by for each in found if each.rows)
    return {way: counts[way] for way in WAYS}


def _of_source(store: Store, source: str) -> list[Row]:
    rows = store.open(schemas.IMPORTS).lazy().filter(pl.col("source") == source)
    return rows.collect().to_dicts()


def _replace(store: Store, source: str, rows: Sequence[Row]) -> None:
    table = pa.Table.from_pylist(list(rows), schemas.IMPORTS.arrow_schema)
    store.upsert(schemas.IMPORTS, table, _JOB, Drop(keys=pa.table({"source": [source]})))


def _differences(before: Sequence[Row], after: Sequence[Row]) -> dict[str, int]:
    """Return how many objects are new, are missing now, and are as they were, from any file and name."""
    olds, news = (
        Counter(_content([row for row in rows if row["kind"] == imported_labels.OBJECT], _HOW))
        for rows in (before, after)
    )
    same = (olds & news).total()
    return {"added": news.total() - same, "removed": olds.total() - same, "unchanged": same}


def _content(rows: Sequence[Row], without: Sequence[str] = ()) -> list[str]:
    """Return what rows say except for when, sorted, in the precision of the table; `without`: other columns."""
    table = pa.Table.from_pylist(list(rows), schemas.IMPORTS.arrow_schema).drop_columns(["imported_ns", *without])
    return sorted(repr(row) for row in table.to_pylist())


def _images_of(rows: Sequence[Row]) -> pl.DataFrame:
    schema = {"stream_id": pl.String, "frame_idx": pl.Int64, "content_hash": pl.String}
    frames = [row for row in rows if row["kind"] == imported_labels.FRAME]
    return pl.DataFrame({name: [row[name] for row in frames] for name in _IMAGE}, schema=schema)
