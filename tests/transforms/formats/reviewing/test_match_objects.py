from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.transforms.formats.exports.material import HEIGHT, WIDTH, annotation, rle, two_parts
from transforms.formats.exports.objects import mask_of
from transforms.formats.reviewing.match_objects import Known, decide
from transforms.formats.reviewing.shapes import Returned, ReviewedShape, box_around, rings_of

CATEGORIES = frozenset({"person", "cat"})
A, B, OTHER = (f"{n:032x}" for n in (1, 2, 9))
HASH = "ab" * 32


def known(**more: Any) -> Known:
    shown = {
        A: annotation(1, "cam", 3, "person", 0.5, 10, 5, 20, 10, track_id=4),
        B: annotation(2, "cam", 3, "cat", 0.75, 40, 20, 10, 10),
    }
    return Known("cam", 3, HASH, WIDTH, HEIGHT, **{"shown": shown, **more})


def said(*shapes: ReviewedShape, frame: Known | None = None) -> dict[str, list[dict[str, Any]]]:
    decisions, problems = decide(frame or known(), Returned("task 1", "x", shapes, (WIDTH, HEIGHT)), CATEGORIES, "ada")
    assert problems == []
    found: dict[str, list[dict[str, Any]]] = {}
    for each in decisions:
        found.setdefault(each["decision"], []).append(each)
    return found


