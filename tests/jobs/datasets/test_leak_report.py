from __future__ import annotations

import polars as pl
import pytest

from jobs.core.errors import UserError
from jobs.datasets.leak_report import NO_OBJECTS, leak_report, refuse_leaks

FRACTIONS = {"train": 0.8, "val": 0.2}
NO_SCENES = pl.DataFrame(schema={"stream_id": pl.String, "start_idx": pl.Int64, "end_idx": pl.Int64})
NO = pl.DataFrame(schema=NO_OBJECTS)


def frames(numbers: list[int], splits: str, contents: str = "", groups: str = "") -> pl.DataFrame:
    """Frames of one stream; contents and groups by letter, each of its own where there are none."""
    own = [str(n) for n in range(len(numbers))]
    return pl.DataFrame(
        {
            "stream_id": ["cam"] * len(numbers),
            "frame_idx": numbers,
            "content_hash": list(contents) or own,
            "group_id": list(groups) or own,
            "split": [{"t": "train", "v": "val"}[letter] for letter in splits],
        }
    )


def test_distances_are_to_the_nearest_training_frame() -> None:
    rows = frames([0, 10, 20, 30, 100, 110, 120], "ttvtvvv")
    found = leak_report(rows, NO, NO_SCENES, {"cam"}, FRACTIONS)["of"]["val"]
    # 10 from 30 and 10; 70, 80 and 90 from 30. Consecutive frames are 10 apart.
    assert found["distance"] == {"min": 10, "p05": 10, "median": 70, "within_step": 0.25}
    assert found["leaking"] == {"frames": 1, "share": 0.25}


def test_frames_across_a_cut_have_no_distance() -> None:
    scenes = pl.DataFrame({"stream_id": ["cam", "cam"], "start_idx": [0, 2], "end_idx": [1, 3]})
    found = leak_report(frames([0, 1, 2, 3], "ttvv"), NO, scenes, {"cam"}, FRACTIONS)["of"]["val"]
    assert found["distance"] == {"min": None, "p05": None, "median": None, "within_step": 0.0}
    assert (found["without_distance"], found["leaking"]["frames"]) == (2, 0)


def test_frame_numbers_of_unrelated_images_are_not_used_as_distances() -> None:
    found = leak_report(frames([0, 1, 2], "tvt"), NO, NO_SCENES, set(), FRACTIONS)["of"]["val"]
    assert found["distance"]["within_step"] is None
    assert found["leaking"]["frames"] == 0


def test_tracks_and_duplicates_in_both_splits_leak() -> None:
    rows = frames([0, 100, 200, 300, 400], "ttvvv", contents="abacd", groups="12134")
    objects = pl.DataFrame(
        {"row": [0, 1, 3, 4], "category": ["car", "car", "car", "bus"], "track_id": [None, 7, 7, 8]}, schema=NO_OBJECTS
    )
    report = leak_report(rows, objects, NO_SCENES, set(), FRACTIONS)
    found = report["of"]["val"]
    assert found["tracks"] == {"in_it": 2, "in_both": 1}
    assert found["groups"] == {"in_it": 1, "in_both": 1}
    assert found["leaking"]["frames"] == 2
    assert report["classes"] == {"bus": {"train": 0, "val": 1}, "car": {"train": 2, "val": 1}}


def test_equal_content_is_a_group_without_the_stage_duplicates() -> None:
    rows = frames([0, 1], "tv", contents="aa").with_columns(group_id=pl.lit(None, pl.String))
    assert leak_report(rows, NO, NO_SCENES, set(), FRACTIONS)["of"]["val"]["groups"]["in_both"] == 1


def test_leaks_are_measured_against_the_largest_split_without_train() -> None:
    rows = frames([0, 1], "tv").with_columns(split=pl.Series(["big", "small"]))
    report = leak_report(rows, NO, NO_SCENES, set(), {"small": 0.3, "big": 0.7})
    assert (report["against"], list(report["of"])) == ("big", ["small"])


def test_more_leaks_than_allowed_are_refused() -> None:
    report = leak_report(frames([0, 1, 2, 3], "tvtv"), NO, NO_SCENES, {"cam"}, FRACTIONS)
    refuse_leaks(report, 1.0)
    with pytest.raises(
        UserError, match=r"2 of 2 frames of val \(100\.0%\) leak from train: 100% within one sampling step"
    ):
        refuse_leaks(report, 0.0)
