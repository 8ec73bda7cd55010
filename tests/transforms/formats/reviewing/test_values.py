"""Values that are no number, flag or date, in each format that is read: where, what was expected, what was found."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from tests.transforms.formats.datasets.test_voc import BLOOD
from tests.transforms.formats.reviewing.test_cvat import DUMP
from transforms.formats.datasets.datumaro import read_datumaro
from transforms.formats.datasets.frame_rows import read_frame_rows
from transforms.formats.datasets.voc import read_voc
from transforms.formats.datasets.yolo import YoloClasses, read_yolo
from transforms.formats.reviewing.coco import read_review_coco
from transforms.formats.reviewing.cvat import TaskImage, read_cvat
from transforms.formats.reviewing.labelstudio_read import read_labelstudio
from transforms.formats.reviewing.shapes import ReviewFile, ReviewFileError

VIDEO = """<annotations><version>1.1</version><meta><task><mode>interpolation</mode><start_frame>0</start_frame>
<stop_frame>2</stop_frame><frame_filter>step=1</frame_filter><original_size><width>80</width><height>60</height>
</original_size></task></meta><track id="4" label="person">
<box frame="0" outside="0" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="11" ybr="12" rotation="5"/>
<box frame="2" outside="1" occluded="0" keyframe="1" xtl="5" ytl="2" xbr="15" ybr="12" rotation="10"/></track>
<tag frame="1" label="night"/></annotations>"""
COCO = {
    "info": {"contributor": "ada", "date_created": "2026-05-04"},
    "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
    "categories": [{"id": 1, "name": "car"}],
    "annotations": [
        {"id": 9, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0, "score": 0.5, "track_id": 3}
        | {"attributes": {"rotation": 10}}
    ],
}
STUDIO = [
    {
        "id": 5,
        "data": {"image": "a.jpg"},
        "annotations": [
            {
                "completed_by": 1,
                "result": [
                    {"id": "r", "type": "rectanglelabels", "original_width": 80, "original_height": 60}
                    | {"image_rotation": 0, "score": 0.5}
                    | {"value": {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0, "rectanglelabels": ["car"]}}
                ],
            }
        ],
    }
]
DATUMARO = {
    "categories": {"label": {"labels": [{"name": "car"}]}},
    "items": [
        {
            "id": "a",
            "image": {"path": "a.jpg", "size": [60, 80]},
            "annotations": [
                {"id": 7, "type": "bbox", "label_id": 0, "group": 0, "bbox": [1, 2, 3, 4]}
                | {"attributes": {"track_id": 3, "rotation": 1.5, "score": 0.5, "is_crowd": False}}
            ],
        }
    ],
}
ROW = {"stream_id": "cam", "frame_idx": 1, "width": 80, "height": 60}
ROW |= {"objects": [{"category": "car", "bbox": [1, 2, 3, 4], "score": 0.5, "track_id": 3, "rotation": 1.5}]}


def paths(value: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of all numbers and flags in a document."""
    if isinstance(value, dict):
        return [path for name, part in value.items() if name != "id" for path in paths(part, (*at, name))]
    if isinstance(value, list):
        return [path for number, part in enumerate(value) for path in paths(part, (*at, number))]
    return [at] if isinstance(value, int | float) else []


def with_value(document: object, path: tuple[str | int, ...], value: object) -> object:
    copy = json.loads(json.dumps(document))
    inner = copy
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return copy


def said(read: Callable[[], ReviewFile]) -> list[str]:
    try:
        return read().problems
    except ReviewFileError as error:
        return error.problems


def check(lines: list[str], name: object, place: str) -> None:
    assert lines, name
    for line in lines:
        assert "expected " in line, line
        assert "found " in line, line
        assert place in line, line
        assert "invalid literal" not in line, line
        assert "could not convert" not in line, line


@pytest.mark.parametrize(
    ("document", "read", "place"),
    [
        (COCO, read_review_coco, ""),
        (STUDIO, read_labelstudio, "task"),
        (DATUMARO, read_datumaro, "items"),
        (ROW, lambda data: read_frame_rows([("line 4", json.loads(data))]), "line 4"),
    ],
)
@pytest.mark.parametrize("value", ["many", [3], {"a": 1}])
def test_values_of_documents(document: object, read: Callable[[bytes], ReviewFile], place: str, value: object) -> None:
    assert not said(lambda: read(json.dumps(document).encode()))
    found = paths(document)
    assert len(found) > 7
    for path in found:
        if path[-1] == "completed_by" or (path[-1] in {"image_id", "group"} and isinstance(value, str)):
            continue
        lines = said(lambda path=path: read(json.dumps(with_value(document, path, value)).encode()))  # type: ignore[misc]
        inside = {"items": "item"}.get(place, place)
        check(lines, path, inside)


