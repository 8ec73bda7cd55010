"""Out to a tool and back, with 600 objects of all kinds: what was not touched is approved as it is, to the last bit."""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from collections.abc import Collection
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import schemas
from tests.circle_material import (
    HEIGHT,
    KINDS,
    STREAMS,
    WIDTH,
    decided,
    decided_as_new,
    frames,
    known_frames,
    objects,
)
from transforms.formats.datasets.datumaro import read_datumaro
from transforms.formats.exports.datumaro import datumaro_files
from transforms.formats.exports.losses import losses
from transforms.formats.exports.objects import clipped_box, mask_of, outlines_of
from transforms.formats.exports.yolo import yolo_files
from transforms.formats.outlines import filled
from transforms.formats.reviewing.coco import read_review_coco, review_coco_files
from transforms.formats.reviewing.cvat import cvat_files, read_cvat
from transforms.formats.reviewing.labelstudio import labelstudio_files
from transforms.formats.reviewing.labelstudio_read import read_labelstudio
from transforms.formats.reviewing.shapes import ReviewFile

N = len(STREAMS) * 20
COLUMNS = [*schemas.OBJECT_COLUMNS, *schemas.COLUMNS_BY_PEOPLE]


def check_untouched(file: ReviewFile, redrawn: Collection[str] = ()) -> None:
    assert (file.problems, file.unsupported) == ([], [])
    known = known_frames(objects())
    found = decided(file.frames, known)
    assert sorted(found) == sorted(STREAMS)
    for stream, each in found.items():
        assert each.problems == []
        assert each.is_changed == bool(redrawn), stream
        assert {d["annotation_id"] for d in each.decisions} == set(known[stream].standing)
        same = [d for d in each.decisions if d["annotation_id"] not in redrawn]
        assert {d["decision"] for d in same} == {"approve"}
        for decision in same:
            before = known[stream].standing[decision["annotation_id"]]
            assert [decision.get(c) for c in COLUMNS] == [before.get(c) for c in COLUMNS]
        # What Ada drew stays hers.
        hers = {d["annotation_id"] for d in each.decisions if d.get("author") == "ada"}
        assert hers == set(known[stream].said) - set(redrawn)


def as_annotated(tasks: list[dict[str, Any]]) -> bytes:
    """Return tasks of which somebody has submitted every prediction as it was."""
    return json.dumps(
        [
            {"id": at, "data": task["data"], "annotations": [{"id": at, "result": task["predictions"][0]["result"]}]}
            for at, task in enumerate(tasks, 1)
        ]
    ).encode()


def test_the_round_trip_sample_has_every_kind_of_object() -> None:
    assert N == 600
    assert len(KINDS) * 60 == N


def test_objects_survive_a_round_trip_through_cvat() -> None:
    files = cvat_files(frames(), objects())
    assert files == cvat_files(frames(), objects())
    check_untouched(read_cvat(files["annotations.xml"]))


def test_objects_survive_a_round_trip_through_label_studio() -> None:
    files = labelstudio_files(frames(), objects(), "/data/local-files/?d=")
    assert files == labelstudio_files(frames(), objects(), "/data/local-files/?d=")
    check_untouched(read_labelstudio(as_annotated(json.loads(files["tasks.json"]))))


def sent_coco() -> tuple[dict[str, Any], dict[str, str]]:
    files = review_coco_files(frames().drop_columns(["split"]), objects())
    return json.loads(files["annotations.json"]), json.loads(files["ids.json"])


def test_objects_survive_a_round_trip_through_coco() -> None:
    document, ids = sent_coco()
    check_untouched(read_review_coco(json.dumps(document).encode(), ids))


