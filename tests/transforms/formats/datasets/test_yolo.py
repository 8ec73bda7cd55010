from __future__ import annotations

import numpy as np
import pytest

from tests.circle_material import HEIGHT, STREAMS, WIDTH, frames, objects
from transforms.formats.datasets.yolo import (
    YoloClasses,
    are_turned_boxes,
    in_pixels,
    read_classes,
    read_yolo,
    with_turned_boxes,
)
from transforms.formats.exports.objects import clipped_box, corners_of, outlines_of
from transforms.formats.exports.yolo import Task, yolo_files
from transforms.formats.outlines import filled
from transforms.formats.reviewing.shapes import Returned, ReviewedShape, ReviewFileError


def came_back(task: Task) -> list[Returned]:
    files = yolo_files(task)(frames(), ["train"], objects())
    classes = read_classes(files["data.yaml"], "data.yaml")
    images = {name: (name, data) for name, data in files.items() if name.endswith(".txt")}
    file = read_yolo(dict(images), classes)
    assert (file.problems, len(file.frames)) == ([], len(STREAMS))
    return [in_pixels(frame, WIDTH, HEIGHT) for frame in file.frames]


def held() -> list[list[dict[str, object]]]:
    there = objects()
    return [[each for each in there.of(row) if not each["is_crowd"]] for row in range(len(STREAMS))]


def test_boxes_of_600_objects_come_back() -> None:
    for frame, expected in zip(came_back("detect"), held(), strict=True):
        for shape, each in zip(frame.shapes, expected, strict=True):
            left, top, right, bottom = clipped_box(each, WIDTH, HEIGHT)
            assert shape.category == each["category"]
            assert shape.box == pytest.approx((left, top, right - left, bottom - top), abs=2e-6 * WIDTH)
            assert (shape.rings, shape.rotation) == ((), 0)


def test_outlines_of_600_objects_come_back_without_holes() -> None:
    frames_ = came_back("segment")
    assert not are_turned_boxes(frames_)
    for frame, expected in zip(frames_, held(), strict=True):
        for shape, each in zip(frame.shapes, expected, strict=True):
            if each["mask_rle"] is None:
                # A turned box has no mask, and this format none for it.
                assert bool(shape.rings) == bool(each["rotation"])
                continue
            # As the format has them: parts joined to one ring, without holes.
            whole = filled(outlines_of(each, WIDTH, HEIGHT).parts, WIDTH, HEIGHT)
            assert np.count_nonzero(filled(shape.rings, WIDTH, HEIGHT) != whole) <= 2


def test_turned_boxes_of_600_objects_come_back() -> None:
    frames_ = [with_turned_boxes(frame) for frame in came_back("obb")]
    n = 0
    for frame, expected in zip(frames_, held(), strict=True):
        for shape, each in zip(frame.shapes, expected, strict=True):
            assert not shape.rings
            if not each["rotation"]:
                continue
            n += 1
            found = corners_of(
                dict(zip(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), shape.box, strict=True))
                | {"rotation": shape.rotation}
            )
            np.testing.assert_allclose(found, corners_of(each), atol=0.01)
    assert n == 60


def ring(*points: tuple[float, float]) -> Returned:
    return Returned("a.txt", "a", (ReviewedShape("car", (0, 0, 1, 1), rings=(points,)),))


def test_rectangles_alone_are_turned_boxes() -> None:
    diamond = ring((50, 10), (90, 50), (50, 90), (10, 50))
    anticlockwise = ring((50, 10), (10, 50), (50, 90), (90, 50))
    assert are_turned_boxes([diamond, anticlockwise])
    for frame in (diamond, anticlockwise):
        (shape,) = with_turned_boxes(frame).shapes
        assert shape.box[2:] == pytest.approx((40 * 2**0.5, 40 * 2**0.5))
        assert shape.rotation % 90 == pytest.approx(45)
    kite = ring((50, 10), (70, 50), (50, 90), (10, 50))
    bow = ring((10, 10), (90, 90), (90, 10), (10, 90))
    assert not are_turned_boxes([diamond, kite])
    assert not are_turned_boxes([bow])
    assert not are_turned_boxes([ring((0, 0), (1, 1), (0, 9), (0, 5), (0, 2))])
    assert not are_turned_boxes([])


