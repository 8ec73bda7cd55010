"""Differences of releases, frame by frame: computed once, since releases never change, and given out in pieces."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, get_args

import polars as pl

from jobs.datasets.label_diff import CHANGES
from jobs.datasets.release_changes import FrameChange, frame_changes, label_changes, objects_on
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.snapshot_spec import find_release
from jobs.views.view import View
from jobs.web.plain import number, plain
from schemas import FRAME_KEY

LabelChange = Literal["label_added", "label_removed", "label_relabelled", "label_moved", "label_reviewed"]
Change = FrameChange | LabelChange
_OF_LABELS: dict[str, str] = dict(zip(get_args(LabelChange), CHANGES, strict=True))
_MOST_KEPT = 4
_DIGITS = 16


@dataclass(frozen=True)
class ReleaseDifference:
    """Two releases, and a row for each change of a frame and of an object."""

    before: View
    after: View
    frames: pl.DataFrame
    labels: pl.DataFrame

    def page(self, change: Change, category: str | None, start: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many frames have a change, of objects of a class if one is named, and some of them in order."""
        if change in _OF_LABELS:
            rows = self.labels.filter(pl.col("change") == _OF_LABELS[change])
            if category is not None:
                rows = rows.filter(pl.col("category") == category)
        else:
            rows = self.frames.filter(pl.col("change") == change)
        found = rows.select(FRAME_KEY).unique(maintain_order=True)
        chosen = found.slice(start, limit)
        return found.height, self._described(chosen, rows if change in _OF_LABELS else None)

    def _described(self, chosen: pl.DataFrame, labels: pl.DataFrame | None) -> list[dict[str, Any]]:
        sides = {name: _sides(view, chosen) for name, view in (("before", self.before), ("after", self.after))}
        of_labels = self.labels.clear() if labels is None else labels.join(chosen, on=FRAME_KEY, how="semi")
        changed = {name: set(of_labels[f"{name}_id"].drop_nulls().to_list()) for name in sides}
        return [
            {
                "stream_id": stream,
                "frame_idx": number(idx),
                **{name: _side(found.get((stream, idx)), changed[name]) for name, found in sides.items()},
            }
            for stream, idx in chosen.iter_rows()
        ]


def _sides(view: View, chosen: pl.DataFrame) -> dict[tuple[str, int], dict[str, Any]]:
    """Return what a view shows of frames, with the objects on each."""
    columns = [*FRAME_KEY, "content_hash", "width", "height", "keep", "reasons"]
    rows = view.lazy("curated").select(columns).join(chosen.lazy(), on=FRAME_KEY, how="semi").collect()
    found = {(row["stream_id"], row["frame_idx"]): {**row, "objects": []} for row in rows.to_dicts()}
    for each in objects_on(view, chosen).to_dicts():
        if (at := found.get((each["stream_id"], each["frame_idx"]))) is not None:
            at["objects"].append(each)
    return found


def _side(row: dict[str, Any] | None, changed: set[str]) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "h": row["content_hash"][:_DIGITS] if row["content_hash"] else None,
        "width": row["width"],
        "height": row["height"],
        "keep": row["keep"],
        "reasons": row["reasons"] or [],
        "objects": [
            {
                "annotation_id": each["annotation_id"],
                "category": each["category"],
                "score": plain(each["score"]),
                "bbox": [plain(each[f"bbox_{edge}"]) for edge in "xywh"],
                "changed": each["annotation_id"] in changed,
            }
            for each in row["objects"]
        ],
    }


class ReleaseDifferences:
    """The differences that somebody requested last; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[tuple[Any, ...], ReleaseDifference] = OrderedDict()

    def of(self, workspace: Workspace, before: str, after: str) -> ReleaseDifference:
        """Return the difference of two releases. Raises `UserError` for an unknown one."""
        store = Store(workspace.require().root)
        # A release may have been deleted, and another one made under its name.
        made = [find_release(store, name)["created_ns"] for name in (before, after)]
        key = (str(workspace.root), before, after, *made)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        views = View.of(workspace, release=before), View.of(workspace, release=after)
        found = ReleaseDifference(*views, frame_changes(*views), label_changes(*views))
        with self._lock:
            self._kept[key] = found
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found
