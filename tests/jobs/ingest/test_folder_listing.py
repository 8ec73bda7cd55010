from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import schemas
from jobs.analysis.run_summary import stream_remarks
from jobs.core.errors import UserError
from jobs.ingest.catalogue import IngestOverrides, catalogue, record
from jobs.ingest.stream_listing import StreamFiles
from jobs.storage.paths import place
from jobs.storage.store import Store
from tests.helpers import scenery, write_clip
from transforms.frames.numbering import IngestParams

NS = 10**9
T0 = 1705314647
"""2024-01-15 10:30:47 UTC."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Empty tables."""
    made = Store(place(tmp_path / "tables"))
    made.create_tables()
    return made


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def listed(store: Store, *inputs: Path, allow_missing: bool = False, **params: Any) -> list[StreamFiles]:
    overrides = IngestOverrides(allow_missing=allow_missing)
    return catalogue([str(i) for i in inputs], IngestParams(**params), overrides, store)


def problem(store: Store, *inputs: Path, **params: Any) -> str:
    with pytest.raises(UserError) as caught:
        listed(store, *inputs, **params)
    (found,) = caught.value.problems
    return str(found)


def run_over(store: Store, *inputs: Path, **params: Any) -> dict[str, list[int]]:
    """List inputs, record it as a run does, and return the frame numbers of each stream."""
    found = listed(store, *inputs, **params)
    record(found, store, "job")
    return {stream.stream_id: stream.frame_idx.tolist() for stream in found}


