"""Export of datasets: selected frames, optionally their images, and a manifest of their origin."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

import schemas
from jobs.core.choices import ExportFormat, MediaMode, SplitBy
from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from jobs.datasets.atomic_publish import destination, put_in_place, staged
from jobs.datasets.export_classes import ClassChoice, with_classes
from jobs.datasets.export_formats import FORMATS
from jobs.datasets.export_manifest import (
    IMAGE_LIST,
    MANIFEST,
    content_digest,
    edited,
    foreign,
    list_of,
    other_dataset,
    split_counts,
)
from jobs.datasets.export_objects import are_known, models_of, objects_of, refuse_without_masks, review_counts
from jobs.datasets.frame_sampling import frames_of
from jobs.datasets.given_splits import given_splits, record
from jobs.datasets.leak_report import NO_OBJECTS, refuse_leaks
from jobs.datasets.media import bring, named
from jobs.datasets.split_report import report_of
from jobs.datasets.splitting import SplitRequest, Splits, divide
from jobs.datasets.staleness import refuse_outdated
from jobs.records.run_events import ProgressListener, SilentListener
from jobs.storage.paths import Place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import final_objects, snapshot_spec
from jobs.views.relations import words_of
from jobs.views.statement import check_condition, columns_of
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.curate.time_blocks import Length
from transforms.formats.exports.losses import losses
from transforms.formats.exports.objects import Objects
from transforms.formats.exports.webdataset import shards

_DEFAULT_SPLIT = "default"
_SHOWN = 5


@dataclass(frozen=True)
class ExportRequest:
    """What to export: format, which frames, how to split them, and whether images are included.

    `split` maps names to fractions that add up to 1, empty for one set; `split_by`, `seed`, `block`, `guard`,
    `near_duplicates` and `strict` are those of `SplitRequest`. `max_leak`: the share of the frames of a split, 0..1,
    that may leak (`leak_report`); None for any. `media` None takes the format's default. `min_score`: objects below it
    are left out, their frames are not. `only_reviewed`: only frames that a person has reviewed with their current
    content.
    """

    format: ExportFormat
    out: Place
    run: str | None = None
    release: str | None = None
    where: str | None = None
    selection: str | None = None
    everything: bool = False
    split: Mapping[str, float] = field(default_factory=dict)
    split_by: SplitBy = "auto"
    seed: int = 0
    media: MediaMode | None = None
    min_score: float | None = None
    only_reviewed: bool = False
    classes: ClassChoice = ClassChoice()
    block: Length | None = None
    guard: Length | None = None
    near_duplicates: bool = False
    max_leak: float | None = None
    strict: bool = False
    overwrite: bool = False
    sealed: frozenset[str] = frozenset()
    is_trial: bool = False


_PIXELS: Mapping[MediaMode, str] = {"copy": "as displayed", "link": "as stored", "none": "as stored"}
"""What the images of an export are that EXIF turns; boxes are those of images as displayed."""


def export(workspace: Workspace, request: ExportRequest, listener: ProgressListener | None = None) -> dict[str, Any]:
    """Write a dataset folder and return its manifest.

    The folder is published atomically, and is identical byte for byte when the export is repeated. An earlier export at
    its place is replaced, unless its files were edited; anything else is not. Where `out` is a symbolic link, what it
    leads to is written. `listener` hears of the images as they are copied, and may raise to end it. Raises `UserError`
    for an invalid request, and `RunFailedError` if an image has changed since it was measured.
    """
    listener = listener or SilentListener()
    store = Store(workspace.require().root)
    request = replace(request, out=destination(request.out))
    _check(request, store)
    chosen = snapshot_spec.choose(store, request.run, request.release)
    if chosen.versions is None:
        chosen = snapshot_spec.pinned(store)
    view, kind = View(store, chosen), FORMATS[request.format]
    rows = _rows(view, request)
    refuse_outdated(view, rows)
    facts: dict[str, Any] = {"selection": _selection(view, rows.num_rows, request)}
    rows, divided = _divided(rows, view, request, store)
    objects = objects_of(view, rows, request.min_score) if are_known(view) else None
    _check_objects(objects, request)
    if objects is not None and request.classes:
        objects, facts["classes"] = with_classes(objects, request.classes)
    if divided:
        facts["split_report"] = _split_report(view, rows, objects, divided, request)
    elif objects is not None:
        facts["class_counts"] = split_counts(objects.rows["category"])
    if request.sealed:
        rows, objects, facts["sealed"] = _without_sealed(view, rows, objects, request)
    media = request.media or kind.media
    below = kind.of_one_stream if len(pc.unique(rows["stream_id"])) == 1 else ("split", "stream")
    rows = named(rows, media, kind.images, _images(view, rows, store.root), below)
    with staged(request.out) as temporary:
        listener.on_stage_started("export", rows.num_rows if media != "none" else None)
        turned = bring(rows, media, temporary, listener.on_frames_done)
        facts["exif"] = {"turned": turned, "pixels": _PIXELS[media]}
        public = rows.drop_columns(["source", "expected"])
        splits = [name for name in request.split if name not in request.sealed] or [_DEFAULT_SPLIT]
        files: Iterable[tuple[str, bytes]] = kind.files(public, splits, objects).items()
        if kind.packed:
            files = shards(public, splits, objects, lambda name: (temporary / name).read_bytes())
        hashes = {name: _written(temporary / name, data) for name, data in files}
        if kind.packed:
            shutil.rmtree(temporary / kind.images, ignore_errors=True)
        elif media != "none":
            hashes[IMAGE_LIST] = _written(temporary / IMAGE_LIST, list_of(rows["file_name"]))
        manifest = _manifest(request, media, chosen, store, rows, hashes)
        manifest |= facts | _annotations(view, rows, objects, request)
        # Tables are small compared with images, and a damaged page of one would be frozen into a dataset.
        view.verify_files()
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        # Copying images takes time, in which other files may have appeared there.
        if taken := [*_taken(request), *_edits(request)]:
            raise UserError(taken)
        if divided and request.release and not request.is_trial:
            record(store, request.release, request.seed, divided.frames)
        put_in_place(temporary, request.out, MANIFEST)
    return manifest


def _without_sealed(
    view: View, rows: pa.Table, objects: Objects | None, request: ExportRequest
) -> tuple[pa.Table, Objects | None, dict[str, int]]:
    """Return the frames that are written, their objects, and how many are not, by split."""
    sealed = pc.is_in(rows["split"], pa.array(sorted(request.sealed)))
    rows, left = rows.filter(pc.invert(sealed)), rows.filter(sealed)
    if objects is not None:
        objects = objects_of(view, rows, request.min_score)
        if request.classes:
            objects, _ = with_classes(objects, request.classes)
    return rows, objects, split_counts(left["split"])


def _annotations(view: View, rows: pa.Table, objects: Objects | None, request: ExportRequest) -> dict[str, Any]:
    """Return the entries of the manifest on objects, the models that found them, and frames that were not annotated."""
    models = models_of(view, rows, objects or Objects.none())
    if objects is None:
        return {"not_annotated": rows.num_rows} | ({"models": models} if models else {})
    return {
        "models": models,
        **losses(request.format, rows, objects),
        "min_score": request.min_score,
        "only_reviewed": request.only_reviewed,
        **review_counts(view, rows),
    }


def _written(path: Path, data: bytes) -> str:
    """Write a file and return the hash of its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return blake3(data).hexdigest()


