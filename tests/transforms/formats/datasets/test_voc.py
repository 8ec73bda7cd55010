from __future__ import annotations

import pytest

from tests.circle_material import CATEGORIES, HEIGHT, WIDTH, frames, objects
from transforms.formats.datasets.voc import read_voc
from transforms.formats.exports.losses import losses
from transforms.formats.exports.objects import clipped_box
from transforms.formats.exports.voc import IMAGES, voc_files

BLOOD = """<annotation verified="no">
  <folder>RBC</folder><filename>BloodImage_00000.jpg</filename>
  <size><width>640</width><height>480</height><depth>3</depth></size>
  <object><name>WBC</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
    <bndbox><xmin>260</xmin><ymin>177</ymin><xmax>491</xmax><ymax>376</ymax></bndbox></object>
  <object><name>RBC</name><pose>Unspecified</pose><truncated>0</truncated><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>1.5</ymin><xmax>10</xmax><ymax>20</ymax></bndbox></object>
</annotation>"""


def test_edges_count_from_one_and_are_inside() -> None:
    file = read_voc({"data/Annotations/a/BloodImage_00000.xml": BLOOD.encode()})
    (frame,) = file.frames
    assert (file.problems, frame.name, frame.size) == ([], "a/BloodImage_00000.jpg", (640, 480))
    white, red = frame.shapes
    assert (white.category, white.box) == ("WBC", (259, 176, 232, 200))
    assert (red.category, red.box) == ("RBC", (0, 0.5, 10, 19.5))
    assert (white.attributes, red.attributes) == ({"pose": "Left", "truncated": True}, {"difficult": True})
    # Elsewhere than in our own files, a difficult object is no crowd.
    assert red.is_crowd is None


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("<xmin>260</xmin>", "", "object 1: bndbox, xmin: expected a number, found none"),
        ("<xmin>260</xmin>", "<xmin>nan</xmin>", "object 1: bndbox, xmin: expected a number, found 'nan'"),
        ("<name>RBC</name>", "<name> </name>", "object 2: name: expected a class, found nothing"),
        ("<width>640</width>", "<width>wide</width>", "size, width: expected a number, found 'wide'"),
        ("</annotation>", "", "expected XML: no element found"),
        ('<annotation verified="no">', "<annotation><![CDATA[", "expected XML"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_object(before: str, after: str, problem: str) -> None:
    file = read_voc({"Annotations/x.xml": BLOOD.replace(before, after).encode()})
    assert len(file.problems) == 1
    assert file.problems[0].startswith("Annotations/x.xml")
    assert problem in file.problems[0]


def test_attributes_as_cvat_lists_them_are_kept() -> None:
    listed = "".join(
        f"<attribute><name>{name}</name><value>{value}</value></attribute>"
        for name, value in (("rotation", "30.0"), ("occluded", "0"), ("keyframe", "True"), ("colour", "red"))
    )
    text = BLOOD.replace("<name>RBC</name>", f"<name>RBC</name><attributes>{listed}</attributes>")
    file = read_voc({"Annotations/a.xml": text.encode()})
    white, red = file.frames[0].shapes
    assert (file.problems, red.rotation, white.rotation) == ([], 30, 0)
    assert red.attributes == {"difficult": True, "colour": "red"}


@pytest.mark.parametrize(("element", "left"), [("polygon", "polygon"), ("robndbox", "robndbox, a turned box")])
def test_shapes_of_other_programs_are_named(element: str, left: str) -> None:
    inside = BLOOD.replace("<name>RBC</name>", f"<name>RBC</name><{element}><x1>1</x1></{element}>")
    file = read_voc({"Annotations/a.xml": inside.encode()})
    assert (file.problems, file.unsupported) == ([], [f"Annotations/a.xml, object 2: {left}"])
    assert len(file.frames[0].shapes) == 2
    # One without a box has nothing else to read.
    file = read_voc(
        {
            "Annotations/a.xml": inside.replace("<bndbox><xmin>1<", "<box><xmin>1<")
            .replace("20</ymax></bndbox>", "20</ymax></box>")
            .encode()
        }
    )
    assert (file.problems, len(file.unsupported), len(file.frames[0].shapes)) == ([], 1, 1)


def test_a_size_of_zero_says_nothing() -> None:
    text = BLOOD.replace("<width>640</width>", "<width>0</width>")
    assert read_voc({"x.xml": text.encode()}).frames[0].size is None


def test_600_objects_of_every_kind_come_back_within_a_pixel() -> None:
    there = objects()
    names = [name.replace("images/", IMAGES, 1) for name in frames()["file_name"].to_pylist()]
    rows = frames().set_column(frames().schema.get_field_index("file_name"), "file_name", [names])
    files = {name: data for name, data in voc_files(rows, ["train"], there).items() if name.endswith(".xml")}
    file = read_voc(files)
    by_name = {frame.name: frame for frame in file.frames}
    assert (len(by_name), file.problems) == (len(names), [])
    n = 0
    for row, name in enumerate(names):
        frame = by_name[name.removeprefix(IMAGES)]
        assert frame.size == (WIDTH, HEIGHT)
        for shape, each in zip(frame.shapes, there.of(row), strict=True):
            n += 1
            left, top, right, bottom = clipped_box(each, WIDTH, HEIGHT)
            edges = (shape.box[0], shape.box[1], shape.box[0] + shape.box[2], shape.box[1] + shape.box[3])
            assert edges == pytest.approx((left, top, right, bottom), abs=0.5)
            assert (shape.category, bool(shape.is_crowd)) == (each["category"], bool(each["is_crowd"]))
            assert shape.score == pytest.approx(each["score"], abs=1e-6)
    assert n == losses("voc", rows, there)["objects"] == 600
    assert {shape.category for frame in file.frames for shape in frame.shapes} == set(CATEGORIES)
