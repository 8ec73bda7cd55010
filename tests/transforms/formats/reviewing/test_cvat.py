from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest

from tests.transforms.formats.exports.material import (
    CATEGORIES,
    HEIGHT,
    WIDTH,
    frames,
    objects,
    rle,
    two_parts,
    with_columns,
)
from transforms.formats.exports.objects import mask_of
from transforms.formats.reviewing.cvat import TaskImage, cvat_files, read_cvat
from transforms.formats.reviewing.shapes import ReviewFileError

DUMP = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>12</id>
      <name>review-1</name>
      <size>2</size>
      <mode>annotation</mode>
      <overlap>0</overlap>
      <bugtracker></bugtracker>
      <created>2026-11-02 08:00:00.000000+00:00</created>
      <updated>2026-11-02 09:30:00.250000+00:00</updated>
      <subset>default</subset>
      <start_frame>0</start_frame>
      <stop_frame>1</stop_frame>
      <frame_filter></frame_filter>
      <segments><segment><id>12</id><start>0</start><stop>1</stop><url>http://cvat/api/jobs/12</url></segment></segments>
      <owner><username>chief</username><email></email></owner>
      <assignee><username>ada</username><email>ada@example.org</email></assignee>
      <labels>
        <label><name>person</name><color>#fa3253</color><type>any</type>
          <attributes><attribute><name>annotation_id</name><mutable>False</mutable><input_type>text</input_type>
            <default_value></default_value><values></values></attribute></attributes></label>
      </labels>
    </task>
    <dumped>2026-11-02 10:00:00.000000+00:00</dumped>
  </meta>
  <image id="0" name="a/00000001-aaaaaaaaaaaaaaaa.jpg" width="80" height="60">
    <tag label="person" source="manual"></tag>
    <box label="person" source="auto" occluded="0" xtl="10.00" ytl="5.00" xbr="30.00" ybr="15.00" z_order="0">
      <attribute name="annotation_id">00000000000000000000000000000001</attribute>
      <attribute name="note">half hidden</attribute>
    </box>
    <polygon label="person" source="manual" occluded="0" points="1.50,2.50;9.50,2.50;9.50,8.50" z_order="0">
      <attribute name="annotation_id"></attribute>
    </polygon>
    <mask label="person" source="manual" occluded="0" rle="1, 2, 3" left="4" top="5" width="3" height="2" z_order="0">
    </mask>
  </image>
  <image id="1" name="a/00000002-bbbbbbbbbbbbbbbb.jpg" width="80" height="60">
  </image>