def _check_objects(objects: Objects | None, request: ExportRequest) -> None:
    options = {"--min-score": request.min_score is not None, "--classes, --map, --class-file": request.classes}
    for option, is_given in options.items():
        if objects is None and is_given:
            raise UserError(f"{option}: these frames were never annotated; run them with --profile annotate")
    if objects is None:
        return
    if objects.rows.num_rows > objects.rows["mask_rle"].null_count:
        require("annotate", "pycocotools")
    if FORMATS[request.format].by_masks:
        refuse_without_masks(objects, request.format)


def _check(request: ExportRequest, store: Store) -> None:
    problems = []
    if request.format not in FORMATS:
        problems.append(f"unknown format {request.format!r}; there are: {', '.join(FORMATS)}")
    elif request.media and request.media not in FORMATS[request.format].allowed:
        allowed = " or ".join(FORMATS[request.format].allowed)
        problems.append(f"--media {request.media}: format {request.format} needs {allowed}")
    if request.min_score is not None and not 0 <= request.min_score <= 1:
        problems.append(f"--min-score {request.min_score:g}: expected a number from 0 to 1")
    if request.split and abs(sum(request.split.values()) - 1) > 1e-9:
        problems.append(f"the fractions of --split add up to {sum(request.split.values()):g}, expected 1")
    if request.max_leak is not None and not request.split:
        problems.append("--max-leak: there is nothing that could leak without --split")
    if request.max_leak is not None and not 0 <= request.max_leak <= 1:
        problems.append(f"--max-leak {request.max_leak:g}: expected a share from 0 to 1")
    problems += _taken(request)
    other = other_dataset(request.out, _identity(store), request.release, request.format)
    if other and not request.overwrite:
        problems.append(f"{request.out} holds a dataset {other}; name another folder, or replace it with --overwrite")
    if not problems:
        problems += _edits(request)
    if problems:
        raise UserError(problems)


