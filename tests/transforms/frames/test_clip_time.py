from __future__ import annotations

import datetime as dt
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers import noise, write_clip
from transforms.frames.clip_index import ClipIndex
from transforms.frames.clip_time import ClipTime, clip_time


def ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000


def dated(path: Path, **metadata: str) -> str:
    """Write a clip of three frames whose container has these metadata."""
    plain = write_clip(path.with_name("plain.mp4"), [noise(n, 48, 64) for n in range(3)])
    with av.open(str(plain)) as source, av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as out:
        out.metadata.update(metadata)
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    return str(path)


def test_the_container_says_when_a_clip_begins(tmp_path: Path) -> None:
    for suffix in ("mp4", "mkv"):
        path = dated(tmp_path / f"GX01.{suffix}", creation_time="2024-01-15T10:30:40.250000Z")
        assert clip_time(path) == ClipTime(ns("2024-01-15T10:30:40.250+00:00"), "container")


def test_a_date_with_an_offset_is_taken_before_one_without(tmp_path: Path) -> None:
    given = {"creation_time": "2024-01-15T09:00:00Z", "com.apple.quicktime.creationdate": "2024-01-15T10:30:40+0100"}
    assert clip_time(dated(tmp_path / "IMG_1.mov", **given)) == ClipTime(ns("2024-01-15T09:30:40+00:00"), "container")


def test_the_name_says_it_where_the_container_has_no_time_that_can_be_right(tmp_path: Path) -> None:
    taken = ClipTime(ns("2024-01-15T10:30:40+00:00"), "name")
    for name in (
        "cam_20240115_103040.mp4",
        "2024-01-15 10-30-40.mp4",
        "VID20240115103040.mp4",
        "2024.01.15_10.30.40.mp4",
    ):
        assert clip_time(dated(tmp_path / name, creation_time="1970-01-01T00:00:00Z")) == taken, name
    assert clip_time(dated(tmp_path / "DJI_20240115103040125_0001.mp4")) == ClipTime(
        taken.begin_ns + 125_000_000, "name"
    )


@pytest.mark.parametrize(
    "name",
    [
        "gate.mp4",
        "cam_00001234.mp4",
        "20241315_103040.mp4",
        "20240115_103040-20240115_104040.mp4",
        "20240230_103040.mp4",
    ],
)
def test_no_time_is_made_up(tmp_path: Path, name: str) -> None:
    assert clip_time(dated(tmp_path / name)) is None


def test_times_of_frames_are_exact() -> None:
    index = ClipIndex(
        np.array([900, 3900, 6904], np.int64), np.zeros(3, np.int64), np.zeros(3, np.int64), Fraction(1, 30_000)
    )
    assert index.since_first_ns(np.array([0, 1, 2])).tolist() == [0, 100_000_000, 200_133_333]
    # Of a recording of a month in nanoseconds, too.
    far = ClipIndex(
        np.array([0, 2_600_000_123_456_789]), np.zeros(2, np.int64), np.zeros(2, np.int64), Fraction(1, 10**9)
    )
    assert far.since_first_ns(np.array([1])).tolist() == [2_600_000_123_456_789]
