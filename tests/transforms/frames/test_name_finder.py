from __future__ import annotations

import datetime as dt
import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.frames.name_finder import UnclearNamesError, find_pattern
from transforms.frames.name_pattern import LAST_NUMBER
from transforms.frames.numbering import divide_files, gaps, usual_step

LAST = LAST_NUMBER.text
ENTRY = 20240115103047
T0 = 1705314647
"""2024-01-15 10:30:47 UTC."""


# Names in the order in which their recorder wrote them, the pattern, and the number of the first frame.
RECORDERS = [
    pytest.param([f"image_{n}.jpg" for n in range(12)], LAST, 0, id="numbers"),
    pytest.param([f"{n:010d}.png" for n in range(12)], LAST, 0, id="KITTI"),
    pytest.param([f"a{s}_0{n}.jpg" for n, s in enumerate(["x", "yy", "z", "w"])], LAST, 0, id="words before numbers"),
    pytest.param([f"G001{n:04d}.JPG" for n in range(1, 4)] + ["G0020001.JPG"], LAST, 10001, id="GoPro time lapse"),
    pytest.param(
        ["1305031102.175304.png", "1305031102.211214.png", "1305031103.043227.png"],
        "{time:%s.%f}",
        1305031102175304,
        id="TUM RGB-D",
    ),
    pytest.param(
        ["cam_2024-01-15_10-30-47.jpg", "cam_2024-01-15_10-31-02.jpg", "cam_2024-01-16_00-00-00.jpg"],
        "cam_{time:%Y-%m-%d_%H-%M-%S}",
        T0,
        id="date and time",
    ),
    pytest.param(
        [f"192.168.1.64_01_{t}_MOTION_DETECTION.jpg" for t in ("20240115103047123", "20240115103100004")],
        "192.168.1.64_01_{time:%Y%m%d%H%M%S%3f}_MOTION_DETECTION",
        T0 * 1000 + 123,
        id="Hikvision",
    ),
    pytest.param(
        [
            f"192.168.1.64_01_{t}.jpg"
            for t in ("20240115103047123_MOTION", "20240115103100004_LINE", "20240115103200001_MOTION")
        ],
        "192.168.1.64_01_{time:%Y%m%d%H%M%S%3f}_{any}",
        T0 * 1000 + 123,
        id="Hikvision with two kinds of events",
    ),
    pytest.param(
        ["cam1.20240115_103047.jpg", "cam1.20240115_105959.jpg", "cam1.20240115_110000.jpg"],
        "cam1.{time:%Y%m%d_%H%M%S}",
        T0,
        id="Blue Iris",
    ),
    pytest.param(
        ["01-20240115103047-00.jpg", "01-20240115103047-01.jpg", "02-20240115103048-00.jpg"],
        "{any}-{time:%Y%m%d%H%M%S}-{index:2}",
        T0 * 100,
        id="Motion",
    ),
    pytest.param(
        ["DJI_20240115103047_0000_V.JPG", "DJI_20240115103050_0001_V.JPG"],
        "DJI_{time:%Y%m%d%H%M%S}_{index:4}_V",
        T0 * 10000,
        id="DJI",
    ),
    pytest.param(
        ["DSC_9997.JPG", "DSC_9998.JPG", "DSC_9999.JPG", "DSC_0001.JPG", "DSC_0002.JPG"],
        "DSC_{index:9997..9999}",
        9997,
        id="a camera that rolls over",
    ),
    pytest.param(
        [
            "front_door-1705314647.123456-abc120.jpg",
            "front_door-1705314647.5-x9zk01.jpg",
            "front_door-1705314650.25-1.jpg",
        ],
        "front_door-{time:%s.%f}-{any}",
        T0 * 10**6 + 123456,
        id="Frigate",
    ),
    pytest.param(
        [f"aachen_{n:06d}_000019_leftImg8bit.png" for n in range(4)],
        "{any}_{sequence:6}_{index:6}_{any}",
        19,
        id="Cityscapes",
    ),
    pytest.param(
        ["0000001_02999_d_0000005.jpg", "0000001_03499_d_0000006.jpg", "0000002_00005_d_0000014.jpg"],
        "{sequence:7}_{index:5}_d_{any}",
        102999,
        id="VisDrone",
    ),
    pytest.param(
        [f"frame_{n}_jpg.rf.{h}.jpg" for n, h in enumerate(["ab12", "9f0c", "1234", "a1b", "ff", "0a0"])],
        "{any}{index}_jpg.rf.{any}",
        0,
        id="Roboflow",
    ),
    pytest.param(
        ["image24-01-15_10-30-47-53.jpg", "image24-01-16_10-30-47-03.jpg", "image24-01-17_10-30-47-03.jpg"],
        "image{time:%y-%m-%d_%H-%M-%S}-{index:2}",
        T0 * 100 + 53,
        id="Axis",
    ),
    pytest.param(
        ["Camera1_00_20240115103047.jpg", "Camera1_00_20240115103148.jpg"],
        "Camera1_00_{time:%Y%m%d%H%M%S}",
        T0,
        id="Reolink",
    ),
    pytest.param(["20240115_10_30_47.jpg", "20240115_10_31_47.jpg"], "{time:%Y%m%d_%H_%M_%S}", T0, id="Wyze"),
    pytest.param(
        ["PXL_20240115_103047123.jpg", "PXL_20240115_103051002.jpg"],
        "PXL_{time:%Y%m%d_%H%M%S%3f}",
        T0 * 1000 + 123,
        id="Pixel",
    ),
    pytest.param(
        [f"n015-2018-07-18-11-07-57+0800__CAM_FRONT__{t}.jpg" for t in (1531883530412470, 1531883530912460)],
        "n015-2018-07-18-11-07-57+0800__CAM_FRONT__{time:us}",
        1531883530412470,
        id="nuScenes",
    ),
    pytest.param(
        [
            "n015-2018-07-18-11-07-57+0800__CAM_FRONT__1531883530412470.jpg",
            "n008-2018-08-01-15-16-36-0400__CAM_FRONT__1533151603512404.jpg",
            "n008-2018-08-01-15-16-36-0400__CAM_FRONT__1533151604012404.jpg",
        ],
        "n{any}__CAM_FRONT__{time:us}",
        1531883530412470,
        id="nuScenes, two logs",
    ),
    pytest.param(["1403636579763555584.png", "1403636579813555456.png"], "{time:ns}", 1403636579763555584, id="EuRoC"),
    pytest.param(["1550083467346370.png", "1550083467446370.png"], "{time:us}", 1550083467346370, id="Waymo"),
    pytest.param(
        ["1403636579_763555584.png", "1403636580_013555456.png"], "{time:%s_%9f}", 1403636579763555584, id="ROS"
    ),
    pytest.param(
        [f"rec_20240115_103047_frame{n:04d}.jpg" for n in range(20)],
        "rec_{sequence:%Y%m%d_%H%M%S}_frame{index:4}",
        T0 * 10000,
        id="start of the recording, and number",
    ),
    pytest.param(
        [f"{s:06d}_{n}.png" for s in range(3) for n in (10, 11)], "{sequence:6}_{index:2}", 10, id="KITTI scene flow"
    ),
    pytest.param(
        [f"{day}_{n:04d}.jpg" for day in (20240115, 20240116) for n in range(3)],
        "{sequence:8}_{index:4}",
        202401150000,
        id="day and number",
    ),
    pytest.param([f"frame_{n}_0.{90 - n}.jpg" for n in range(9)], "frame_{index}_0.{any}", 0, id="score after number"),
    pytest.param(
        ["10.30.47[R][0@0][0].jpg", "10.31.02[R][0@0][0].jpg"], "{time:%H.%M.%S}[R][0@0][0]", 37847, id="Dahua"
    ),
]


