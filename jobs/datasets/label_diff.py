"""Differences of the labels of two views: objects added, removed, relabelled, moved and reviewed, by class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from jobs.views import final_objects
from jobs.views.view import View
from schemas import FRAME_KEY

SAME_OBJECT = 0.5
"""Intersection over union of boxes from which on two objects without a common id are taken for one."""
_SAME_BOX = 0.999
_EDGES = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
CHANGES = ("added", "removed", "relabelled", "moved", "reviewed")
"""What can become of an object between two views."""
_COUNTS = ("before", "after", *CHANGES)


class MatchedObjects(NamedTuple):
    """Objects of two views: pairs that are the same one, those that are in the first alone, and in the second."""

    both: pl.DataFrame
    gone: pl.DataFrame
    fresh: pl.DataFrame


def label_difference(before: View, after: View) -> dict[str, Any]:
    """Return the result of `compare` for two views, and the frames reviewed since, by person, as `reviewed_frames`."""
    return compare(objects(before), objects(after)) | {"reviewed_frames": reviewed_frames(after, before)}


def compare(old: pl.DataFrame, new: pl.DataFrame) -> dict[str, Any]:
    """Return the differences of objects as plain values.

    Both have `annotation_id`, the key of the frame, `category`, the box in pixels, and `by_hand`: whether a person has
    accepted or drawn the object.

    `classes`: by class, objects `before` and `after`, `added`, `removed`, `relabelled` (objects that got this class),
    `moved` (the box changed: intersection over union below 0.999) and `reviewed` (accepted or drawn by a person since).
    `relabelled`: objects by their old and new class. `moved_iou`: median intersection over union of what moved, or
    None. An object is the same one if it has the same id, or else if it is nearly where one without a counterpart was:
    the pair with the largest intersection over union first, at least 0.5.
    """
    found = _matched(old, new)
    changes = object_changes(old, new, found)
    classes: dict[str, dict[str, int]] = {}
    counted = [(what, rows.select("category")) for what, rows in (("before", old), ("after", new))]
    counted += [(what, changes.filter(pl.col("change") == what).select("category")) for what in CHANGES]
    for what, rows in counted:
        for category, n in rows.group_by("category").len().iter_rows():
            classes.setdefault(category, dict.fromkeys(_COUNTS, 0))[what] = n
    relabelled = changes.filter(pl.col("change") == "relabelled")
    named = relabelled.group_by("category_before", "category").len().sort("category_before", "category")
    return {
        "classes": dict(sorted(classes.items())),
        "relabelled": {f"{a} → {b}": n for a, b, n in named.iter_rows()},
        "moved_iou": found.both.filter(pl.col("iou") < _SAME_BOX)["iou"].median(),
    }


def object_changes(old: pl.DataFrame, new: pl.DataFrame, matched: MatchedObjects | None = None) -> pl.DataFrame:
    """Return a row for each change of an object, in the terms of `compare`, in order of frames.

    `change` is one of `CHANGES`; `before_id` and `after_id` are the ids of the object before and after, null where it
    was not there; `category` is its class after the change, or the one that it had, and `category_before` the latter.
    """
    found = matched or _matched(old, new)
    pairs = found.both.rename({"category": "category_before", "new_category": "category"})
    pairs = pairs.rename({"annotation_id": "before_id", "new_id": "after_id"})
    none = pl.lit(None, pl.String)
    gone = found.gone.with_columns(before_id="annotation_id", after_id=none, category_before="category")
    fresh = found.fresh.with_columns(before_id=none, after_id="annotation_id", category_before=none)
    rows = {
        "added": [fresh],
        "removed": [gone],
        "relabelled": [pairs.filter(pl.col("category") != pl.col("category_before"))],
        "moved": [pairs.filter(pl.col("iou") < _SAME_BOX)],
        "reviewed": [pairs.filter(~pl.col("by_hand"), pl.col("new_by_hand")), fresh.filter("by_hand")],
    }
    columns = [*FRAME_KEY, "before_id", "after_id", "category", "category_before"]
    parts = [part.select(pl.lit(what).alias("change"), *columns) for what in CHANGES for part in rows[what]]
    return pl.concat(parts).sort(*FRAME_KEY, "change", "before_id", "after_id")


def reviewed_frames(view: View, before: View | None = None) -> dict[str, int]:
    """Return how many frames each person has reviewed, with what they show; those since `before` alone, if given."""
    found = view.lazy(final_objects.REVIEWED)
    if before is not None:
        # What was imported, and reviewed by a person since, is reviewed by that person.
        reviewed = [*FRAME_KEY, "content_hash", "reviewer"]
        found = found.join(before.lazy(final_objects.REVIEWED), on=reviewed, how="anti")
    return dict(found.group_by("reviewer").len().sort("reviewer").collect().iter_rows())


def class_counts(view: View) -> dict[str, int]:
    """Return how many objects of each class are on the frames that a view keeps."""
    kept = view.lazy("curation").filter("keep").select(FRAME_KEY)
    found = view.lazy(final_objects.NAME).join(kept, on=FRAME_KEY, how="semi")
    return dict(found.group_by("category").len().sort("category").collect().iter_rows())


def objects(view: View) -> pl.DataFrame:
    """Return the objects of a view as `compare` takes them."""
    rows = view.lazy(final_objects.NAME).select("annotation_id", *FRAME_KEY, "category", *_EDGES, "decision")
    by_hand = pl.col("decision").is_in(final_objects.HUMAN).fill_null(False)
    return rows.with_columns(by_hand=by_hand).drop("decision").collect()


def _matched(old: pl.DataFrame, new: pl.DataFrame) -> MatchedObjects:
    both = pl.concat([_by_id(old, new), _by_place(old, new)])
    gone = old.join(both, on="annotation_id", how="anti")
    fresh = new.join(both.select(annotation_id="new_id"), on="annotation_id", how="anti")
    return MatchedObjects(both, gone, fresh)


def _by_id(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    named = new.rename({name: f"new_{name}" for name in ("category", "by_hand", *_EDGES)}).drop(FRAME_KEY)
    return _pairs(old.join(named.with_columns(new_id="annotation_id"), on="annotation_id"))


def _by_place(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Return pairs of objects without a common id that are nearly at one place of one frame."""
    lost = old.join(new, on="annotation_id", how="anti")
    fresh = new.join(old, on="annotation_id", how="anti")
    renamed = {name: f"new_{name}" for name in ("category", "by_hand", *_EDGES)} | {"annotation_id": "new_id"}
    near = _pairs(lost.join(fresh.rename(renamed), on=FRAME_KEY)).filter(pl.col("iou") >= SAME_OBJECT)
    ordered = near.sort("iou", "annotation_id", "new_id", descending=[True, False, False])
    return near.filter(False) if not near.height else ordered[list(_one_to_one(ordered))]