</annotations>
"""


def test_exports_of_cvat_are_read() -> None:
    first, second = read_cvat(DUMP.encode()).frames
    assert (first.name, first.size, first.reviewer) == ("a/00000001-aaaaaaaaaaaaaaaa.jpg", (80, 60), "ada")
    assert first.reviewed_ns == 1793611800250000000
    box, outline, mask = first.shapes
    assert (box.annotation_id, box.category, box.note) == (f"{1:032x}", "person", "half hidden")
    assert list(box.box) == [10, 5, 20, 10]
    assert (outline.annotation_id, list(outline.box)) == (None, [1.5, 2.5, 8, 6])
    assert outline.rings == (((1.5, 2.5), (9.5, 2.5), (9.5, 8.5)),)
    assert list(mask.box) == [4, 5, 3, 2]
    filled = mask_of({"mask_rle": mask.mask_rle}, 80, 60)
    # Row by row: one background, two foreground, three background.
    assert sorted(map(tuple, np.argwhere(filled).tolist())) == [(5, 5), (5, 6)]
    assert second.shapes == ()
    assert (first.tags, second.tags) == (("person",), ())
    tags = [["rain", {"label": "state", "attributes": {"lens": "wet"}}], [], []]
    tagged = frames().append_column("tags", pa.array(map(json.dumps, tags)))
    files = cvat_files(tagged, objects())
    assert [list(frame.tags or ()) for frame in read_cvat(files["annotations.xml"]).frames] == tags
    declared = {label["name"]: [a["name"] for a in label["attributes"]] for label in json.loads(files["labels.json"])}
    assert (declared["rain"], declared["state"]) == (["annotation_id", "note"], ["annotation_id", "note", "lens"])


def test_written_files_are_read_back() -> None:
    mask = two_parts()
    files = cvat_files(frames(), objects(mask))
    back = read_cvat(files["annotations.xml"]).frames
    assert [f.name for f in back] == ["train/a/f_1.jpg", "train/a/f_2.jpg", "val/b.c/f_7.png"]
    sent = objects(mask)
    for row, frame in enumerate(back):
        assert [s.annotation_id for s in frame.shapes] == [o["annotation_id"] for o in sent.of(row)]
    outline, box = back[0].shapes
    assert list(box.box) == [10, 5, 20, 10]
    # One polygon cannot say two parts.
    assert outline.mask_rle == sent.of(0)[0]["mask_rle"]
    # CVAT drops attributes that no label declares.
    labels = json.loads(files["labels.json"])
    assert [label["name"] for label in labels] == list(CATEGORIES)
    assert [a["name"] for a in labels[0]["attributes"]] == ["annotation_id", "note"]
    declared = ET.fromstring(files["annotations.xml"]).findall("meta/task/labels/label/attributes/attribute/name")
    assert {e.text for e in declared} == {"annotation_id", "note", "winnow_track"}


def test_all_problems_are_reported_at_once() -> None:
    wrong = (
        DUMP.replace('xtl="10.00" ', "")
        .replace("1.50,2.50;9.50,2.50;9.50,8.50", "1,2;3")
        .replace('rle="1, 2, 3"', 'rle="1, 2"')
        .replace('height="60">\n  </image>', 'height="tall">\n  </image>')
    )
    found = read_cvat(wrong.encode())
    for problem, hint in zip(
        found.problems,
        (
            "image 0, box 2 (id 00000000000000000000000000000001): xtl: expected a number, found none",
            "polygon 3: points",
            "mask 4: rle: expected runs",
            "image 1, height: expected a whole number from 1 on, found 'tall'",
        ),
        strict=True,
    ):
        assert hint in problem
    for text, hint in (
        ("<annotations>", "expected XML"),
        ("<annotations><version>1.0</version></annotations>", "version 1.1"),
        ('<annotations><version>1.1</version><track id="0"/></annotations>', "CVAT for video"),
    ):
        with pytest.raises(ReviewFileError, match=hint):
            read_cvat(text.encode())
    assert "expected a number" in read_cvat(DUMP.replace('xtl="10.00"', 'xtl="nan"').encode()).problems[0]


def test_other_kinds_of_shapes_are_named() -> None:
    found = read_cvat(DUMP.replace("polygon", "cuboid").encode())
    assert found.unsupported == ["image 0, cuboid 3: cuboid: expected one of box, polygon, mask"]
    assert ([len(frame.shapes) for frame in found.frames], found.problems) == ([2, 0], [])


def test_turned_boxes_and_attributes_are_read_and_written() -> None:
    text = DUMP.replace('xtl="10.00"', 'xtl="10.00" rotation="450"').replace(
        '<attribute name="note">half hidden</attribute>', '<attribute name="colour">red</attribute>'
    )
    shape = read_cvat(text.replace('occluded="0" xtl', 'occluded="1" xtl').encode()).frames[0].shapes[0]
    assert (shape.rotation, shape.box, shape.attributes) == (90, (10, 5, 20, 10), {"colour": "red", "occluded": True})
    sent = with_columns(objects(), rotation=90.0, attributes=json.dumps({"occluded": True, "colour": "red", "n": 3}))
    files = cvat_files(frames(), sent)
    back = read_cvat(files["annotations.xml"]).frames[0].shapes[0]
    assert (back.rotation, back.attributes) == (90, {"colour": "red", "n": "3", "occluded": True})
    declared = {label["name"]: [a["name"] for a in label["attributes"]] for label in json.loads(files["labels.json"])}
    assert declared["cat"] == ["annotation_id", "note", "colour", "n"]


def test_a_hole_is_a_mask_and_a_polygon_of_a_person_is_a_polygon() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:40, 20:60] = 1
    solid = cvat_files(frames(), objects(mask))["annotations.xml"]
    (ring,) = read_cvat(solid).frames[0].shapes[0].rings
    assert list(ring) == [(20, 10), (60, 10), (60, 40), (20, 40)]
    mask[20:30, 30:40] = 0
    holed = read_cvat(cvat_files(frames(), objects(mask))["annotations.xml"]).frames[0].shapes[0]
    assert holed.mask_rle == rle(mask)
    drawn = with_columns(objects(mask), polygons=[[20.0, 10.25, 60.0, 10.0, 40.5, 40.0]])
    (ring,) = read_cvat(cvat_files(frames(), drawn)["annotations.xml"]).frames[0].shapes[0].rings
    assert list(ring) == [(20, 10.25), (60, 10), (40.5, 40)]


VIDEO = """<annotations><version>1.1</version>
  <meta><job><id>3</id><size>6</size><mode>interpolation</mode><start_frame>0</start_frame><stop_frame>5</stop_frame>
    <owner><username>chief</username></owner><assignee></assignee></job></meta>
  <track id="4" label="person" source="manual">
    <box frame="1" keyframe="1" outside="0" occluded="0" xtl="10" ytl="10" xbr="20" ybr="20" rotation="350"/>
    <box frame="3" keyframe="1" outside="0" occluded="0" xtl="20" ytl="10" xbr="30" ybr="20" rotation="10"/>
    <box frame="4" keyframe="1" outside="1" occluded="0" xtl="20" ytl="10" xbr="30" ybr="20"/>
    <box frame="5" keyframe="1" outside="0" occluded="0" xtl="40" ytl="10" xbr="50" ybr="20"/>
  </track>
  <track id="5" label="person"><points frame="0" keyframe="1" outside="0" points="1,2"/></track>
  <track id="6" label="person"><polygon frame="4" keyframe="1" outside="0" points="1,2;9,2;9,8"/></track>