def shuffled(names: list[str]) -> list[str]:
    return random.Random(3).sample(names, len(names))


@pytest.mark.parametrize(("names", "pattern", "first"), RECORDERS)
def test_names_are_read_as_their_recorder_meant_them(names: list[str], pattern: str, first: int) -> None:
    mixed = shuffled(names)
    found = find_pattern(pa.array(mixed))
    assert found is not None
    assert found.text == pattern
    (files,) = divide_files(pa.array(mixed), "*", found).values()
    assert [mixed[at] for at in files.chosen] == names
    assert files.frame_idx[0] == first
    assert (files.n_ignored, files.repeated) == (0, {})


@pytest.mark.parametrize(("names", "pattern", "first"), RECORDERS)
def test_files_that_arrive_later_shift_no_number(names: list[str], pattern: str, first: int) -> None:
    found = find_pattern(pa.array(names))
    assert found is not None
    for n in range(1, len(names)):
        (some,) = divide_files(pa.array(names[:n]), "*", found).values()
        (more,) = divide_files(pa.array(names), "*", found).values()
        known = dict(zip(more.chosen.tolist(), more.frame_idx.tolist(), strict=True))
        assert [known[at] for at in some.chosen.tolist()] == some.frame_idx.tolist()


@pytest.mark.parametrize(
    ("names", "streams"),
    [
        ([f"{s}_{n}.jpg" for s in ("left", "right") for n in range(5)], {"left": 5, "right": 5}),
        ([f"{s}_{1000 + 33 * n}.jpg" for n in range(5) for s in ("left", "right")][:9], {"left": 5, "right": 4}),
        ([f"{n:04d}_{s}.png" for n in range(3) for s in ("rgb", "depth")], {"depth": 3, "rgb": 3}),
        ([f"cam{c}_{n:04d}.png" for n in range(3) for c in (1, 2)], {"cam1": 3, "cam2": 3}),
        (
            [f"DJI_2024011510304{n}_000{n}_{lens}.JPG" for n in range(3) for lens in "VT"],
            {"T": 3, "V": 3},
        ),
        (
            [f"{c}-170531464{n}.5-{n}xx.jpg" for n in range(3) for c in ("front_door", "garage")],
            {"front_door": 3, "garage": 3},
        ),
        (
            [
                f"n015-2018-07-18-11-07-57+0800__CAM_{c}__153188353041{n}47{k}.jpg"
                for n in range(3)
                for k, c in enumerate(("FRONT", "FRONT_LEFT", "BACK"))
            ],
            {"BACK": 3, "FRONT": 3, "FRONT_LEFT": 3},
        ),
        ([f"Cam_0{c}_2024011510{n}{c}00.jpg" for n in range(3) for c in (0, 1)], {"00": 3, "01": 3}),
    ],
    ids=["sides", "sides with stamps", "kinds", "numbered cameras", "lenses", "Frigate", "nuScenes", "Reolink"],
)
def test_cameras_in_one_folder_are_streams(names: list[str], streams: dict[str, int]) -> None:
    found = find_pattern(pa.array(shuffled(names)))
    assert found is not None
    assert {name: len(files.chosen) for name, files in divide_files(pa.array(names), "*", found).items()} == streams


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ([f"frame_{n:04d}.jpg" for n in (9998, 9999, 0, 1)], ["frame_{index}", "frame_{index:9998..9999}"]),
        ([f"{'cat' if n % 2 else 'dog'}_{n}.jpg" for n in range(8)], [LAST, "{stream}_{index}"]),
        (
            [f"scene{s}_{n + (2 - s) * 100:06d}.jpg" for s in (1, 2) for n in range(5)],
            ["scene{any}_{index}", "scene{sequence:1}_{index:6}"],
        ),
        (
            ["15-01-24_10-30-47.jpg", "15-01-24_11-00-00.jpg"],
            ["{time:%y-%m-%d_%H-%M-%S}", "{time:%d-%m-%y_%H-%M-%S}"],
        ),
        (
            ["05-01-2024 10.30.47.jpg", "05-01-2024 11.00.00.jpg"],
            ["{time:%d-%m-%Y %H.%M.%S}", "{time:%m-%d-%Y %H.%M.%S}"],
        ),
        ([f"{s:03d}_{n}_x.jpg" for s, n in enumerate((7, 3, 7, 1))], ["{index}_{any}_x", "{sequence:3}_{index:1}_x"]),
    ],
    ids=["roll-over or not", "streams or classes", "two orders", "two-digit years", "days and months", "two numbers"],
)
def test_names_that_can_be_read_in_two_ways_are_not_guessed(names: list[str], patterns: list[str]) -> None:
    with pytest.raises(UnclearNamesError) as caught:
        find_pattern(pa.array(shuffled(names)))
    assert [pattern.text for pattern in caught.value.patterns] == patterns


