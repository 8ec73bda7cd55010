"""`winnow demo`: a sample stream with known defects, and a check of what a run detects of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from conf import load
from jobs.analysis import report
from jobs.core.errors import UserError
from jobs.records.run_record import RunRecord
from jobs.runs.prepare import RunRequest
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from transforms.core.boxes import box_iou
from transforms.synthetic import TIMELINE, Kind, Planted, Sample

STREAM = "ground"
_STANDS_STILL = "motion.motion < 0.03 AND NOT list_has_any(reasons, ['dark', 'overexposed'])"
# Motion is detected only where the camera stands still, and this one flies most of the time.
SETTINGS = ("annotate.detector=motion", "annotate.frames=all", f"when.annotate={_STANDS_STILL}")
_VISITED: tuple[Kind, int] = ("visited", 30)
_SAME = 0.5
"""Intersection over union from which on a box counts as a detection of an object."""
_MARK = "sample.txt"


@dataclass(frozen=True)
class Check:
    """One kind of defect: how many were planted, how many of these were detected, and the false positives."""

    what: str
    planted: int
    found: int
    extra: int


def write_sample(folder: Path, sample: Sample) -> None:
    """Write the frames of a sample as `image_0.jpg`, `image_1.jpg`, …; existing files are kept.

    A frame's bytes depend on the sample alone, so that an existing file is right.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index, kind in enumerate(sample.kinds):
        path = folder / f"image_{index}.jpg"
        if kind != "gap" and not path.exists():
            partial = folder / f".{path.name}.partial"
            partial.write_bytes(sample.file(index))
            partial.rename(path)


def run_demo(folder: Path, execute: Callable[[RunRequest], RunRecord], sample: Sample | None = None) -> dict[str, Any]:
    """Write a sample below a folder, run the pipeline with motion detection on it, and write a report.

    Raises `UserError` if the folder contains other files.
    """
    sample = sample or Sample(timeline=(*TIMELINE[:3], _VISITED, *TIMELINE[3:]))
    mark = folder / _MARK
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise UserError(f"{folder} holds other things; name a new or empty folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    frames = folder / STREAM
    said = f"Made by `winnow demo`: a sample stream, and the workspace of its tables.\n{sample}\n"
    if mark.exists() and mark.read_text() != said:
        # Written by another version of this program, with another sample.
        shutil.rmtree(frames, ignore_errors=True)
    mark.write_text(said)
    write_sample(frames, sample)
    workspace = Workspace.at(folder / "tables")
    record = execute(RunRequest(workspace, [str(frames)], load("annotate", settings=SETTINGS)))
    page = folder / "report.html"
    page.write_text(report.render(workspace), encoding="utf-8")
    checks = compare(View.of(workspace), STREAM, sample.planted)
    return {
        "input": str(frames),
        "workspace": str(workspace.root),
        "report": str(page.absolute()),
        "checks": [asdict(c) for c in checks],
        "run": record.summary(),
    }


def compare(view: View, stream_id: str, planted: Planted) -> list[Check]:
    """Compare the tables of a sample's stream with the ground truth."""
    mine = pl.col("stream_id") == stream_id
    rows = view.lazy("curated").filter(mine).select("frame_idx", "status", "reasons", "group_id").collect()
    reasons = dict(zip(rows["frame_idx"].to_list(), rows["reasons"].to_list(), strict=True))
    groups = dict(zip(rows["frame_idx"].to_list(), rows["group_id"].to_list(), strict=True))

    def with_reason(reason: str) -> set[int]:
        return {index for index, found in reasons.items() if found and reason in found}

    checks = [
        _check("dark frames", planted.dark, with_reason("dark")),
        _check("blurred frames", planted.blurry, with_reason("blurry")),
        _check("overexposed frames", planted.overexposed, with_reason("overexposed")),
        _check("corrupt files", planted.corrupt, with_reason("corrupt")),
    ]
    idle = view.lazy("idle").filter(mine).select("start_idx", "end_idx").collect()
    checks.append(_check("idle intervals", set(planted.idle), set(idle.iter_rows())))
    streams = view.lazy("streams").filter(mine).collect()
    gaps = {(gap["start"], gap["end"]) for gap in streams["gaps"].to_list()[0]}
    checks.append(_check("gaps in the numbering", set(planted.gaps), gaps))
    unusual = planted.dark | planted.overexposed | planted.blurry
    still = {index for first, last in (*planted.idle, *planted.visited) for index in range(first, last + 1)}
    for what, pairs, others in (
        ("exact repeats", planted.exact, planted.near),
        ("near repeats", planted.near, planted.exact),
    ):
        found = {copy for copy, original in pairs.items() if groups.get(copy) == groups.get(original)}
        reason = f"{what.split()[0]}_duplicate"
        beside = with_reason(reason) - set(pairs) - set(pairs.values()) - set(others) - set(others.values())
        checks.append(Check(what, len(pairs), len(found), len(beside - still - unusual)))
    return [*checks, _moving(view, mine, planted)]


def _moving(view: View, mine: pl.Expr, planted: Planted) -> Check:
    boxes = view.lazy("annotations").filter(mine).collect()
    n_found = n_beside = 0
    for (index,), found in boxes.group_by("frame_idx"):
        truth = np.array([planted.visitors[index]] if index in planted.visitors else [], float).reshape(-1, 4)
        same = box_iou(found.select("bbox_x", "bbox_y", "bbox_w", "bbox_h").to_numpy(), truth) >= _SAME
        n_found += int(same.any())
        n_beside += int((~same.any(axis=1)).sum())
    return Check("moving things", len(planted.visitors), n_found, n_beside)


def _check(what: str, planted: set[Any], found: set[Any]) -> Check:
    return Check(what, len(planted), len(planted & found), len(found - planted))