</annotations>"""


def test_tracks_are_read_with_what_is_between_keyframes() -> None:
    pictures = [TaskImage(name=f"a/{n:08d}-{'a' * 16}.jpg", width=WIDTH, height=HEIGHT) for n in range(6)]
    file = read_cvat(VIDEO.encode(), pictures)
    assert [frame.name for frame in file.frames] == [picture.name for picture in pictures]
    assert {frame.reviewer for frame in file.frames} == {"chief"}
    boxes = [[(s.box[0], s.rotation) for s in frame.shapes if s.track == "4"] for frame in file.frames]
    assert boxes == [[], [(10, 350)], [(15, 0)], [(20, 10)], [], [(40, 0)]]
    assert [len([s for s in frame.shapes if s.track == "6"]) for frame in file.frames] == [0, 0, 0, 0, 1, 1]
    (unsupported,) = file.unsupported
    assert "track 5, points at frame 0" in unsupported
    assert unsupported.endswith("; so it is on 5 more of its frames")
    with pytest.raises(ReviewFileError, match=r"frames\.json"):
        read_cvat(VIDEO.encode())
    with pytest.raises(ReviewFileError, match=r"expected frames 0 to 2, as frames\.json has them, found 0 to 5"):
        read_cvat(VIDEO.encode(), pictures[:3])


@pytest.mark.parametrize(("frame", "outside", "is_refused"), [(6, 0, True), (-1, 0, True), (6, 1, False)])
def test_a_track_on_frames_that_are_not_there_is_refused(frame: int, outside: int, is_refused: bool) -> None:
    moved = VIDEO.replace('<box frame="5" keyframe="1" outside="0"', f'<box frame="{frame}" outside="{outside}"')
    file = read_cvat(moved.encode(), [TaskImage(name=f"{n}.jpg", width=WIDTH, height=HEIGHT) for n in range(6)])
    expected = f"track 4: expected frames 0 to 5, as frames.json has them, found box at {frame}"
    assert file.problems == [expected] * is_refused


@pytest.mark.parametrize("side", ["200000", "9" * 30])
def test_masks_of_absurd_sizes_are_refused_before_anything_is_allocated(side: str) -> None:
    runs = str(int(side) ** 2)
    mask = f'<mask label="red" left="0" top="0" width="{side}" height="{side}" rle="{runs}"/>'
    image = f'<image id="0" name="a" width="{side}" height="{side}">{mask}</image>'
    file = read_cvat(f"<annotations><version>1.1</version>{image}</annotations>".encode())
    (problem,) = file.problems
    assert "fewer than 536870912 pixels" in problem


@pytest.mark.parametrize("encoding", ["x-unknown", "shift_jis", "idna", "zip"])
def test_unknown_encodings_are_reported(encoding: str) -> None:
    with pytest.raises(ReviewFileError, match="expected XML"):
        read_cvat(f'<?xml version="1.0" encoding="{encoding}"?><annotations/>'.encode())