def test_two_cameras_in_a_folder_are_two_streams(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", *(f"{side}_{n}.jpg" for side in ("left", "right") for n in range(3)))
    assert run_over(store, cam) == {"cam/left": [0, 1, 2], "cam/right": [0, 1, 2]}
    rows = {row["stream_id"]: row for row in store.read(schemas.STREAMS).to_pylist()}
    assert {(row["part"], row["naming"], row["uri"]) for row in rows.values()} == {
        (side, "{stream}_{index}", str(cam)) for side in ("left", "right")
    }
    assert [row["n_ignored"] for row in rows.values()] == [0, 0]
    # The next runs name the folder as before.
    touch(cam, "left_3.jpg")
    assert run_over(store, cam) == {"cam/left": [0, 1, 2, 3], "cam/right": [0, 1, 2]}
    for n in range(3):
        (cam / f"right_{n}.jpg").unlink()
    assert "'cam/right' has lost 3 of its 3 frames" in problem(store, cam)
    assert run_over(store, cam, allow_missing=True) == {"cam/left": [0, 1, 2, 3], "cam/right": []}


def test_a_folder_of_two_cameras_can_be_emptied(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "site/cam", *(f"{side}_{n}.jpg" for side in ("left", "right") for n in range(2)))
    run_over(store, tmp_path / "site")
    for file in cam.iterdir():
        file.unlink()
    assert run_over(store, tmp_path / "site", allow_missing=True) == {"cam/left": [], "cam/right": []}


def test_a_new_kind_of_name_keeps_all_numbers_or_stops(store: Store, tmp_path: Path) -> None:
    motion = touch(tmp_path / "motion", "01-20240115103047-00.jpg", "01-20240115103047-01.jpg")
    first = run_over(store, motion)["motion"]
    assert first == [T0 * 100, T0 * 100 + 1]
    # The second event has another number: the pattern is a wider one now.
    touch(motion, "02-20240115103050-00.jpg")
    assert run_over(store, motion)["motion"] == [*first, (T0 + 3) * 100]
    assert store.read(schemas.STREAMS)["naming"].to_pylist() == ["{any}-{time:%Y%m%d%H%M%S}-{index:2}"]
    touch(motion, "extra_1.jpg")
    text = problem(store, motion)
    assert "1 of 4 images have names that do not fit '{any}-{time:%Y%m%d%H%M%S}-{index:2}'" in text
    assert "ingest.name=" in text


def test_a_workspace_of_before_keeps_its_numbers(store: Store, tmp_path: Path) -> None:
    # By the last number alone, as frames of this folder were numbered once.
    tum = touch(tmp_path / "tum", "1305031102.175304.png", "1305031102.211214.png", "1305031103.043227.png")
    before = run_over(store, tum, name="{any}{index}")
    assert before == {"tum": [43227, 175304, 211214]}
    rows = store.read(schemas.STREAMS).to_pylist()
    rows[0]["naming"] = None
    store.upsert(schemas.STREAMS, schemas.STREAMS.empty().from_pylist(rows, schemas.STREAMS.arrow_schema), "old")
    for _ in range(2):
        assert run_over(store, tum) == before
        (row,) = store.read(schemas.STREAMS).to_pylist()
        # The run says so, each time.
        assert row["naming_now"] == "{time:%s.%f}"
        assert "its names look like {time:%s.%f}; --set ingest.name='{time:%s.%f}' reads them so" in str(
            stream_remarks(row, {})
        )
    stamps = touch(tmp_path / "stamps", "1705314647123.png", "1705314647223.png")
    run_over(store, stamps, name="{any}{index}")
    (found,) = listed(store, stamps)
    # The same numbers are times: the pattern may say so.
    assert found.row["naming_now"] is None
    assert found.frame_idx.tolist() == [1705314647123, 1705314647223]


def test_another_pattern_for_a_known_stream_loses_its_frames_by_name(store: Store, tmp_path: Path) -> None:
    tum = touch(tmp_path / "tum", "1305031102.175304.png", "1305031102.211214.png")
    run_over(store, tum)
    assert "has lost 2 of its 2 frames" in problem(store, tum, name="{any}{index}")


@pytest.mark.parametrize(
    ("names", "params", "said"),
    [
        (["cat_1.jpg", "dog_2.jpg", "cat_3.jpg", "dog_4.jpg"], {}, "can be read in 2 ways; choose one with --set: ingest.name='{any}{index}' (cat_1.jpg, dog_2.jpg, cat_3.jpg), or ingest.name='{stream}_{index}' (stream cat: cat_1.jpg, cat_3.jpg; stream dog: dog_2.jpg, dog_4.jpg)"),  # noqa: E501
        (["a_1.jpg"], {"name": "{indx}"}, "ingest.name='{indx}': there is no field {indx}"),
        (["a_1.jpg"], {"name": "b_{index}"}, "holds no frames; expected files like image_0.jpg (jpg, jpeg, png, webp, bmp, tif, tiff) and fit the pattern 'b_{index}'"),  # noqa: E501
        (["2024-02-31_1.jpg"], {"name": "{time:%Y-%m-%d}_{any}"}, "'2024-02-31_1.jpg': its date does not exist"),
        (["a_1.jpg", "b_1.jpg"], {"strict_sequence": False}, "all files share their frame number with another: 1 (a_1.jpg, b_1.jpg); rename them"),  # noqa: E501
        (["a_1.jpg", "a_2.jpg"], {"fps": 2.0}, "ingest.fps=2 needs the times of its frames, and neither names nor EXIF data hold any; take every n-th frame with --set ingest.stride=N"),  # noqa: E501
        (["a_1.jpg"], {"times": "t.csv"}, "ingest.times=t.csv: there is no"),
        (["image_1.jpg", "image_2.jpg", "photo1_small.jpg", "photo2_small.jpg"], {}, "2 of 4 images have names that do not fit '{any}{index}', as the others are read, such as 'photo1_small.jpg'"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_cannot_be_listed_is_reported_in_one_line(
    store: Store, tmp_path: Path, names: list[str], params: dict[str, object], said: str
) -> None:
    assert said in problem(store, touch(tmp_path / "cam", *names), **params)


def test_times_of_names_sample_a_folder(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", *(f"{T0 * 1000 + 100 * n}.jpg" for n in range(35)))
    (found,) = listed(store, cam, fps=2.0)
    assert found.frame_idx.tolist() == [T0 * 1000 + 500 * n for n in range(7)]
    assert (found.step, found.row["gaps"], found.row["sampling"]) == (500, [], "2")
    rows = found.listing()
    assert rows["t_ns"].to_pylist() == [(T0 * 1000 + 500 * n) * 10**6 for n in range(7)]
    assert set(rows["time_source"].to_pylist()) == {"name"}
    # Files that come later change nothing of those before.
    before = found.frame_idx.tolist()
    touch(cam, *(f"{T0 * 1000 + 100 * n}.jpg" for n in range(35, 60)))
    assert listed(store, cam, fps=2.0)[0].frame_idx.tolist()[: len(before)] == before


def test_times_of_exif_data_sample_a_folder(store: Store, tmp_path: Path) -> None:
    cam = tmp_path / "cam"
    cam.mkdir()

    def taken(number: int, suffix: str, at: int) -> Path:
        image = Image.new("RGB", (16, 12))
        exif = image.getexif()
        exif[0x0132] = "2030:01:01 00:00:00"
        exif.get_ifd(0x8769).update({0x9003: f"2024:01:15 10:30:{at // 1000:02}", 0x9291: f"{at % 1000:03}"})
        image.save(cam / f"DSC_{number:04}.{suffix}", exif=exif)
        return cam / f"DSC_{number:04}.{suffix}"

    for number in range(1, 13):
        taken(number, "jpg" if number % 2 else "png", 250 * number)
    (found,) = listed(store, cam, fps=1.0)
    assert found.frame_idx.tolist() == [1, 4, 8, 12]
    rows = found.listing()
    assert rows["time_source"].to_pylist() == ["exif"] * 4
    first = 1705314600 * 10**9
    assert [(t - first) // 10**6 for t in rows["t_ns"].to_pylist()] == [250, 1000, 2000, 3000]
    # Without sampling nothing is read at this point.
    (whole,) = listed(store, cam)
    assert whole.listing()["t_ns"].null_count == 12
    Image.new("RGB", (16, 12)).save(cam / "DSC_0013.jpg")
    assert "1 of them have none" in problem(store, cam, fps=1.0)


def test_a_stride_takes_every_nth_frame_of_folders_and_clips(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", *(f"{10 * n}.jpg" for n in range(40)))
    clip = write_clip(tmp_path / "gate.mp4", scenery(9))
    found = {stream.stream_id: stream for stream in listed(store, cam, clip, stride=4)}
    assert found["cam"].frame_idx.tolist() == [40 * n for n in range(10)]
    assert (found["cam"].step, found["cam"].row["gaps"], found["cam"].row["sampling"]) == (40, [], "native, every 4.")
    assert found["gate"].frame_idx.tolist() == [0, 4, 8]


@pytest.mark.parametrize(
    "lines",
    [
        ["name,time", "a_1.png,1705314647.5", "a_2.png,1705314648.25"],
        ["#timestamp [ns],filename", "1705314647500000000,a_1.png", "1705314648250000000,a_2.png"],
        ["# colour images", "1705314647.500000 rgb/a_1.png", "1705314648.250000 rgb/a_2.png"],
        ["2024-01-15 10:30:47.500000000", "2024-01-15 10:30:48.250000000"],
        ["file;size;t_ns", "a_1.png;17;1705314647500000000", "a_2.png;99;1705314648250000000"],
        ["image\tdatetime", "a_1.png\t2024-01-15T10:30:47.5", "a_2.png\t2024-01-15T10:30:48.25"],
    ],
    ids=["names and seconds", "EuRoC", "TUM", "KITTI", "semicolons", "tabs"],
)
@pytest.mark.parametrize("is_above", [False, True])
def test_a_table_says_the_times(store: Store, tmp_path: Path, lines: list[str], is_above: bool) -> None:
    cam = touch(tmp_path / "seq/data", "a_1.png", "a_2.png")
    (cam.parent if is_above else cam).joinpath("times.csv").write_text("\n".join(lines) + "\n")
    (found,) = listed(store, cam, times="times.csv")
    assert found.listing()["t_ns"].to_pylist() == [T0 * NS + NS // 2, (T0 + 1) * NS + NS // 4]
    assert set(found.listing()["time_source"].to_pylist()) == {"table"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; expected lines such as"),
        ("name,size\na_1.png,17\n", "no column of"),
        ("1705314647.5\n", "has 1 times and no names, for 2 frames"),
        ("a_1.png,1705314647.5\na_2.png,soon\n", "no column of"),
    ],
)
def test_a_table_without_times_is_refused(store: Store, tmp_path: Path, text: str, said: str) -> None:
    cam = touch(tmp_path / "cam", "a_1.png", "a_2.png")
    (cam / "times.csv").write_text(text)
    assert said in problem(store, cam, times="times.csv")


def test_other_times_are_other_files_to_read(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", "a_1.png", "a_2.png")
    for name in os.listdir(cam):
        os.utime(cam / name, ns=(T0 * NS, T0 * NS))
    ids = []
    for second in (47, 48):
        (cam / "t.csv").write_text(f"a_1.png,2024-01-15 10:30:47\na_2.png,2024-01-15 10:30:{second}\n")
        ids.append(listed(store, cam, times="t.csv")[0].listing()["stat_id"].to_pylist())
    assert ids[0][0] == ids[1][0]
    assert ids[0][1] != ids[1][1]


def _photo(path: Path, taken: str, offset: str | None = None) -> None:
    image, exif = Image.new("RGB", (8, 8)), Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: taken} | ({0x9011: offset} if offset else {}))
    image.save(path, exif=exif)


def test_times_in_names_are_those_of_clocks_in_a_time_zone(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", *(f"2024-01-15_{hour}-30-47.jpg" for hour in ("11", "12", "13")))
    (plain,) = listed(store, cam)
    (zoned,) = listed(store, cam, timezone="Europe/Berlin")
    assert zoned.files["t_ns"].to_pylist() == [(T0 + hour * 3600) * NS for hour in range(3)]
    assert plain.files["t_ns"].to_pylist() == [(T0 + hour * 3600) * NS for hour in (1, 2, 3)]
    # Numbers are the same in any zone: a setting that is corrected renumbers nothing.
    assert zoned.frame_idx.tolist() == plain.frame_idx.tolist()
    assert (zoned.row["timezone"], zoned.row["n_unclear_times"], plain.row["timezone"]) == ("Europe/Berlin", 0, None)


@pytest.mark.parametrize("name", ["1705314647.jpg", "2024-01-15T11-30-47+0100.jpg"])
def test_names_that_say_their_offset_or_count_from_1970_are_in_no_other_zone(
    store: Store, tmp_path: Path, name: str
) -> None:
    cam = touch(tmp_path / "cam", name, name.replace("47", "48", 1) if name[0] == "1" else name.replace("47", "48"))
    (found,) = listed(store, cam, timezone="America/New_York")
    assert found.files["t_ns"][0].as_py() == T0 * NS
    assert found.row["timezone"] is None


def test_a_table_and_exif_data_are_in_the_time_zone_unless_they_have_an_offset(store: Store, tmp_path: Path) -> None:
    dates = touch(tmp_path / "dates", "image_0.jpg", "image_1.jpg")
    (dates / "times.csv").write_text("image_0.jpg,2024-01-15 11:30:47\nimage_1.jpg,2024-01-15 11:30:48\n")
    (found,) = listed(store, dates, times="times.csv", timezone="Europe/Berlin")
    assert found.files["t_ns"].to_pylist() == [T0 * NS, (T0 + 1) * NS]
    photos = tmp_path / "photos"
    photos.mkdir()
    _photo(photos / "image_0.jpg", "2024:01:15 11:30:47")
    _photo(photos / "image_1.jpg", "2024:01:15 05:30:48", "-05:00")
    (photos / "image_2.jpg").write_bytes(b"none")
    (found,) = listed(store, photos, timezone="Europe/Berlin")
    assert found.files["t_ns"].to_pylist() == [T0 * NS, (T0 + 1) * NS, None]
    assert found.listing()["time_source"].to_pylist() == ["exif", "exif", None]
    # Without a zone they are read with the image.
    (found,) = listed(store, photos)
    assert found.files["t_ns"].null_count == 3


def test_a_folder_over_an_hour_that_occurs_twice_says_so(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", *(f"2024-10-27_0{hour}-30-00.jpg" for hour in (1, 2, 3)))
    (found,) = listed(store, cam, timezone="Europe/Berlin")
    (said,) = [line for line in stream_remarks(found.row, {}) if "twice" in line]
    assert said.startswith("1 local time")
    assert "Europe/Berlin" in said


def test_a_wrong_time_zone_is_one_line(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", "image_0.jpg")
    assert problem(store, cam, timezone="Europe/Belin").startswith(
        "ingest.timezone='Europe/Belin' is no time zone; exp"
    )


def test_a_clip_is_in_the_time_zone_by_its_name(store: Store, tmp_path: Path) -> None:
    clip = tmp_path / "gate_2024-01-15_11-30-47.mp4"
    write_clip(clip, scenery(4))
    assert run_over(store, clip) == run_over(store, clip, timezone="Europe/Berlin")
    (zoned,) = listed(store, clip, timezone="Europe/Berlin")
    (plain,) = listed(store, clip)
    assert zoned.files["t_ns"][0].as_py() == T0 * NS
    assert plain.files["t_ns"][0].as_py() == (T0 + 3600) * NS
