from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.curate.curation import INPUT, MEASURED, REASONS, CurationParams, curate

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
    "contrast": 50.0,
    "entropy": 7.0,
    "interval": None,
    "frozen": None,
    "group": None,
}
BROKEN = dict.fromkeys(("width", "height", *MEASURED))


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


def soft(n: int, **spread: tuple[float, float]) -> list[dict[str, Any]]:
    """Return frames as sharp as those of 364 microscope images: 0.037 to 0.051, and of one tone unless given."""
    usual = {"sharpness": (0.037, 0.051), "luma_mean": (178.0, 187.0), "contrast": (18.0, 23.0), **spread}
    # In an order in which any twelve neighbours have the spread of all.
    places = [(at * 7 % n) / max(n - 1, 1) for at in range(n)]
    return [{name: low + (high - low) * at for name, (low, high) in usual.items()} for at in places]


UNLIKE = {"luma_mean": (60.0, 180.0), "contrast": (50.0, 40.0)}


def flagged(frames: list[dict[str, Any]], **params: Any) -> list[tuple[list[str], list[str]]]:
    rows = decide(frames, CurationParams(**params), "acutance")
    return [(row["reasons"], row["flags"]) for row in rows]


def test_a_stream_that_is_soft_throughout_is_flagged_and_kept() -> None:
    assert flagged(soft(20)) == [([], ["soft_throughout"])] * 20


def test_a_stream_that_is_soft_throughout_is_blurry_on_request() -> None:
    assert flagged(soft(20), soft_streams="drop") == [(["blurry"], [])] * 20


def test_a_frame_below_the_level_of_a_soft_stream_is_blurry() -> None:
    found = flagged([*soft(20), {**soft(20)[0], "sharpness": 0.015}])
    assert found == [([], ["soft_throughout"])] * 20 + [(["blurry"], [])]


def test_soft_frames_of_unlike_scenes_are_blurry() -> None:
    assert flagged(soft(20, **UNLIKE)) == [(["blurry"], [])] * 20
    # Which is a matter of tone: their sharpness is alike.
    assert flagged(soft(20, luma_mean=(60.0, 180.0), contrast=(12.0, 36.0))) == [([], ["soft_throughout"])] * 20
    assert flagged(soft(20, contrast=(20.0, 60.0))) == [([], ["soft_throughout"])] * 20


@pytest.mark.parametrize(("n", "found"), [(11, (["blurry"], [])), (12, ([], ["soft_throughout"]))])
def test_of_few_frames_nothing_is_known_of_the_stream(n: int, found: tuple[list[str], list[str]]) -> None:
    assert flagged(soft(n)) == [found] * n


def test_a_camera_that_was_sharp_once_is_blurry_afterwards() -> None:
    found = flagged([{**soft(1)[0], "sharpness": 0.3}] * 4 + soft(60))
    assert found == [([], [])] * 4 + [(["blurry"], [])] * 60


def test_the_floor_does_not_divide_a_stream_whose_frames_are_alike() -> None:
    found = flagged(soft(20, sharpness=(0.07, 0.09)))
    assert {tuple(reasons) for reasons, _ in found} == {()}
    assert [bool(flags) for _, flags in found] == [
        frame["sharpness"] < 0.08 for frame in soft(20, sharpness=(0.07, 0.09))
    ]


def test_what_is_badly_exposed_says_nothing_on_softness() -> None:
    night = [{"luma_mean": 5.0, "luma_p95": 9.0, "sharpness": 0.5}] * 20
    found = flagged([*night, *soft(20)])
    assert found == [(["dark"], [])] * 20 + [([], ["soft_throughout"])] * 20


def test_a_soft_stream_does_not_depend_on_other_streams_or_on_order() -> None:
    mixed = [
        frame | {"stream_id": name}
        for pair in zip(soft(20), soft(20, **UNLIKE), strict=True)
        for frame, name in zip(pair, "ab", strict=True)
    ]
    found = flagged(mixed)
    assert found == [([], ["soft_throughout"]), (["blurry"], [])] * 20
    assert flagged(mixed[::-1]) == found[::-1]


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
    unmeasured = dict.fromkeys(MEASURED)
    large = {"group": 0, "width": 3840, "height": 2160, "stream_id": "b", **unmeasured}
    assert reasons({"group": 0}, large)[0] == []