@pytest.mark.parametrize(
    "drops", [("winnow_id", "attributes"), ("winnow_id", "attributes", "track_id", "text", "score")]
)
def test_objects_survive_a_tool_that_renumbers_and_drops_unknown_fields(drops: tuple[str, ...]) -> None:
    document, ids = sent_coco()
    turned = [each["id"] for each in document["annotations"] if each["attributes"].get("rotation")]
    random.Random(5).shuffle(document["annotations"])
    for number, each in enumerate(document["annotations"], 1):
        rotation = each["attributes"].get("rotation")
        each["id"] = number
        for name in drops:
            each.pop(name, None)
        # Without its rotation a box is another one, which a person would have to turn back.
        if rotation:
            each["attributes"] = {"rotation": rotation}
    assert len(turned) == 60
    for numbers in (ids, {}):
        check_untouched(read_review_coco(json.dumps(document).encode(), numbers))


def test_a_moved_box_keeps_its_track_when_tools_renumber_it() -> None:
    document, ids = sent_coco()
    document["annotations"].reverse()
    for number, each in enumerate(document["annotations"], 1):
        each["id"] = number
        del each["winnow_id"], each["attributes"]["winnow_id"]
        if "track_id" in each:
            del each["track_id"], each["attributes"]["track_id"]
            each["bbox"][0] += 4
    known = known_frames(objects())
    found = decided(read_review_coco(json.dumps(document).encode(), ids).frames, known)
    moved = {d["annotation_id"]: d for each in found.values() for d in each.decisions if d["decision"] == "correct"}
    tracked = {n: o for about in known.values() for n, o in about.standing.items() if o["track_id"] is not None}
    assert sorted(moved) == sorted(tracked)
    for name, each in tracked.items():
        assert moved[name]["track_id"] == each["track_id"]
        assert moved[name]["bbox_x"] == pytest.approx(each["bbox_x"] + 4, abs=0.01)


# Reads and writes COCO with Datumaro, which renumbers annotations and knows no field of ours.
DATUMARO_COCO = """
import sys
from datumaro import Dataset
dataset = Dataset.import_from(sys.argv[1], "coco")
for mode in ("mask", "polygons"):
    dataset.export(f"{sys.argv[2]}/{mode}", "coco_instances", save_media=False, reindex=True, segmentation_mode=mode)
"""


# Reads and writes the XML of CVAT with Datumaro.
DATUMARO_CVAT = """
import sys
from datumaro import Dataset
Dataset.import_from(sys.argv[1], "cvat").export(sys.argv[2], "cvat", save_media=False)
"""


