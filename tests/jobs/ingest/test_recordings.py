from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

pytest.importorskip("mcap", reason="recordings need the extra `recordings`")
pytest.importorskip("rosbags", reason="recordings need the extra `recordings`")

import schemas
from jobs.core.errors import UserError
from jobs.datasets.export import ExportRequest, export
from jobs.ingest.catalogue import IngestOverrides, catalogue, record
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests import recording_material as material
from tests.helpers import go, rows
from tests.recording_material import BEGIN_NS, ROS2, STEP_NS
from transforms.frames.numbering import IngestParams

FRONT, REAR = "/front/image/compressed", "/rear/image/compressed"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(place(tmp_path / "tables"))
    made.create_tables()
    return made


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    messages = [
        *material.of_camera(ROS2, material.scenes(10), FRONT),
        *material.of_camera(ROS2, material.scenes(4, seed=1), REAR),
    ]
    return material.write_ros2_mcap(tmp_path / "drive.mcap", messages)


def listed(path: Path, store: Store, *, ids: tuple[str, ...] = (), **params: Any) -> dict[str, Any]:
    overrides = IngestOverrides(stream_ids=ids)
    return {s.stream_id: s for s in catalogue([str(path)], IngestParams(**params), overrides, store)}


def test_each_topic_with_images_is_a_stream_with_its_times(drive: Path, store: Store) -> None:
    streams = listed(drive, store)
    assert {name: stream.n_frames for name, stream in streams.items()} == {
        "drive/front/image/compressed": 10,
        "drive/rear/image/compressed": 4,
    }
    front = streams["drive/front/image/compressed"]
    rows = pl.DataFrame(front.listing())
    assert rows["frame_idx"].to_list() == list(range(10))
    assert rows["t_ns"].to_list() == [BEGIN_NS + n * STEP_NS for n in range(10)]
    assert set(rows["time_source"]) == {"recording"}
    assert rows["uri"].str.starts_with(f"{drive}#topic=%2Ffront%2Fimage%2Fcompressed&at=").all()
    assert front.row["kind"] == "recording"
    assert front.row["frame_id"] == "front"
    assert '"K": [500.0, 0.0, 64.0' in front.row["camera_info"]
    assert streams["drive/rear/image/compressed"].row["camera_info"] is None


def test_topics_and_times_are_chosen(drive: Path, store: Store) -> None:
    assert list(listed(drive, store, topics="/rear/*,/nowhere")) == ["drive/rear/image/compressed"]
    assert list(listed(drive, store, ids=("car",), topics="/front/*")) == ["car/front/image/compressed"]
    sampled = listed(drive, store, fps=5.0)["drive/front/image/compressed"]
    assert sampled.frame_idx.tolist() == [0, 2, 4, 6, 8]
    strided = listed(drive, store, stride=3)["drive/front/image/compressed"]
    assert strided.frame_idx.tolist() == [0, 3, 6, 9]


def test_a_recording_that_has_not_changed_is_not_read_again(
    drive: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    old = BEGIN_NS
    os.utime(drive, ns=(old, old))
    first = listed(drive, store)
    record(list(first.values()), store, "job")
    monkeypatch.setattr("jobs.ingest.recordings.is_racy", lambda *_: False)
    again = catalogue([str(drive)], IngestParams(), IngestOverrides(), store)
    record(again, store, "job")
    monkeypatch.setattr("transforms.io.recordings.recorded_frame.open_recording", None)
    third = catalogue([str(drive)], IngestParams(), IngestOverrides(), store)
    assert [s.listing().to_pylist() for s in third] == [s.listing().to_pylist() for s in first.values()]


@pytest.mark.parametrize(
    ("name", "messages", "params", "expected"),
    [
        ("a.mcap", [("/talk", material.IMU, BEGIN_NS, "word")], {}, r"topics that hold images, found /talk \(std_msgs"),
        ("a.mcap", "camera", {"topics": "/left/*"}, r"match ingest.topics='/left/\*', found /front/image/compressed"),
    ],
)
def test_what_holds_no_stream_is_refused_before_any_work(
    tmp_path: Path, store: Store, name: str, messages: Any, params: dict[str, Any], expected: str
) -> None:
    if messages == "camera":
        messages = material.of_camera(ROS2, material.scenes(2))
    else:
        messages = [(topic, kind, at, ROS2.types[kind](data=text)) for topic, kind, at, text in messages]
    path = material.write_ros2_mcap(tmp_path / name, messages)
    with pytest.raises(UserError, match=expected):
        listed(path, store, **params)
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "image_0.png"), np.zeros((8, 8), np.uint8))
    streams = listed(tmp_path, store, unreadable="skip", **params)
    assert sum(stream.n_frames for stream in streams.values()) == 1