def _one_to_one(ordered: pl.DataFrame) -> Iterator[int]:
    """Yield the positions of pairs of which no earlier one that was taken has either object."""
    taken: set[tuple[str, str]] = set()
    for at, (old, new) in enumerate(ordered.select("annotation_id", "new_id").iter_rows()):
        sides = {("old", old), ("new", new)}
        if not taken & sides:
            taken |= sides
            yield at


def _pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """Return pairs with `iou`, the intersection over union of their boxes; 1 for equal boxes, also of no area."""
    across, down = (
        pl.min_horizontal(pl.col(low) + pl.col(size), pl.col(f"new_{low}") + pl.col(f"new_{size}"))
        - pl.max_horizontal(low, f"new_{low}")
        for low, size in (("bbox_x", "bbox_w"), ("bbox_y", "bbox_h"))
    )
    common = across.clip(0) * down.clip(0)
    areas = pl.col("bbox_w") * pl.col("bbox_h") + pl.col("new_bbox_w") * pl.col("new_bbox_h")
    equal = pl.all_horizontal(pl.col(name) == pl.col(f"new_{name}") for name in _EDGES)
    iou = pl.when(equal).then(1.0).otherwise(common / (areas - common))
    columns = (*FRAME_KEY, "annotation_id", "new_id", "category", "new_category", "by_hand", "new_by_hand")
    return rows.select(*columns, iou.cast(pl.Float64).alias("iou"))
