"""`winnow review import`: the file of an annotation tool becomes rows of `reviews`, as a whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import schemas
from jobs.core.choices import LabelledPixels, ReviewedFrames, ReviewFormat
from jobs.core.errors import UserError
from jobs.core.image_lists import endings_in, names_in_list
from jobs.core.naming import many, wrong_with_category
from jobs.review.decisions import IMAGE_KEY, SEEN, TAGS, Row, frame_rows, record_decisions, tags_in
from jobs.review.review_files import FileRequest, read_file
from jobs.review.stored_pixels import upright_frames
from jobs.review.tool_tracks import with_tracks
from jobs.review.unknown_categories import unknown_categories
from jobs.storage.workspace import Workspace
from jobs.views import final_objects
from jobs.views.categories import categories_of
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.formats.reviewing.annotator_policy import Policy
from transforms.formats.reviewing.known_frames import Known
from transforms.formats.reviewing.match_objects import Decided, decide
from transforms.formats.reviewing.shapes import Returned, ReviewFile, parse_name

_SHOWN = 20
_SAYS_WHO_IS_DONE = "labelstudio"
"""The format whose files have only the frames that somebody submitted."""


@dataclass(frozen=True)
class ImportRequest:
    """A file to import: its format (None: found out from its content), and what the file itself does not say.

    `reviewer` overrides the reviewer that the file names, and chooses among several; `policy` says what counts of
    several others. `categories` are accepted as well as those that the tables know; `ids` and `frames` are files
    next to it, see `FileRequest`. `reviewed` says which frames of the file somebody has reviewed: all of them,
    those in which something differs from the tables, or those of which `listed` has the name, a line each.
    `skip_unsupported`: whether to import the rest of a file with things that the tables have no place for. `exif`:
    which pixels of images that EXIF turns the objects are of, where it is not `auto` (`upright_frames`).
    """

    file: Path
    format: ReviewFormat | None = None
    reviewer: str | None = None
    note: str | None = None
    categories: tuple[str, ...] = ()
    ids: Path | None = None
    dry_run: bool = False
    frames: Path | None = None
    policy: Policy | None = None
    reviewed: ReviewedFrames | None = None
    listed: Path | None = None
    skip_unsupported: bool = False
    exif: LabelledPixels = "auto"


def import_file(workspace: Workspace, request: ImportRequest) -> dict[str, Any]:
    """Record the reviews in a file, and return their numbers: those of `record_decisions`, and more.

    `not_reviewed` counts the frames of the file that `reviewed` leaves out, `untouched` those of the others in which
    nothing differs; `notes` says how the file was read, and what of it was left out.

    A frame of which the tables have the same review, or a newer one, is left as it is, so that a file can be imported
    again. Raises `UserError` with everything that is wrong with the file, before anything is written; also if nothing
    in a file differs that has reviewed frames and others, and `reviewed` does not say which they are.
    """
    workspace.require()
    if wrong := [problem for name in request.categories if (problem := wrong_with_category(name))]:
        raise UserError([f"--category: {problem}" for problem in wrong])
    names = _listed(request)
    kind, file = read_file(
        FileRequest(request.file, request.format, request.ids, request.frames, request.reviewer, request.policy)
    )
    view = View.of(workspace)
    problems = list(file.problems)
    notes = _notes(file, request, problems)
    matched = list(_matched(file.frames, view, problems))
    problems += unknown_categories(file.frames, frozenset(categories_of(view)) | frozenset(request.categories))
    known = _known(matched, view)
    upright = upright_frames(view, [frame for frame, _ in matched], known, request.exif)
    problems += upright.problems
    notes += upright.notes
    decided = list(_decided(upright.frames, known, request, problems))
    if names is not None:
        unknown = names - {name for frame in file.frames for name in endings_in(frame.name, names)}
        problems += [f"--list: {name} is not in the file" for name in sorted(unknown)]
    _refuse(request.file, problems)
    decided = with_tracks(decided, view)
    chosen = [
        (frame, each)
        for frame, each in decided
        if (names is None or endings_in(frame.returned.name, names))
        and (request.reviewed != "changed" or each.is_changed)
    ]
    chosen = _not_in_browser(chosen, view, notes)
    now = time.time_ns()
    rows = [row for frame, each in chosen for row in _rows(frame, each, request.note, now)]
    record = (workspace, rows, f"review {request.file.name}", request.categories)
    untouched = [each for _, each in chosen if not each.is_changed]
    if kind != _SAYS_WHO_IS_DONE and request.reviewed is None and untouched:
        expected = record_decisions(*record, dry_run=True)
        n_objects = sum(len(each.decisions) for each in untouched)
        left = f"{many(len(untouched), 'frame')} came back as they were exported, with {many(n_objects, 'object')}"
        if len(untouched) == len(chosen) and expected["unchanged"] + expected["older"] < expected["frames"]:
            raise UserError(
                f"{request.file}: nothing in it differs: {left}. Did somebody review them? Approve them with "
                "--reviewed all, or name those that were reviewed in a file, with --reviewed listed --list FILE"
            )
        notes.append(f"{left}, which counts as approved; --reviewed changed leaves them out")
    counts = record_decisions(*record, dry_run=request.dry_run)
    said = {"not_reviewed": len(decided) - len(chosen), "untouched": len(untouched), "notes": notes}
    return {"file": str(request.file), **counts, **said}


@dataclass(frozen=True)
class _Frame:
    returned: Returned
    known: Known
    reviewer: str


def _listed(request: ImportRequest) -> frozenset[str] | None:
    """Return the names of the frames that were reviewed; None for no list."""
    if (request.reviewed == "listed") != (request.listed is not None):
        raise UserError("--reviewed listed and --list FILE go together: the file has the names of reviewed images")
    if request.listed is None:
        return None
    return names_in_list("--list", request.listed)


def _notes(file: ReviewFile, request: ImportRequest, problems: list[str]) -> list[str]:
    """Return what to say of how the file was read; what is unsupported is a problem if it is not to be skipped."""
    dated = [file.undated] if file.undated else []
    if not request.skip_unsupported:
        problems += [f"{text}; --skip-unsupported imports the rest" for text in file.unsupported]
        return [*file.notes, *dated]
    shown = [f"left out: {text}" for text in file.unsupported[:_SHOWN]]
    if len(file.unsupported) > _SHOWN:
        shown.append(f"left out: … and {len(file.unsupported) - _SHOWN:,} more")
    return [*file.notes, *dated, *shown]


def _decided(
    frames: Sequence[Returned], known: Sequence[Known], request: ImportRequest, problems: list[str]
) -> Iterator[tuple[_Frame, Decided]]:
    unsigned: list[str] = []
    for frame, about in zip(frames, known, strict=True):
        reviewer = request.reviewer or frame.reviewer
        if not reviewer:
            unsigned.append(frame.place)
            continue
        decided = decide(about, frame, reviewer)
        problems += decided.problems
        yield _Frame(frame, about, reviewer), decided
    if unsigned:
        first = (
            unsigned[0] if len(unsigned) == 1 else f"{many(len(unsigned), 'frame')}, the first of them {unsigned[0]}"
        )
        problems.append(f"{first}: the file does not say who reviewed them; name the person with --reviewer")


def _not_in_browser(
    chosen: Sequence[tuple[_Frame, Decided]], view: View, notes: list[str]
) -> list[tuple[_Frame, Decided]]:
    """Return the frames that nobody has edited in the browser: a file may be older than what people did there."""
    edited = view.lazy(schemas.REVIEW_EVENTS.name).filter(pl.col("kind") != "seed").select(IMAGE_KEY).unique()
    keys = set(edited.collect().iter_rows())
    left = [
        (frame, each)
        for frame, each in chosen
        if (frame.known.stream_id, frame.known.frame_idx, frame.known.content_hash) in keys
    ]
    if left:
        first = left[0][0].known
        n = f"{len(left):,} frame{'s were' if len(left) > 1 else ' was'}"
        notes.append(
            f"left out: {n} edited in the browser, the first is {first.stream_id} {first.frame_idx}; what people did "
            "there stands, and is changed there"
        )
    return [pair for pair in chosen if pair not in left]


def _rows(frame: _Frame, decided: Decided, default_note: str | None, now: int) -> list[Row]:
    returned, known = frame.returned, frame.known
    image = (known.stream_id, known.frame_idx, known.content_hash)
    tags = {TAGS: list(decided.tags)}
    when = returned.reviewed_ns or now
    return frame_rows(image, decided.decisions, frame.reviewer, when, returned.note, default_note, tags)


def _refuse(file: Path, problems: Sequence[str]) -> None:
    if problems:
        more = [f"{file}: … and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
        raise UserError([*(f"{file}: {text}" for text in problems[:_SHOWN]), *more])


def _matched(returned: Sequence[Returned], view: View, problems: list[str]) -> Iterator[tuple[Returned, Row]]:
    """Yield the frames of a file with their rows in `frames`; add a line to `problems` for each other one."""
    names = [parse_name(frame.name) for frame in returned]
    numbers = sorted({name.number for name in names if name})
    columns = [*IMAGE_KEY, "width", "height"]
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
            problems.append(f"{frame.place}: {frame.name} shows another image now; export it for review again")
        else:
            problems.append(f"{frame.place}: {frame.name} is no frame of the workspace")


def _is_in(stream_id: str, folder: str) -> bool:
    return f"/{folder}".endswith(f"/{stream_id}") or folder.endswith(f"={stream_id}")


def _known(matched: Sequence[tuple[Returned, Row]], view: View) -> list[Known]:
    """Return what the tables know of each of these frames and its objects."""
    wanted = pl.LazyFrame(
        {name: [row[name] for _, row in matched] for name in IMAGE_KEY},
        schema={"stream_id": pl.String, "frame_idx": pl.Int64, "content_hash": pl.String},
    )
    shapes = [shape for frame, _ in matched for shape in frame.shapes]
    named = sorted({name for s in shapes for name in (s.annotation_id, s.numbered_id) if name})
    columns = list(schemas.OBJECT_COLUMNS)
    # Imported labels have what models do not: turned boxes, polygons, attributes.
    shown = view.lazy(final_objects.BY_MODELS).select(*columns, *schemas.COLUMNS_BY_PEOPLE)
    shown = shown.join(wanted, on=FRAME_KEY, how="semi")
    ever = pl.concat([view.lazy(name).select(columns) for name in ("annotations_all", "propagations_all")])
    found = ever.filter(pl.col("annotation_id").is_in(named))
    reviews = view.lazy("reviews")
    drawn = reviews.filter(pl.col("decision").is_in(final_objects.HUMAN), pl.col("author").is_not_null())
    said = drawn.join(wanted, on=list(IMAGE_KEY), how="semi")
    standing = view.lazy(final_objects.NAME).join(wanted, on=FRAME_KEY, how="semi")
    tables = [_by_frame(rows.collect()) for rows in (shown, found, said, standing)]
    others = drawn.select("annotation_id", *FRAME_KEY).filter(pl.col("annotation_id").is_in(named))
    everywhere = {
        name: key
        for table in (*tables, _by_frame(others.collect()))
        for key, objects in table.items()
        for name in objects
    }
    seen = reviews.filter(decision=SEEN).join(wanted, on=list(IMAGE_KEY), how="semi").select(*FRAME_KEY, "attributes")
    tags = {(stream, number): tuple(tags_in(text)) for stream, number, text in seen.collect().iter_rows()}
    known = []
    for _, row in matched:
        key = (row["stream_id"], row["frame_idx"])
        elsewhere = frozenset(name for name in named if everywhere.get(name, key) != key)
        known.append(Known(**row, **_of(tables, key), elsewhere=elsewhere, tags=tags.get(key, ())))
    return known


def _of(tables: Sequence[Mapping[tuple[str, int], dict[str, Row]]], key: tuple[str, int]) -> dict[str, Any]:
    return dict(zip(("shown", "found", "said", "standing"), (table.get(key, {}) for table in tables), strict=True))


def _by_frame(rows: pl.DataFrame) -> dict[tuple[str, int], dict[str, Row]]:
    found: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows.sort("annotation_id").to_dicts():
        found.setdefault((row["stream_id"], row["frame_idx"]), {})[row["annotation_id"]] = row
    return found