def test_scores_and_boxes_drawn_as_polygons() -> None:
    lines = b"0 0.5 0.5 0.2 0.4 0.75\n\n1 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3\n1 0 0 1 0 0 1 0.5\n"
    file = read_yolo({"a.jpg": ("a.txt", lines), "b.jpg": ("b.jpg", None)}, YoloClasses(["car", "bus"]))
    first, none = (in_pixels(frame, 100, 200) for frame in file.frames)
    car, bus, half = first.shapes
    assert (car.category, car.score) == ("car", 0.75)
    assert car.box == pytest.approx((40, 60, 20, 80))
    assert (bus.category, bus.score, bus.rings) == ("bus", None, ())
    assert bus.box == pytest.approx((10, 20, 20, 40))
    assert (half.score, half.rings) == (0.5, (((0, 0), (100, 0), (0, 200)),))
    assert (none.name, none.shapes) == ("b.jpg", ())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2 0.5 0.5 0.2 0.4", "expected a class from 0 to 1, found 2"),
        ("-1 0.5 0.5 0.2 0.4", "expected a class from 0 to 1, found -1"),
        ("0.5 0.5 0.5 0.2 0.4", "expected the number of a class"),
        ("0 0.5 0.5 0.2", "expected a class and four numbers, or corners of a polygon; found 4 numbers"),
        ("car 0.5 0.5 0.2 0.4", "expected the number of a class, and numbers, found 'car 0.5"),
        ("0 0.5 nan 0.2 0.4", "expected the number of a class, and numbers"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(line: str, problem: str) -> None:
    file = read_yolo({"a.jpg": ("labels/a.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n".encode())}, YoloClasses(["car", "bus"]))
    assert len(file.problems) == 1
    assert file.problems[0].startswith("labels/a.txt, line 2: ")
    assert problem in file.problems[0]


def test_names_of_classes() -> None:
    assert read_classes(b"names: [car, 7, 'no']", "data.yaml") == YoloClasses(["car", "7", "no"])
    assert read_classes(b"names:\n  1: bus\n  0: car\n", "data.yaml") == YoloClasses(["car", "bus"])
    assert read_classes("\ufeffcar\nred light\n".encode(), "classes.txt") == YoloClasses(["car", "red light"])
    assert read_classes(b"names: [man]\nkpt_shape: [17, 3]", "data.yaml") == YoloClasses(["man"], 51)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"nc: 3", "expected `names`, the classes by number; found none"),
        (b"names: {car: 0}", "expected `names`, the classes by number; found none"),
        (b"names: [", "expected YAML"),
        # Class 1 has no name, and is no class called 1.
        (b"names:\n  0: car\n  2: bus\n", "expected a name for each class from 0 to 2, found none for 1"),
        (b"names: [car, no]", "class 1: expected text, found False; quote it"),
        (b"names: [~, car]", "class 0: expected text, found None"),
        (b"names: [man]\nkpt_shape: 17", "kpt_shape: expected [points, dimensions], as in [17, 3]; found 17"),
    ],
)
def test_a_class_without_a_name_is_refused(text: bytes, problem: str) -> None:
    with pytest.raises(ReviewFileError) as caught:
        read_classes(text, "data.yaml")
    assert len(caught.value.problems) == 1
    assert problem in caught.value.problems[0]


def test_keypoints_are_named_and_their_boxes_read() -> None:
    lines = b"0 0.5 0.5 0.2 0.4 0.1 0.2 2 0.3 0.4 1\n0 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4 0.1 0.2\n"
    file = read_yolo({"a.jpg": ("a.txt", lines)}, YoloClasses(["man"], 6))
    assert [in_pixels(file.frames[0], 100, 200).shapes[at].box for at in (0, 1)] == [
        pytest.approx((40, 60, 20, 80))
    ] * 2
    assert file.unsupported == ["a.txt, line 1: keypoints"]
    assert file.problems == ["a.txt, line 3: expected 11 numbers, with those of its keypoints; found 7"]


def test_a_polygon_that_names_its_first_corner_twice_is_the_same_without_it() -> None:
    open_, closed = "0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6", "0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6 0.1 0.2"
    one, other = (
        read_yolo({"a.png": ("a.txt", f"0 {line}\n".encode())}, YoloClasses(["car"])) for line in (open_, closed)
    )
    assert one.problems == other.problems == []
    assert one.frames == other.frames
    (shape,) = in_pixels(other.frames[0], 100, 50).shapes
    # An upright rectangle is a box.
    assert (shape.rings, [round(value, 6) for value in shape.box]) == ((), [10, 10, 40, 20])