def _edits(request: ExportRequest) -> Iterator[str]:
    """Say which files of the earlier export somebody has changed, which would be lost."""
    found = [] if request.overwrite else edited(request.out)
    if found:
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        yield (
            f"{request.out}: {', '.join(found[:_SHOWN])}{more} changed after the export had written them; name another "
            "folder, or replace them with --overwrite"
        )


def _identity(store: Store) -> str | None:
    """Return the first run of a workspace, which identifies its datasets; None if it had none."""
    return min(store.read(schemas.RUNS, ("job_id",))["job_id"].to_pylist(), default=None)


def _taken(request: ExportRequest) -> Iterator[str]:
    """Say what speaks against a place for an export; reading a bucket may be one of these things."""
    if request.out.is_remote:
        if request.media == "link":
            yield f"--media link: nothing in a bucket can lead to {request.out}; use --media copy or none"
        if request.out.is_bucket:
            yield f"--out {request.out}: expected a prefix in the bucket, as in s3://BUCKET/dataset"
            return
    elif request.out.is_not_a_folder():
        yield f"{request.out} is a file, expected a folder or nothing"
        return
    if found := foreign(request.out):
        yield f"{request.out} holds other things than an export, {found}; name an empty or new folder"


def _rows(view: View, request: ExportRequest) -> pa.Table:
    """Return the chosen frames, all columns of `curated`, in order of stream and number."""
    if not request.everything and schemas.CURATION.written_by not in view.selection.keys:
        raise UserError("these frames were never curated (the run had no stage curation); export them with --all")
    tests = ["status = 'ok'"]
    if not request.everything:
        tests.append("keep")
    if request.where is not None:
        check_condition(request.where)
        tests.append(condition_on_frames(request.where))
    wanted = [frames_of(view, request.selection)] if request.selection is not None else []
    wanted += [view.lazy(final_objects.REVIEWED).collect()] if request.only_reviewed else []
    # Other frames than those that are written are read only for a condition that is about more than its own row.
    if wanted and (request.where is None or columns_of(request.where) is not None):
        view = view.of_frames(wanted[0])
    rows = view.sql(f"SELECT * FROM curated WHERE {' AND '.join(tests)} ORDER BY stream_id, frame_idx")
    for frames in wanted:
        numbered = pl.DataFrame(rows.select([*FRAME_KEY, "content_hash"])).with_row_index("row")
        chosen = numbered.join(frames, on=[*FRAME_KEY, "content_hash"], how="semi")
        rows = rows.take(chosen["row"].sort().to_numpy())
    return rows


