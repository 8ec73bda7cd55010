from __future__ import annotations

import polars as pl

from jobs.datasets.label_diff import compare

Row = tuple[str, int, str, float, float, float, float, bool]


def objects(*rows: Row) -> pl.DataFrame:
    """Objects of one stream: id, frame, category, box, and whether a person has accepted them."""
    names = ("annotation_id", "frame_idx", "category", "bbox_x", "bbox_y", "bbox_w", "bbox_h", "by_hand")
    types = (pl.String, pl.Int64, pl.String, *[pl.Float32] * 4, pl.Boolean)
    found = pl.DataFrame(rows, dict(zip(names, types, strict=True)), orient="row")
    return found.with_columns(stream_id=pl.lit("cam"))


def test_equal_labels_do_not_differ() -> None:
    some = objects(("a", 1, "car", 0, 0, 10, 10, False), ("b", 1, "bus", 5, 5, 0, 0, True))
    found = compare(some, some)
    counts = {"before": 1, "after": 1, "added": 0, "removed": 0, "relabelled": 0, "moved": 0, "reviewed": 0}
    assert found == {"classes": {"bus": counts, "car": counts}, "relabelled": {}, "moved_iou": None}


def test_objects_are_followed_by_id_and_else_by_place() -> None:
    before = objects(
        ("same", 1, "car", 0, 0, 10, 10, False),
        ("other id", 1, "car", 100, 0, 10, 10, False),
        ("gone", 1, "car", 200, 0, 10, 10, False),
        ("other frame", 2, "car", 0, 0, 10, 10, False),
    )
    after = objects(
        ("same", 1, "bus", 0, 0, 10, 20, True),
        # Both overlap it by more than half; the nearer one is it.
        ("near", 1, "car", 102, 0, 10, 10, False),
        ("nearer", 1, "truck", 101, 0, 10, 10, False),
        ("drawn", 3, "car", 0, 0, 10, 10, True),
    )
    found = compare(before, after)
    assert found["relabelled"] == {"car → bus": 1, "car → truck": 1}
    # 100 of 200 pixels, and 90 of 110.
    assert round(found["moved_iou"], 4) == round((0.5 + 90 / 110) / 2, 4)
    columns = ("before", "after", "added", "removed", "relabelled", "moved", "reviewed")
    assert {name: tuple(counts[c] for c in columns) for name, counts in found["classes"].items()} == {
        "bus": (0, 1, 0, 0, 1, 1, 1),
        "car": (4, 2, 2, 2, 0, 0, 1),
        "truck": (0, 1, 0, 0, 1, 1, 0),
    }