def wrong(*shapes: ReviewedShape, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[str]:
    return decide(known(), Returned("task 1", "x", shapes, size), CATEGORIES, "ada")[1]


def test_returned_shapes_are_the_decisions() -> None:
    moved = ReviewedShape("person", (12, 5, 20, 10), A, note="too far left")
    drawn = ReviewedShape("cat", (1, 1, 5, 5))
    found = said(moved, drawn)
    assert sorted(found) == ["add", "correct", "reject"]
    corrected, added = found["correct"][0], found["add"][0]
    assert (corrected["annotation_id"], corrected["bbox_x"], corrected["note"]) == (A, 12, "too far left")
    assert (corrected["score"], corrected["source"], corrected["track_id"], corrected["model"]) == (1, "review", 4, "m")
    assert found["reject"][0] == {**known().shown[B], "decision": "reject", "note": None}
    assert (added["category"], added["source"], added["model"], added["weights_hash"]) == ("cat", "review", "ada", None)
    assert len(added["annotation_id"]) == 32
    assert said(drawn)["add"][0]["annotation_id"] == added["annotation_id"]


def test_unchanged_objects_are_approved_unchanged() -> None:
    found = said(ReviewedShape("person", (10.004, 4.996, 20, 10), A), ReviewedShape("cat", (40, 20, 10, 10), B))
    assert found == {"approve": [{**known().shown[n], "decision": "approve", "note": None} for n in (A, B)]}
    assert set(said(ReviewedShape("cat", (10, 5, 20, 10), A))) == {"correct", "reject"}


def test_copies_are_new_objects() -> None:
    copy, original = ReviewedShape("person", (50, 40, 20, 10), A), ReviewedShape("person", (10, 5, 20, 10), A)
    of_another_frame = ReviewedShape("cat", (40, 20, 10, 10), OTHER)
    found = said(copy, original, of_another_frame, frame=known(elsewhere=frozenset({OTHER})))
    assert [o["annotation_id"] for o in found["approve"]] == [A]
    assert [o["bbox_x"] for o in found["add"]] == [50, 40]
    assert not {A, OTHER} & {o["annotation_id"] for o in found["add"]}


def test_a_second_review_builds_on_the_first() -> None:
    corrected = {**known().shown[A], "bbox_x": 12.0, "decision": "correct", "source": "review"}
    added = {**annotation(7, "cam", 3, "cat", 1.0, 1, 1, 5, 5, source="review"), "decision": "add"}
    frame = known(said={A: corrected, added["annotation_id"]: added})
    again = said(
        ReviewedShape("person", (12, 5, 20, 10), A),
        ReviewedShape("cat", (1, 1, 5, 5), added["annotation_id"]),
        frame=frame,
    )
    assert again["correct"] == [{**corrected, "note": None}]
    assert again["add"] == [{**added, "note": None}]
    back = said(
        ReviewedShape("person", (10, 5, 20, 10), A),
        ReviewedShape("cat", (2, 1, 5, 5), added["annotation_id"]),
        frame=frame,
    )
    assert back["approve"][0]["bbox_x"] == 10
    assert (back["add"][0]["bbox_x"], back["add"][0]["annotation_id"]) == (2, added["annotation_id"])
    # Another model has another object there now; that of the first model is still known.
    later = Known("cam", 3, HASH, WIDTH, HEIGHT, shown={B: known().shown[B]}, found={A: known().shown[A]})
    assert [o["annotation_id"] for o in said(ReviewedShape("person", (10, 5, 20, 10), A), frame=later)["approve"]] == [
        A
    ]


def test_masks_are_compared_pixel_by_pixel() -> None:
    mask = two_parts()
    masked = {**known().shown[A], "mask_rle": rle(mask)}
    frame = known(shown={A: masked})
    rings = rings_of(masked, WIDTH, HEIGHT)
    whole = (10.0, 5.0, 20.0, 10.0)
    for shape in (
        ReviewedShape("person", whole, A),
        ReviewedShape("person", (0, 0, 0, 0), A, rings=rings),
        ReviewedShape("person", (0, 0, 0, 0), A, mask_rle=rle(mask)),
    ):
        assert said(shape, frame=frame)["approve"][0]["mask_rle"] == rle(mask)
    square = ((2.5, 3.5), (8.5, 3.5), (8.5, 9.5), (2.5, 9.5))
    drawn = said(ReviewedShape("person", (2.5, 3.5, 6, 6), A, rings=(square,)), frame=frame)["correct"][0]
    assert [drawn[n] for n in ("bbox_x", "bbox_y", "bbox_w", "bbox_h")] == [2, 3, 6, 6]
    assert np.argwhere(mask_of(drawn, WIDTH, HEIGHT)).min(axis=0).tolist() == [3, 2]
    assert said(ReviewedShape("person", (12, 5, 20, 10), A), frame=frame)["correct"][0]["mask_rle"] is None


def test_an_edited_outline_changes_only_where_it_was_edited() -> None:
    mask = two_parts()
    masked = {**known().shown[A], "mask_rle": rle(mask)}
    ring = rings_of(masked, WIDTH, HEIGHT)[0]
    moved = (ring[0][0] - 3, ring[0][1] - 3)
    edited = tuple(moved if point == ring[0] else point for point in ring)
    shape = ReviewedShape("person", box_around([edited]), A, rings=(edited,))
    drawn = said(shape, frame=known(shown={A: masked}))["correct"][0]
    changed = np.argwhere(mask_of(drawn, WIDTH, HEIGHT) != mask)
    assert 0 < len(changed) < mask.sum() / 4


def test_an_edge_slightly_outside_is_clipped() -> None:
    drawn = said(ReviewedShape("cat", (-0.5, 50.0, 20.0, 10.9)))["add"][0]
    assert [drawn[n] for n in ("bbox_x", "bbox_y", "bbox_w", "bbox_h")] == pytest.approx([0, 50, 19.5, 10])


def test_all_problems_are_reported_at_once() -> None:
    problems = wrong(
        ReviewedShape("dog", (1, 1, 5, 5)),
        ReviewedShape("cat", (70, 1, 20, 5)),
        ReviewedShape("cat", (1, 1, 0, 5)),
        ReviewedShape("cat", (1, 1, 5, 5), "f" * 32),
        ReviewedShape("cat", (float("nan"), 1, 5, 5)),
    )
    hints = ("category 'dog' is not known", "leaves the frame of 80x60", "width and height above 0", "no such object")
    for problem, hint in zip(problems, (*hints, "width and height"), strict=True):
        assert hint in problem
        assert problem.startswith("task 1, object ")
    assert "it is 40x30 in the file, but 80x60 in the tables" in wrong(size=(40, 30))[0]


def test_an_empty_mask_is_refused() -> None:
    line = ((1.0, 1.0), (9.0, 1.0), (1.0, 1.0))
    problems = wrong(
        ReviewedShape("cat", (0, 0, 0, 0), mask_rle=rle(np.zeros((HEIGHT, WIDTH), np.uint8))),
        ReviewedShape("cat", (1, 1, 8, 1), rings=(line,)),
    )
    for problem, hint in zip(problems, ("found an empty one", "pixels of the frame in it, found none"), strict=True):
        assert hint in problem
