from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.transforms.formats.exports.material import HEIGHT, WIDTH, annotation, rle, two_parts
from transforms.formats.exports.objects import mask_of
from transforms.formats.outlines import outlines
from transforms.formats.reviewing.known_frames import Known
from transforms.formats.reviewing.match_objects import decide
from transforms.formats.reviewing.shapes import Returned, ReviewedShape, Ring, box_around

A, B, OTHER = (f"{n:032x}" for n in (1, 2, 9))
HASH = "ab" * 32


def known(**more: Any) -> Known:
    shown = {
        A: annotation(1, "cam", 3, "person", 0.5, 10, 5, 20, 10, track_id=4),
        B: annotation(2, "cam", 3, "cat", 0.75, 40, 20, 10, 10),
    }
    return Known("cam", 3, HASH, WIDTH, HEIGHT, **{"shown": shown, **more})


def said(*shapes: ReviewedShape, frame: Known | None = None, reviewer: str = "ada") -> dict[str, list[dict[str, Any]]]:
    decided = decide(frame or known(), Returned("task 1", "x", shapes, (WIDTH, HEIGHT)), reviewer)
    assert decided.problems == []
    found: dict[str, list[dict[str, Any]]] = {}
    for each in decided.decisions:
        assert each.pop("track") is None
        found.setdefault(each["decision"], []).append(each)
    return found


def ring_of(mask: npt.NDArray[np.uint8]) -> Ring:
    (part,) = outlines(mask).parts
    return tuple((x, y) for x, y in part.tolist())