@pytest.mark.parametrize("text", ["many", "nan", "", "1e999"])
def test_values_of_cvat(text: str) -> None:
    images = [TaskImage(name=f"{at}.jpg", width=80, height=60) for at in range(3)]
    plain = {"label", "name", "id", "source", "z_order", "keyframe", "version"}
    for whole, read in ((DUMP, read_cvat), (VIDEO, lambda data: read_cvat(data, images))):
        assert not said(lambda whole=whole, read=read: read(whole.encode()))  # type: ignore[misc]
        tree = ET.fromstring(whole)
        n = 0
        for element in tree.iter():
            for name in [name for name in element.attrib if name not in plain]:
                # Flags that are not there are off, and where nothing is, nothing is occluded.
                is_nothing = name == "occluded" and element.get("outside") == "1"
                if is_nothing or (text == "" and name in {"occluded", "outside"}):
                    continue
                before = element.attrib[name]
                element.set(name, text)
                check(said(lambda tree=tree, read=read: read(ET.tostring(tree))), name, name)  # type: ignore[misc]
                element.set(name, before)
                n += 1
        assert n > 10


@pytest.mark.parametrize("name", ["start_frame", "stop_frame", "frame_filter", "width", "height"])
def test_values_of_the_task_of_cvat(name: str) -> None:
    images = [TaskImage(name=f"{at}.jpg", width=80, height=60) for at in range(3)]
    text = re.sub(f"<{name}>.*?</{name}>", f"<{name}>-x</{name}>", VIDEO)
    check(said(lambda: read_cvat(text.encode(), images)), name, "meta")


@pytest.mark.parametrize("text", ["many", "nan", "1e999"])
def test_values_of_voc(text: str) -> None:
    tree = ET.fromstring(BLOOD.replace("<difficult>", "<confidence>0.5</confidence><difficult>"))
    wanted = {"width", "height", "xmin", "ymin", "xmax", "ymax", "confidence"}
    elements = [each for each in tree.iter() if each.tag in wanted]
    assert len(elements) >= 12
    for element in elements:
        before, element.text = element.text, text
        check(said(lambda: read_voc({"Annotations/x.xml": ET.tostring(tree)})), element.tag, "Annotations/x.xml")
        element.text = before


@pytest.mark.parametrize("at", range(5))
def test_values_of_yolo(at: int) -> None:
    words = ["0", "0.5", "0.5", "0.2", "0.2"]
    words[at] = "many"
    check(
        said(lambda: read_yolo({"a.jpg": ("a.txt", " ".join(words).encode())}, YoloClasses(["car"]))),
        at,
        "a.txt, line 1",
    )


def test_a_class_that_a_file_does_not_have_is_one_line() -> None:
    several = json.loads(json.dumps(COCO))
    several["annotations"] = [{**several["annotations"][0], "id": at, "category_id": 7} for at in (4, 5, 6)]
    assert read_review_coco(json.dumps(several).encode()).problems == [
        "annotation 1 (id 4), category_id: expected that of a category of the file, found 7; so it is at 2 more"
    ]
    assert read_yolo(
        {"a.jpg": ("a.txt", b"7 .5 .5 .2 .2\n7 .4 .4 .2 .2\n0 .5 .5 .2 .2")}, YoloClasses(["car"])
    ).problems == ["a.txt, line 1: expected a class from 0 to 0, found 7; so it is at 1 more"]
    items = [with_value(DATUMARO, ("items", 0, "annotations", 0, "label_id"), 3)["items"][0]] * 2  # type: ignore[index]
    assert read_datumaro(json.dumps({**DATUMARO, "items": items}).encode()).problems == [
        "item a, annotation 7: expected a label_id below 1, found 3; so it is at 1 more"
    ]


def test_dates_that_cannot_be_read_are_named() -> None:
    file = read_review_coco(json.dumps(with_value(COCO, ("info", "date_created"), "yesterday")).encode())
    assert file.undated.startswith("info.date_created: expected a date as 2026-05-04T10:30:00Z, found 'yesterday'")
    assert file.frames[0].reviewed_ns is None
    days = [with_value(COCO, ("info", "date_created"), day) for day in ("2017/11/14", "2017-11-14")]
    one, other = (read_review_coco(json.dumps(each).encode()) for each in days)
    assert one.frames[0].reviewed_ns == other.frames[0].reviewed_ns == 1_510_617_600 * 10**9
    assert not one.undated
    studio = with_value(STUDIO, (0, "annotations", 0, "updated_at"), "12.5.2026")
    assert read_labelstudio(json.dumps(studio).encode()).undated.startswith("task 5, updated_at: expected a date")
    cvat = re.sub("<updated>.*</updated>", "<updated>soon</updated>", DUMP)
    assert read_cvat(cvat.encode()).undated.startswith("meta, updated: expected a date")