def condition_on_frames(where: str) -> str:
    """Return a condition on `curated` as SQL; one that names `objects` holds where it holds for one on the frame."""
    if "objects" not in words_of(where.casefold()):
        return f"({where})"
    same = " AND ".join(f"objects.{name} = curated.{name}" for name in FRAME_KEY)
    return f"EXISTS (SELECT 1 FROM objects WHERE {same} AND ({where}))"


def _divided(rows: pa.Table, view: View, request: ExportRequest, store: Store) -> tuple[pa.Table, Splits | None]:
    """Return the rows that are in a split, with the column `split`, and how they were divided."""
    if not request.split:
        return rows.append_column("split", pa.repeat(pa.scalar(_DEFAULT_SPLIT), rows.num_rows)), None
    rules = SplitRequest(
        request.split,
        request.split_by,
        request.seed,
        request.block,
        request.guard,
        request.near_duplicates,
        request.strict,
    )
    splits = divide(view, rows, rules, given_splits(store, request.seed))
    names = splits.frames["split"].to_arrow().cast(pa.string())
    rows = rows.append_column("split", names)
    return rows.filter(pc.is_valid(rows["split"])), splits


def _split_report(
    view: View, rows: pa.Table, objects: Objects | None, splits: Splits, request: ExportRequest
) -> dict[str, Any]:
    """Return how the frames were divided, and how far the splits leak. Raises `UserError` for more than is allowed."""
    found = objects.rows if objects and objects.rows.num_rows else None
    listed = pl.DataFrame(found.select(["row", "category", "track_id"])) if found else pl.DataFrame(schema=NO_OBJECTS)
    frames = pl.DataFrame(rows.select([*FRAME_KEY, "content_hash", "group_id", "split"]))
    report = report_of(view, frames, listed, request.split)
    if request.max_leak is not None:
        refuse_leaks(report, request.max_leak)
    return splits.description(request.release) | report


def _images(view: View, rows: pa.Table, root: Place) -> pa.ChunkedArray:
    """Return for each row the file to which its frame of a clip was written, null if it was not."""
    frames = pl.DataFrame(rows.select(FRAME_KEY))
    view = view.of_frames(frames)
    now = view.lazy("frames").select(*FRAME_KEY, "input_id")
    written = (
        view.lazy("media").select(*FRAME_KEY, "input_id", "picture").join(now, on=[*FRAME_KEY, "input_id"], how="semi")
    )
    found = frames.join(written.collect(), on=FRAME_KEY, how="left", maintain_order="left")
    names = pl.lit(f"{root}/") + pl.col("picture")
    return found.select(names).to_arrow()[0].cast(pa.string())


def _manifest(
    request: ExportRequest,
    media: MediaMode,
    chosen: snapshot_spec.Selection,
    store: Store,
    rows: pa.Table,
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    run = snapshot_spec.find_run(store, request.run)["job_id"] if request.run else None
    return {
        "format": request.format,
        "frames": split_counts(rows["split"]),
        "source": {"workspace": _identity(store), "release": request.release, "run": run, **chosen.manifest()},
        "where": request.where,
        "all": request.everything,
        "split": dict(request.split),
        "split_by": request.split_by,
        "seed": request.seed,
        "media": media,
        "files": dict(sorted(hashes.items())),
        "content": content_digest(rows),
    }


def _selection(view: View, n_chosen: int, request: ExportRequest) -> dict[str, Any] | None:
    """Return the selection's name, and how many of its frames were not chosen: missing, replaced, filtered out."""
    if request.selection is None:
        return None
    n = frames_of(view, request.selection).height
    return {"name": request.selection, "frames": n, "left_out": n - n_chosen}