def test_keyframes_of_video_are_refused(tmp_path: Path, store: Store) -> None:
    packets = material.video(material.scenes(6))
    fields = [{"data": p, "frame_id": "front", "format": "h264"} for p in packets]
    path = material.write_foxglove(tmp_path / "v.mcap", "CompressedVideo", fields)
    with pytest.raises(UserError, match="keyframes does not fit /cam, which holds video"):
        listed(path, store, fps="keyframes")
    assert listed(path, store)["v/cam"].n_frames == 6


def test_a_topic_that_is_missing_loses_its_frames_only_when_allowed(drive: Path, store: Store) -> None:
    record(list(listed(drive, store).values()), store, "job")
    material.write_ros2_mcap(drive, material.of_camera(ROS2, material.scenes(10), FRONT))
    with pytest.raises(UserError, match="'drive/rear/image/compressed' has lost 4 of its 4 frames"):
        listed(drive, store)
    kept = catalogue([str(drive)], IngestParams(), IngestOverrides(allow_missing=True), store)
    assert {s.stream_id: s.n_frames for s in kept} == {
        "drive/front/image/compressed": 10,
        "drive/rear/image/compressed": 0,
    }


def test_a_folder_with_recordings_frames_and_clips_is_taken_as_a_whole(drive: Path, store: Store) -> None:
    material.write_ros2_bag(drive.parent / "night", material.of_camera(ROS2, material.scenes(3), FRONT))
    streams = listed(drive.parent, store)
    assert {name: s.n_frames for name, s in streams.items()} == {
        "drive/front/image/compressed": 10,
        "drive/rear/image/compressed": 4,
        "night/night/front/image/compressed": 3,
    }


@pytest.mark.process
def test_frames_of_recordings_equal_those_of_their_files_through_a_run_and_an_export(
    tmp_path: Path, workspace: Workspace
) -> None:
    images = material.scenes(8)
    material.write_ros1_bag(tmp_path / "drive.bag", material.of_camera(material.ROS1, images))
    folder = tmp_path / "cam"
    folder.mkdir()
    for number, image in enumerate(images):
        (folder / f"image_{number}.jpg").write_bytes(material.jpeg(image))
    both = (tmp_path / "drive.bag", folder)
    done = go(workspace, *both, settings=["stages=[frames,quality,fingerprints,motion]"])
    assert done.outcomes["frames"].computed == 16
    for table, columns in ((schemas.FRAMES, ["content_hash", "width", "height", "status"]), (schemas.QUALITY, [])):
        found = rows(workspace, table)
        measured = columns or [c for c in found.columns if c not in {"stream_id", "frame_idx", "stage_key", "input_id"}]
        of_files = found.filter(stream_id="cam").select(measured)
        assert found.filter(pl.col("stream_id") != "cam").select(measured).equals(of_files)
    assert go(workspace, *both).outcomes["frames"].computed == 0

    manifest = export(workspace, ExportRequest("coco", place(tmp_path / "one"), everything=True))
    listed_images = json.loads((tmp_path / "one/annotations/instances_default.json").read_text())["images"]
    written = {image["file_name"] for image in listed_images if "drive" in image["file_name"]}
    assert len(written) == 8
    first = next(name for name in written if name.endswith("frame_00000000.jpg"))
    assert (tmp_path / "one" / first).read_bytes() == material.jpeg(images[0])
    assert (
        export(workspace, ExportRequest("coco", place(tmp_path / "two"), everything=True))["files"] == manifest["files"]
    )
    with pytest.raises(UserError, match="frames of clips and recordings are no files that can be linked to"):
        export(workspace, ExportRequest("coco", place(tmp_path / "three"), everything=True, media="link"))