@pytest.mark.parametrize(
    "names",
    [["cover.jpg"], [], ["3fa9c1.jpg", "09fe2a.jpg", "aa341f.jpg", "b1c2d3.jpg"]],
    ids=["no number", "nothing", "hashes"],
)
def test_names_without_an_order_have_no_pattern(names: list[str]) -> None:
    assert find_pattern(pa.array(names, pa.string())) is None


def test_a_copy_among_many_frames_is_left_out() -> None:
    names = [f"image_{n}.jpg" for n in range(20)] + ["image_3 (1).jpg"]
    assert find_pattern(pa.array(names)) == LAST_NUMBER


TIMES = st.integers(10**9 * 10**6, 2 * 10**9 * 10**6)
FORMS = ("%Y-%m-%d_%H-%M-%S-%f", "%Y%m%d%H%M%S%f", "%Y%m%dT%H%M%S.%f")


@settings(max_examples=60, deadline=None)
@given(st.sets(TIMES, min_size=2, max_size=40), st.sampled_from(FORMS), st.sampled_from(["", "cam_", "a-b "]))
def test_the_order_of_names_is_that_of_their_times(times: set[int], form: str, prefix: str) -> None:
    at = {t: dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=t) for t in times}  # noqa: DTZ001
    names = {f"{prefix}{moment.strftime(form)}.jpg": t for t, moment in at.items()}
    mixed = sorted(names, key=hash)
    found = find_pattern(pa.array(mixed))
    assert found is not None
    (files,) = divide_files(pa.array(mixed), "*", found).values()
    assert [names[mixed[n]] for n in files.chosen] == sorted(times)
    assert found.has_times


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9998), min_size=1, max_size=40, unique=True), st.integers(0, 40))
def test_numbers_do_not_depend_on_later_files(numbers: list[int], n: int) -> None:
    names = [f"take_{number:04d}_x.jpg" for number in numbers]
    first, found = (find_pattern(pa.array(some)) for some in (names[: max(1, n)], names))
    assert first is not None
    assert found is not None
    (before,) = divide_files(pa.array(names[: max(1, n)]), "*", first).values()
    (after,) = divide_files(pa.array(names), "*", found).values()
    known = dict(zip(after.chosen.tolist(), after.frame_idx.tolist(), strict=True))
    assert [known[at] for at in before.chosen.tolist()] == before.frame_idx.tolist()


