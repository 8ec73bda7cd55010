"""Boxes between keyframes, with known answers."""

from __future__ import annotations

from jobs.editing.tracks import Keyframe, interpolated


def test_boxes_move_in_proportion_to_the_frame_number() -> None:
    found = interpolated([Keyframe(10, (0, 0, 10, 20)), Keyframe(20, (100, 50, 20, 10))], [5, 10, 15, 18, 20, 25])
    assert [(box.idx, box.bbox, box.is_keyframe) for box in found] == [
        (10, (0, 0, 10, 20), True),
        (15, (50, 25, 15, 15), False),
        (18, (80, 40, 18, 12), False),
        (20, (100, 50, 20, 10), True),
    ]


def test_turns_take_the_shorter_way() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    found = interpolated([Keyframe(0, box, 350), Keyframe(4, box, 10)], range(5))
    assert [each.rotation for each in found] == [350, 355, 0, 5, 10]


def test_an_object_that_left_has_no_box_until_it_is_back() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    keyframes = [Keyframe(0, box), Keyframe(2, box, visible=False), Keyframe(5, box), Keyframe(6, box)]
    assert [each.idx for each in interpolated(keyframes, range(10))] == [0, 1, 5, 6]