@pytest.mark.process
def test_objects_survive_a_round_trip_through_cvat_in_datumaro(tmp_path: Path, datumaro: Path) -> None:
    black = cv2.imencode(".jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    for name in frames()["file_name"].to_pylist():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(black)
    (tmp_path / "in/annotations.xml").write_bytes(cvat_files(frames(), objects())["annotations.xml"])
    subprocess.run([datumaro, "-W", "ignore", "-c", DATUMARO_CVAT, tmp_path / "in", tmp_path / "out"], check=True)
    check_untouched(read_cvat((tmp_path / "out/annotations.xml").read_bytes()))


@pytest.mark.process
def test_objects_survive_a_round_trip_through_coco_in_datumaro(tmp_path: Path, datumaro: Path) -> None:
    document, ids = sent_coco()
    for folder in ("images", "annotations"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    (tmp_path / "in/annotations/instances_default.json").write_text(json.dumps(document))
    subprocess.run([datumaro, "-W", "ignore", "-c", DATUMARO_COCO, tmp_path / "in", tmp_path / "out"], check=True)
    drawn = {
        a["winnow_id"] for a in document["annotations"] if isinstance(a["segmentation"], list) and a["segmentation"]
    }
    masked = {a["winnow_id"] for a in document["annotations"] if isinstance(a["segmentation"], dict)}
    assert (len(drawn), len(masked)) == (120, 240)
    for mode, redrawn in (("mask", drawn), ("polygons", masked)):
        data = (tmp_path / f"out/{mode}/annotations/instances_default.json").read_bytes()
        back = json.loads(data)
        assert len(back["annotations"]) == N
        renumbered = {a["attributes"]["winnow_id"]: a["id"] for a in back["annotations"]}
        assert renumbered != {a["winnow_id"]: a["id"] for a in document["annotations"]}
        # What Datumaro makes a mask or polygons of is another area, but the same object.
        check_untouched(read_review_coco(data, ids), redrawn)


# Reads and writes COCO with Datumaro, which keeps the numbers of images and annotations where it is asked to.
DATUMARO_SAME_IDS = """
import sys
from datumaro import Dataset
dataset = Dataset.import_from(sys.argv[1], "coco")
dataset.export(sys.argv[2], "coco_instances", save_media=False, reindex=False, segmentation_mode="mask")
"""


@pytest.mark.process
def test_ids_of_16_digits_survive_a_round_trip_through_coco_in_datumaro(tmp_path: Path, datumaro: Path) -> None:
    document, _ = sent_coco()
    for folder in ("images", "annotations"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    (tmp_path / "in/annotations/instances_default.json").write_text(json.dumps(document))
    subprocess.run([datumaro, "-W", "ignore", "-c", DATUMARO_SAME_IDS, tmp_path / "in", tmp_path / "out"], check=True)
    back = json.loads((tmp_path / "out/annotations/instances_default.json").read_bytes())
    digits = Counter(len(str(each["id"])) for name in ("images", "annotations") for each in document[name])
    assert digits[16] > 500
    assert max(digits) == 16
    for name in ("images", "annotations"):
        assert sorted(each["id"] for each in back[name]) == sorted(each["id"] for each in document[name])
    # Datumaro has no backslashes in names.
    images = {each["id"]: each["file_name"].replace("\\", "/") for each in document["images"]}
    assert {each["id"]: each["file_name"] for each in back["images"]} == images
    sent = {each["id"]: (each["image_id"], each["winnow_id"]) for each in document["annotations"]}
    kept = {each["id"]: (each["image_id"], each["attributes"]["winnow_id"]) for each in back["annotations"]}
    assert kept == sent
    drawn = {
        a["winnow_id"] for a in document["annotations"] if isinstance(a["segmentation"], list) and a["segmentation"]
    }
    check_untouched(read_review_coco(json.dumps(back).encode()), drawn)


# Reads and writes Datumaro's own format with Datumaro.
DATUMARO_OWN = """
import sys
from datumaro import Dataset
Dataset.import_from(sys.argv[1], "datumaro").export(sys.argv[2], "datumaro", save_media=False)
"""


@pytest.mark.process
def test_objects_survive_a_round_trip_through_datumaros_own_format(tmp_path: Path, datumaro: Path) -> None:
    there = objects()
    (tmp_path / "in/annotations").mkdir(parents=True)
    for name, data in datumaro_files(frames(), ["train"], there).items():
        (tmp_path / "in" / name).write_bytes(data)
    subprocess.run([datumaro, "-W", "ignore", "-c", DATUMARO_OWN, tmp_path / "in", tmp_path / "out"], check=True)
    sent = read_datumaro((tmp_path / "in/annotations/train.json").read_bytes())
    file = read_datumaro((tmp_path / "out/annotations/train.json").read_bytes())
    assert (file.problems, file.unsupported, len(file.frames)) == ([], [], len(STREAMS))
    # Datumaro has no backslashes in names.
    names = [(frame.other_name or frame.name).replace("\\", "/") for frame in sent.frames]
    by_name = {frame.other_name or frame.name: frame for frame in file.frames}
    assert sorted(by_name) == sorted(names)
    n = 0
    before = decided_as_new(sent.frames)
    for was, found in zip(before, decided_as_new([by_name[name] for name in names]), strict=True):
        assert found.problems == []
        for one, other in zip(was.decisions, found.decisions, strict=True):
            n += 1
            for column in set(COLUMNS) - {"annotation_id"}:
                # Datumaro has numbers of 32 bits.
                if column.startswith("bbox"):
                    assert other[column] == pytest.approx(one[column], abs=1e-4)
                elif column == "polygons" and one[column]:
                    assert list(chain(*other[column])) == pytest.approx(list(chain(*one[column])), abs=0.011)
                else:
                    assert other.get(column) == one.get(column), column
    assert n == N


def test_a_new_label_changes_nothing_else() -> None:
    known = known_frames(objects())
    files = cvat_files(frames(), objects())["annotations.xml"].replace(b'label="person"', b'label="wild dog"')
    compared = ("bbox_x", "bbox_y", "bbox_w", "bbox_h", "mask_rle", "polygons", "rotation", "is_crowd", "track_id")
    n = Counter[str]()
    for stream, each in decided(read_cvat(files).frames, known).items():
        for decision in each.decisions:
            before = known[stream].standing[decision["annotation_id"]]
            n[decision["decision"]] += 1
            assert [decision.get(c) for c in compared] == [before.get(c) for c in compared]
            assert (decision["decision"] == "approve") == (before["category"] != "person")
    assert (n["approve"], n.total()) == (N - N // 4, N)


PLAIN = {"tracks": 60, "texts": 60, "attributes": 60}


def test_what_label_studio_cannot_hold_is_counted() -> None:
    assert losses("labelstudio", frames(), objects())["simplified"] == {**PLAIN, "crowds": 60}
    assert losses("cvat", frames(), objects())["simplified"] == losses("coco", frames(), objects())["simplified"] == {}


@pytest.mark.parametrize("task", ["detect", "segment", "obb"])
def test_yolo_has_what_its_manifest_counts(task: Any) -> None:
    there = objects()
    files = yolo_files(task)(frames(), ["train"], there)
    name = "yolo" if task == "detect" else f"yolo-{task}"
    counted = losses(name, frames(), there)
    lines = {file: data.decode().splitlines() for file, data in files.items() if file.endswith(".txt")}
    assert sum(map(len, lines.values())) == counted["objects"] == N - 60
    assert counted["left_out"] == {"crowds": 60}
    assert (
        counted["simplified"]
        == {
            "detect": {"masks": 300, "turned": 60, **PLAIN},
            "segment": {"holes": 60, "joined": 120, **PLAIN},
            "obb": {"masks": 300, "cut": 95, **PLAIN},
        }[task]
    )
    for row, (found, frame) in enumerate(zip(lines.values(), frames().to_pylist(), strict=True)):
        held = [each for each in there.of(row) if not each["is_crowd"]]
        for line, each in zip(found, held, strict=True):
            label, *numbers = map(float, line.split())
            assert label == each["label"]
            values = np.array(numbers).reshape(-1, 2)
            if task == "detect":
                low, high = values[0] - values[1] / 2, values[0] + values[1] / 2
                box = np.concatenate([low, high])
                assert box.min() >= 0
                assert box.max() <= 1
                scaled = box * [WIDTH, HEIGHT, WIDTH, HEIGHT]
                np.testing.assert_allclose(scaled, clipped_box(each, WIDTH, HEIGHT), atol=WIDTH * 1e-6)
            elif task == "segment" and each["mask_rle"]:
                outlines = outlines_of(each, frame["width"], frame["height"])
                area = mask_of(each, WIDTH, HEIGHT)
                if len(outlines.parts) > 1 or outlines.holes:
                    # Of polygons that overlap, too, one polygon has all that they cover; holes are filled.
                    drawn = filled([values * [WIDTH, HEIGHT]], WIDTH, HEIGHT)
                    assert (area <= drawn).all()
                    assert bool(outlines.holes) == (area < drawn).any()
                else:
                    np.testing.assert_allclose(values * [WIDTH, HEIGHT], outlines.joined, atol=WIDTH * 1e-6)
            elif each["rotation"]:
                centre = [each["bbox_x"] + each["bbox_w"] / 2, each["bbox_y"] + each["bbox_h"] / 2]
                np.testing.assert_allclose((values * [WIDTH, HEIGHT]).mean(axis=0), centre, atol=WIDTH * 1e-6)