def test_seconds_that_count_their_frames_have_no_gaps() -> None:
    names = [f"01-{ENTRY + second}-{n:02d}.jpg" for second in range(5) for n in range(15 if second != 2 else 14)]
    found = find_pattern(pa.array(names))
    assert found is not None
    (files,) = divide_files(pa.array(names), "*", found).values()
    step = usual_step(files.frame_idx, found)
    assert (step, gaps(files.frame_idx, step)) == (100, [])
    missing = np.delete(files.frame_idx, np.s_[15:44])
    assert len(gaps(missing, step)) == 1


def test_minutes_and_hours_are_no_gaps() -> None:
    moments = [dt.datetime(2024, 1, 15, 10, 59, 50) + dt.timedelta(seconds=n) for n in range(20)]  # noqa: DTZ001
    names = [f"cam1.{moment:%Y%m%d_%H%M%S}.jpg" for moment in moments]
    found = find_pattern(pa.array(names))
    assert found is not None
    (files,) = divide_files(pa.array(names), "*", found).values()
    assert files.frame_idx.tolist() == list(range(1705316390, 1705316410))
    assert gaps(files.frame_idx, usual_step(files.frame_idx, found)) == []
    assert files.t_ns is not None
    assert files.t_ns[0] == 1705316390 * 10**9


def test_images_of_events_have_gaps_where_they_are_far_apart() -> None:
    apart = np.array([3, 40, 7, 11, 90, 25, 2, 14, 33, 60, 5, 8, 70, 21, 12, 4, 51, 19, 86_400, 16])
    names = [f"gate-{T0 + at}.25-x{at}y.jpg" for at in np.concatenate([[0], np.cumsum(apart)])]
    found = find_pattern(pa.array(names))
    assert found is not None
    (files,) = divide_files(pa.array(names), "*", found).values()
    assert len(gaps(files.frame_idx, usual_step(files.frame_idx, found))) == 1


def test_sequences_do_not_follow_each_other() -> None:
    names = [f"{s:06d}_{n:02d}.png" for s in range(8) for n in (10, 11)]
    found = find_pattern(pa.array(names))
    assert found is not None
    (files,) = divide_files(pa.array(names), "*", found).values()
    assert usual_step(files.frame_idx, found) == 1


@pytest.mark.realdata
@pytest.mark.parametrize(
    "folder",
    [
        "sequences/bedroom",
        "quality/cleanvision/images",
        "detection/coco128/images",
        "duplicates/imagededup/base_images",
        "reports/deep-tiff",
        "reports/jpeg-damage",
    ],
)
def test_real_folders_of_plain_numbers_keep_their_numbers(folder: str, real_data: Path) -> None:
    names = os.listdir(real_data / folder)
    images = [name for name in names if name.lower().endswith((".jpg", ".png", ".tif", ".tiff", ".webp"))]
    assert len(images) >= 4
    assert find_pattern(pa.array(images)) == LAST_NUMBER
