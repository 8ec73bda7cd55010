from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.curate.curation import INPUT, REASONS, CurationParams, curate

GOOD = {
    "stream_id": "a",
    "decodable": True,
    "damaged_data": False,
    "width": 1280,
    "height": 720,
    "sharpness": 500.0,
    "luma_mean": 120.0,
    "luma_p50": 118.0,
    "luma_p95": 210.0,
    "entropy": 7.0,
    "interval": None,
    "frozen": None,
    "group": None,
}
BROKEN = dict.fromkeys(("width", "height", "sharpness", "luma_mean", "luma_p50", "luma_p95", "entropy"))


def decide(
    frames: list[dict[str, Any]], params: CurationParams | None = None, method: str = "laplacian_var", keep: int = 1
) -> list[dict[str, Any]]:
    """Curate frames that differ from `GOOD` as given; frame numbers and content ids count up."""
    full = [{**GOOD, "frame_idx": i, "content_id": i, **frame} for i, frame in enumerate(frames)]
    return curate(pa.Table.from_pylist(full, INPUT), params or CurationParams(), method, keep).to_pylist()


def reasons(*frames: dict[str, Any], **options: Any) -> list[list[str]]:
    return [row["reasons"] for row in decide(list(frames), **options)]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"decodable": False, "damaged_data": None, **BROKEN}, "corrupt"),
        ({"damaged_data": True}, "damaged"),
        ({"luma_mean": 31.9}, "dark"),
        ({"luma_p95": 55.0}, "dark"),
        ({"luma_mean": 226.0}, "overexposed"),
        ({"luma_p50": 251.0}, "overexposed"),
        ({"entropy": 2.4}, "low_information"),
        ({"sharpness": 5.0}, "blurry"),
    ],
)
def test_each_defect_gives_one_reason(frame: dict[str, Any], reason: str) -> None:
    assert reasons({}, {}, {}, {}, frame)[-1] == [reason]
    ignoring = CurationParams(ignore=(reason,))  # type: ignore[arg-type]
    assert reasons({}, {}, {}, {}, frame, params=ignoring)[-1] == []


def test_kept_are_the_frames_without_reasons() -> None:
    rows = decide([{}, {"luma_mean": 10.0}])
    assert [(row["keep"], row["reasons"]) for row in rows] == [(True, []), (False, ["dark"])]


def test_a_soft_camera_is_not_all_blurry() -> None:
    assert reasons(*[{"sharpness": 30.0}] * 10) == [[]] * 10


def test_a_frame_softer_than_its_own_stream_is_blurry() -> None:
    soft = [{"stream_id": "soft", "sharpness": 30.0}] * 6
    sharp = [{"stream_id": "sharp", "sharpness": 400.0}] * 6
    found = reasons(*soft, *sharp, {"stream_id": "soft", "sharpness": 10.0}, {"stream_id": "sharp", "sharpness": 90.0})
    assert found == [[]] * 12 + [["blurry"]] * 2


def test_frames_above_the_limit_are_sharp_in_any_stream() -> None:
    assert reasons(*[{"sharpness": 5000.0}] * 6, {"sharpness": 150.0})[-1] == []


def test_blur_is_not_judged_where_exposure_is_bad() -> None:
    assert reasons({}, {}, {"luma_mean": 5.0, "luma_p95": 9.0, "sharpness": 1.0})[-1] == ["dark"]


def test_limits_follow_the_blur_method() -> None:
    frames = [{"sharpness": 5000.0}] * 6 + [{"sharpness": 250.0}]
    assert reasons(*frames)[-1] == []
    assert reasons(*frames, method="tenengrad")[-1] == ["blurry"]


def test_the_sharpest_frame_of_an_idle_interval_is_kept() -> None:
    found = reasons({"interval": 0}, {"interval": 0, "sharpness": 510.0}, {"interval": 0}, {})
    assert found == [["idle"], [], ["idle"], []]


@pytest.mark.parametrize(("keep", "kept"), [(0, 0), (1, 1), (3, 3), (9, 5)])
def test_idle_keep_is_the_number_of_kept_frames(keep: int, kept: int) -> None:
    assert sum(row["keep"] for row in decide([{"interval": 0}] * 5, keep=keep)) == kept


def test_a_defective_frame_does_not_represent_an_idle_interval() -> None:
    found = reasons({"interval": 0, "sharpness": 900.0, "luma_mean": 5.0}, {"interval": 0}, {"interval": 0})
    assert found == [["dark", "idle"], [], ["idle"]]


def test_the_best_frame_of_a_group_is_kept_even_if_it_is_not_the_first() -> None:
    found = reasons({"group": 0}, {"group": 0, "sharpness": 600.0}, {"group": 0}, {"group": 1})
    assert found == [["near_duplicate"], [], ["near_duplicate"], []]


def test_larger_images_are_better_than_sharper_ones() -> None:
    found = reasons({"group": 0, "width": 640, "height": 360, "sharpness": 900.0}, {"group": 0})
    assert found == [["near_duplicate"], []]