def block(top: int, left: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def wrong(*shapes: ReviewedShape, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[str]:
    return decide(known(), Returned("task 1", "x", shapes, size), "ada").problems


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


def test_copies_of_objects_get_new_ids() -> None:
    copy, original = ReviewedShape("person", (50, 40, 20, 10), A), ReviewedShape("person", (10, 5, 20, 10), A)
    of_another_frame = ReviewedShape("cat", (60, 20, 10, 10), OTHER)
    found = said(copy, original, of_another_frame, frame=known(elsewhere=frozenset({OTHER})))
    assert [o["annotation_id"] for o in found["approve"]] == [A]
    assert [o["bbox_x"] for o in found["add"]] == [50, 60]
    assert not {A, OTHER} & {o["annotation_id"] for o in found["add"]}


def test_a_second_review_builds_on_the_first() -> None:
    corrected = {**known().shown[A], "bbox_x": 12.0, "decision": "correct", "source": "review", "reviewer": "ada"}
    drawn = annotation(7, "cam", 3, "cat", 1.0, 1, 1, 5, 5, source="review")
    added = {**drawn, "decision": "add", "reviewer": "ada", "author": "ada"}
    frame = known(said={A: corrected, added["annotation_id"]: added})
    again = said(
        ReviewedShape("person", (12, 5, 20, 10), A),
        ReviewedShape("cat", (1, 1, 5, 5), added["annotation_id"]),
        frame=frame,
    )
    assert again["correct"] == [{**corrected, "note": None, "author": "ada"}]
    assert again["add"] == [{**added, "note": None, "author": "ada"}]
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


def test_approving_an_object_keeps_its_author() -> None:
    drawn = annotation(7, "cam", 3, "cat", 1.0, 1, 1, 5, 5, source="review")
    added = {**drawn, "decision": "add", "reviewer": "ada", "author": "ada"}
    corrected = {**known().shown[A], "bbox_x": 12.0, "decision": "correct", "reviewer": "ada", "author": "ada"}
    frame = known(said={A: corrected, added["annotation_id"]: added})
    shapes = (ReviewedShape("person", (12, 5, 20, 10), A), ReviewedShape("cat", (1, 1, 5, 5), added["annotation_id"]))
    found = said(*shapes, frame=frame, reviewer="bo")
    assert [(o["decision"], o["author"], o["bbox_x"]) for o in found["approve"]] == [
        ("approve", "ada", 12),
        ("approve", "ada", 1),
    ]
    # Once more by the same person changes nothing; who moves it has corrected it.
    approved = {o["annotation_id"]: {**o, "reviewer": "bo"} for o in found["approve"]}
    again = said(*shapes, frame=known(said=approved), reviewer="bo")["approve"]
    assert again == [{**o, "reviewer": "bo"} for o in found["approve"]]
    moved = said(ReviewedShape("person", (14, 5, 20, 10), A), frame=known(said=approved), reviewer="eve")
    assert [(o["author"], o["bbox_x"]) for o in moved["correct"]] == [("eve", 14)]


def test_masks_are_compared_pixel_by_pixel() -> None:
    mask = two_parts()
    masked = {**known().shown[A], "mask_rle": rle(mask)}
    frame = known(shown={A: masked})
    solid = {**masked, "mask_rle": rle(block(5, 10, 10, 20))}
    for shape, about in (
        (ReviewedShape("person", (10.0, 5.0, 20.0, 10.0), A), frame),
        (ReviewedShape("person", (0, 0, 0, 0), A, mask_rle=rle(mask)), frame),
        (ReviewedShape("person", (0, 0, 0, 0), A, rings=(ring_of(block(5, 10, 10, 20)),)), known(shown={A: solid})),
    ):
        (approved,) = said(shape, frame=about)["approve"]
        assert approved == {**about.shown[A], "decision": "approve", "note": None}
    square = ((12.5, 3.5), (18.5, 3.5), (18.5, 9.5), (12.5, 9.5))
    drawn = said(ReviewedShape("person", (12.5, 3.5, 6, 6), A, rings=(square,)), frame=frame)["correct"][0]
    assert [drawn[n] for n in ("bbox_x", "bbox_y", "bbox_w", "bbox_h")] == [12, 3, 6, 6]
    assert np.argwhere(mask_of(drawn, WIDTH, HEIGHT)).min(axis=0).tolist() == [3, 12]
    # The polygon stays as it was drawn.
    assert drawn["polygons"] == [[12.5, 3.5, 18.5, 3.5, 18.5, 9.5, 12.5, 9.5]]
    assert said(ReviewedShape("person", (12, 5, 20, 10), A), frame=frame)["correct"][0]["mask_rle"] is None


def test_a_new_label_leaves_the_area_as_it_is() -> None:
    holed = block(10, 20, 20, 30)
    holed[15:20, 30:40] = 0
    drawn = [20.0, 10.25, 50.0, 10.0, 40.5, 30.0]
    for more in ({"mask_rle": rle(holed)}, {"mask_rle": rle(holed), "polygons": [drawn]}, {"rotation": 30.0}):
        base = {**known().shown[A], "bbox_x": 10.123456, **more}
        as_box = ReviewedShape("cat", (10.12, 5, 20, 10), A, rotation=base.get("rotation") or 0)
        shape = as_box if "rotation" in more else ReviewedShape("cat", (0, 0, 1, 1), A, mask_rle=rle(holed))
        (relabelled,) = said(shape, frame=known(shown={A: base}))["correct"]
        assert relabelled["category"] == "cat"
        for name in ("bbox_x", "bbox_y", "bbox_w", "bbox_h", "mask_rle", "polygons", "rotation"):
            assert relabelled[name] == base.get(name)
    # As an outline too, of a person's polygon.
    ring = tuple(zip(drawn[::2], drawn[1::2], strict=True))
    (moved,) = said(
        ReviewedShape("cat", (0, 0, 1, 1), A, rings=(ring,)),
        frame=known(shown={A: base | {"mask_rle": rle(holed), "polygons": [drawn], "rotation": None}}),
    )["correct"]
    assert (moved["mask_rle"], moved["polygons"]) == (rle(holed), [drawn])


def test_a_polygon_that_repeats_its_box_is_a_box_unless_the_object_has_an_area() -> None:
    def drawn(left: float) -> ReviewedShape:
        ring = ((left, 5.0), (left + 20, 5.0), (left + 20, 15.0), (left, 15.0))
        return ReviewedShape("person", (left, 5, 20, 10), A, rings=(ring,), repeats_box=True)

    masked = known(shown={A: {**known().shown[A], "mask_rle": rle(block(5, 10, 10, 20))}})
    assert list(said(drawn(10), frame=masked)) == ["approve"]
    assert said(drawn(12), frame=masked)["correct"][0]["mask_rle"] == rle(block(5, 12, 10, 20))
    assert set(said(drawn(10))) == {"approve", "reject"}
    assert said(drawn(12))["correct"][0]["mask_rle"] is None
    assert said(drawn(50))["correct"][0]["mask_rle"] is None


def test_a_thin_bar_that_is_moved_by_more_than_its_width_keeps_its_track() -> None:
    bar = annotation(1, "cam", 3, "person", 0.5, 30, 5, 2, 40, track_id=4)
    twin = annotation(2, "cam", 3, "person", 0.5, 60, 5, 2, 40, track_id=5)
    frame = known(shown={A: bar, B: twin})

    def shape(left: float, name: str | None, **more: Any) -> ReviewedShape:
        return ReviewedShape(more.pop("category", "person"), (left, 5, more.pop("width", 2), 40), name, **more)

    def decisions(*shapes: ReviewedShape) -> list[tuple[str, str, float, int | None]]:
        found = [each for some in said(*shapes, frame=frame).values() for each in some]
        return sorted((each["annotation_id"], each["decision"], each["bbox_x"], each["track_id"]) for each in found)

    # Each is where it was moved to, with its track, also where both are alike.
    assert decisions(shape(35, A), shape(55, B)) == [(A, "correct", 35, 4), (B, "correct", 55, 5)]
    # Ids that were exchanged are not believed, as long as one bar is where it was.
    assert decisions(shape(30, B), shape(60, A)) == [(A, "approve", 30, 4), (B, "approve", 60, 5)]
    assert [row[:2] for row in decisions(shape(30, B), shape(65, A))][:2] == [(A, "approve"), (B, "reject")]
    # Nor is the id of a copy, of another size or category, nor a number.
    for other in (
        shape(35, None, numbered_id=A),
        shape(35, A, width=3),
        shape(35, A, category="cat"),
    ):
        added = [row for row in decisions(other, shape(60, B)) if row[1] == "add"]
        assert [row[2:] for row in added] == [(35, None)]
        assert (A, "reject", 30, 4) in decisions(other, shape(60, B))
    copied = decisions(shape(30, A), shape(35, A), shape(60, B))
    assert [row[1:] for row in copied if row[0] not in {A, B}] == [("add", 35, None)]


def test_a_polygon_that_is_dragged_covers_as_many_pixels() -> None:
    mask = block(10, 20, 15, 30)
    mask[10:14, 20:26] = 0
    base = annotation(1, "cam", 3, "person", 0.5, 20, 10, 30, 15, mask_rle=rle(mask))
    for by in (10, 10.3):
        ring = tuple((x + by, y) for x, y in ring_of(mask))
        (drawn,) = said(ReviewedShape("person", box_around([ring]), A, rings=(ring,)), frame=known(shown={A: base}))[
            "correct"
        ]
        assert np.array_equal(mask_of(drawn, WIDTH, HEIGHT), np.roll(mask, 10, axis=1))


def test_turned_boxes_are_kept() -> None:
    (drawn,) = said(ReviewedShape("cat", (-5, 20, 30, 10), rotation=450.0))["add"]
    assert [drawn[n] for n in ("bbox_x", "bbox_w", "rotation", "mask_rle")] == [-5, 30, 90, None]
    base = {**known().shown[A], "rotation": 359.96}
    assert list(said(ReviewedShape("person", (10, 5, 20, 10), A), frame=known(shown={A: base}))) == ["approve"]
    (turned,) = said(ReviewedShape("person", (10, 5, 20, 10), A, rotation=20))["correct"]
    assert (turned["rotation"], turned["track_id"]) == (20, 4)
    assert "its centre outside" in wrong(ReviewedShape("cat", (90, 1, 20, 5), rotation=45))[0]


def test_numbers_are_believed_only_with_a_shape_that_overlaps() -> None:
    """A tool has numbered the annotations the other way round, and one box was moved."""
    moved, stayed = ReviewedShape("cat", (42, 20, 10, 10), numbered_id=A), ReviewedShape("person", (10, 5, 20, 10))
    found = said(moved, ReviewedShape("person", (10, 5, 20, 10), numbered_id=B))
    assert [o["annotation_id"] for o in found["correct"]] == [B]
    assert [(o["annotation_id"], o["track_id"]) for o in found["approve"]] == [(A, 4)]
    # Without any number as well; what is nowhere near is new, with any number.
    assert [o["annotation_id"] for o in said(stayed)["approve"]] == [A]
    found = said(ReviewedShape("person", (50, 45, 20, 10), numbered_id=A))
    assert (len(found["add"]), len(found["reject"]), found["add"][0]["track_id"]) == (1, 2, None)
    # A number is of use where a box was moved a good way, but not to an area.
    far = ReviewedShape("person", (22, 10, 20, 10), numbered_id=A)
    assert [o["annotation_id"] for o in said(far)["correct"]] == [A]
    area = ReviewedShape("person", (10, 5, 20, 10), mask_rle=rle(block(5, 10, 10, 18)), numbered_id=A)
    assert set(said(area)) == {"add", "reject"}


def test_an_id_is_not_believed_where_its_object_is_not() -> None:
    found = said(ReviewedShape("person", (50, 40, 20, 10), A), ReviewedShape("person", (11, 5, 20, 10)))
    assert [o["annotation_id"] for o in found["correct"]] == [A]
    assert [o["bbox_x"] for o in found["add"]] == [50]


def test_attributes_and_relations_are_kept() -> None:
    base = {**known().shown[A], "attributes": '{"colour": "red", "n": 3}'}
    frame = known(shown={A: base})
    same = ReviewedShape("person", (10, 5, 20, 10), A, attributes={"n": "3"})
    assert list(said(same, frame=frame)) == ["approve"]
    other = ReviewedShape("person", (10, 5, 20, 10), A, attributes={"colour": None, "n": "4"})
    assert said(other, frame=frame)["correct"][0]["attributes"] == '{"n": "4"}'
    owner = ReviewedShape("cat", (40, 20, 10, 10), B, attributes={"relations": [{"to": "Dx_1"}]})
    found = said(owner, ReviewedShape("cat", (1, 1, 5, 5), "Dx_1"))
    assert found["correct"][0]["attributes"] == f'{{"relations": [{{"to": "{found["add"][0]["annotation_id"]}"}}]}}'


def test_frames_with_other_shapes_or_tags_are_changed() -> None:
    shown = known().shown
    back = tuple(
        ReviewedShape(o["category"], (o["bbox_x"], o["bbox_y"], o["bbox_w"], o["bbox_h"]), n) for n, o in shown.items()
    )
    frame = known(standing=shown)
    for shapes, is_changed in ((back, False), (back[:1], True), ((*back, ReviewedShape("cat", (1, 1, 5, 5))), True)):
        assert decide(frame, Returned("task 1", "x", shapes), "ada").is_changed == is_changed
    assert decide(frame, Returned("task 1", "x", back, tags=("rain",)), "ada").is_changed
    # A file that says nothing of tags leaves them.
    tagged = decide(known(standing=shown, tags=("rain",)), Returned("task 1", "x", back), "ada")
    assert (tagged.tags, tagged.is_changed) == (("rain",), False)
    # One that was rejected before, and is still not there, is no change.
    assert not decide(known(standing={A: shown[A]}), Returned("task 1", "x", back[:1]), "bo").is_changed


def test_an_edge_slightly_outside_is_clipped() -> None:
    drawn = said(ReviewedShape("cat", (-0.5, 50.0, 20.0, 10.9)))["add"][0]
    assert [drawn[n] for n in ("bbox_x", "bbox_y", "bbox_w", "bbox_h")] == pytest.approx([0, 50, 19.5, 10])


def test_all_problems_are_reported_at_once() -> None:
    problems = wrong(
        ReviewedShape("cat", (70, 1, 20, 5)),
        ReviewedShape("cat", (1, 1, 0, 5)),
        ReviewedShape("cat", (1, 1, 5, 5), "f" * 32),
        ReviewedShape("cat", (float("nan"), 1, 5, 5)),
    )
    hints = ("leaves the frame of 80x60", "width and height above 0", "no such object")
    for problem, hint in zip(problems, (*hints, "finite numbers"), strict=True):
        assert hint in problem
        assert problem.startswith("task 1, object: ")
    assert "it is 40x30 in the file, but 80x60 in the tables" in wrong(size=(40, 30))[0]


def test_an_empty_mask_is_refused() -> None:
    line = ((1.0, 1.0), (9.0, 1.0), (1.0, 1.0))
    problems = wrong(
        ReviewedShape("cat", (0, 0, 0, 0), mask_rle=rle(np.zeros((HEIGHT, WIDTH), np.uint8))),
        ReviewedShape("cat", (1, 1, 8, 1), rings=(line,)),
    )
    for problem, hint in zip(problems, ("found an empty one", "pixels of the frame in it, found none"), strict=True):
        assert hint in problem
