from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tests.transforms.formats.exports.material import CATEGORIES, HEIGHT, WIDTH, frames, objects, two_parts
from transforms.formats.exports.objects import mask_of
from transforms.formats.reviewing.cvat import cvat_files, read_cvat
from transforms.formats.reviewing.shapes import ReviewFileError, rings_of, same_rings

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
    first, second = read_cvat(DUMP.encode())
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


def test_written_files_are_read_back() -> None:
    mask = two_parts()
    files = cvat_files(frames(), objects(mask))
    back = read_cvat(files["annotations.xml"])
    assert [f.name for f in back] == ["train/a/f_1.jpg", "train/a/f_2.jpg", "val/b.c/f_7.png"]
    sent = objects(mask)
    for row, frame in enumerate(back):
        assert [s.annotation_id for s in frame.shapes] == [o["annotation_id"] for o in sent.of(row)]
    outline, box = back[0].shapes
    assert list(box.box) == [10, 5, 20, 10]
    assert same_rings(outline.rings, rings_of(sent.of(0)[0], WIDTH, HEIGHT))
    # CVAT drops attributes that no label declares.
    labels = json.loads(files["labels.json"])
    assert [label["name"] for label in labels] == list(CATEGORIES)
    assert [a["name"] for a in labels[0]["attributes"]] == ["annotation_id", "note"]
    declared = ET.fromstring(files["annotations.xml"]).findall("meta/task/labels/label/attributes/attribute/name")
    assert {e.text for e in declared} == {"annotation_id", "note"}


def test_all_problems_are_reported_at_once() -> None:
    wrong = (
        DUMP.replace('xtl="10.00" ', "")
        .replace("1.50,2.50;9.50,2.50;9.50,8.50", "1,2;3")
        .replace('rle="1, 2, 3"', 'rle="1, 2"')
        .replace('height="60">\n  </image>', 'height="tall">\n  </image>')
    )
    with pytest.raises(ReviewFileError) as caught:
        read_cvat(wrong.encode())
    for problem, hint in zip(
        caught.value.problems,
        (
            "box 2: 'xtl' is missing",
            "polygon 3: points",
            "mask 4: rle: expected runs",
            "image 1: expected name",
        ),
        strict=True,
    ):
        assert hint in problem
    for text, hint in (
        ("<annotations>", "expected XML"),
        ("<annotations><version>1.0</version></annotations>", "version 1.1"),
        ('<annotations><version>1.1</version><track id="0"/></annotations>', "CVAT for video"),
        (DUMP.replace('xtl="10.00"', 'xtl="nan"'), "expected a number"),
        (DUMP.replace('xtl="10.00"', 'xtl="10.00" rotation="30"'), "a rotated one"),
        (DUMP.replace("polygon", "cuboid"), "found cuboid"),
    ):
        with pytest.raises(ReviewFileError, match=hint):
            read_cvat(text.encode())