def test_the_first_of_equal_frames_is_kept() -> None:
    same = {"group": 0, "content_id": 7}
    assert reasons(same, same, same) == [[], ["exact_duplicate"], ["exact_duplicate"]]


def test_exact_copies_of_a_dropped_frame_are_exact_duplicates_of_it() -> None:
    copies = {"group": 0, "content_id": 7}
    found = reasons(copies, copies, {"group": 0, "sharpness": 700.0})
    assert found == [["near_duplicate"], ["exact_duplicate"], []]


def test_a_defective_frame_does_not_represent_its_group() -> None:
    found = reasons({"group": 0, "sharpness": 2.0}, {"group": 0, "sharpness": 500.0}, {}, {}, {})
    assert found[:2] == [["blurry", "near_duplicate"], []]


def test_one_frame_is_kept_of_an_idle_interval_that_is_also_a_group() -> None:
    rows = decide([{"interval": 0, "group": 0}] * 6)
    assert [row["keep"] for row in rows] == [True] + [False] * 5


def test_groups_span_streams() -> None:
    found = reasons({"group": 0}, {"group": 0, "stream_id": "b", "sharpness": 800.0})
    assert found == [["near_duplicate"], []]


def test_frames_of_a_frozen_feed_are_flagged() -> None:
    rows = decide([{}, {"interval": 0, "frozen": True}, {"interval": 1, "frozen": False}])
    assert [row["flags"] for row in rows] == [[], ["frozen"], []]


def test_odd_sizes_are_flagged_and_kept() -> None:
    rows = decide([{}, {}, {"width": 640}])
    assert [row["flags"] for row in rows] == [[], [], ["odd_size"]]
    assert all(row["keep"] for row in rows)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "interval": st.sampled_from([None, 0, 1]),
                "group": st.sampled_from([None, 0, 1]),
                "content_id": st.integers(0, 5),
                "sharpness": st.sampled_from([1.0, 60.0, 400.0, 900.0]),
                "luma_mean": st.sampled_from([5.0, 120.0, 240.0]),
                "stream_id": st.sampled_from(["a", "b"]),
            }
        ),
        min_size=1,
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_every_group_and_interval_keeps_a_frame_in_any_order(frames: list[dict[str, Any]], random: Any) -> None:
    numbered = [{**frame, "frame_idx": i} for i, frame in enumerate(frames)]
    rows = decide(numbered)
    own = ("corrupt", "blurry", "dark", "overexposed", "low_information")
    sound = [i for i, row in enumerate(rows) if not set(row["reasons"]) & set(own)]
    for group in (0, 1):
        members = [i for i in sound if frames[i]["group"] == group and "idle" not in rows[i]["reasons"]]
        kept = [i for i in members if rows[i]["keep"]]
        assert bool(kept) == bool(members)
        # Besides the best one, only representatives of idle intervals are kept.
        assert sum(frames[i]["interval"] is None for i in kept) <= 1
    for interval in (0, 1):
        members = [i for i in sound if frames[i]["interval"] == interval]
        assert sum("idle" not in rows[i]["reasons"] for i in members) == (1 if members else 0)
    shuffled = list(numbered)
    random.shuffle(shuffled)
    again = {row["frame_idx"]: row for row in decide(shuffled)}
    assert [again[row["frame_idx"]] for row in rows] == rows


def test_reasons_are_listed_in_one_order() -> None:
    frame = {"interval": 0, "group": 0, "content_id": 1, "luma_mean": 5.0, "entropy": 1.0}
    found = reasons(frame, frame)[1]
    assert found == [r for r in REASONS if r in found] == ["dark", "low_information", "idle", "exact_duplicate"]


@pytest.mark.parametrize(("keep", "kept"), [(1, 1), (3, 3), (5, 5)])
def test_representatives_of_an_interval_are_kept_although_they_are_near_duplicates(keep: int, kept: int) -> None:
    frames = [{"interval": 0, "group": 0}] * 40
    assert sum(row["keep"] for row in decide(frames, keep=keep)) == kept


def test_each_of_two_similar_intervals_keeps_a_frame() -> None:
    frames = [{"interval": n // 20, "group": 0} for n in range(40)]
    kept = [at for at, row in enumerate(decide(frames)) if row["keep"]]
    assert [at // 20 for at in kept] == [0, 1]


def test_equal_bytes_represent_an_interval_once() -> None:
    frames = [{"interval": n // 20, "group": 0, "content_id": 7} for n in range(40)]
    assert sum(row["keep"] for row in decide(frames)) == 1


def test_a_frame_without_measures_represents_no_group() -> None:
    unmeasured = dict.fromkeys(("sharpness", "luma_mean", "luma_p50", "luma_p95", "entropy"))
    large = {"group": 0, "width": 3840, "height": 2160, "stream_id": "b", **unmeasured}
    assert reasons({"group": 0}, large)[0] == []
