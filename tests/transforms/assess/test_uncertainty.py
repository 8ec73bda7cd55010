from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.assess.uncertainty import (
    DOUBTS,
    NO_OBJECTS,
    OBJECT_COLUMNS,
    FrameObjects,
    RouteParams,
    count_jump,
    doubts_of,
    expected_errors,
    flickers,
    low_margin,
    matches,
    routed,
    unmatched,
)

PERSON = (10, 10, 20, 40)


def found(
    *boxes: tuple[float, float, float, float], score: float = 0.9, tracks: Any = None, kind: str = "p"
) -> FrameObjects:
    n = len(boxes)
    return FrameObjects(np.array(boxes, float).reshape(-1, 4), np.full(n, score), [kind] * n, tracks or [None] * n)


def objects(*rows: tuple[int, float, float]) -> pl.DataFrame:
    """Return objects of one size, given by frame, left edge and score."""
    listed = [(number, "p", score, x, 10.0, 20.0, 40.0, None) for number, x, score in rows]
    types = [pl.Int64, pl.String, *[pl.Float32] * 5, pl.Int64]
    return pl.DataFrame(listed, schema=dict(zip(OBJECT_COLUMNS, types, strict=True)), orient="row")


def test_margins_have_known_values() -> None:
    assert [low_margin(np.array(s), 0.25, 0.1) for s in ([0.25, 0.9], [0.3, 0.9], [0.35], [])] == pytest.approx(
        [1, 0.5, 0, 0]
    )


def test_disagreement_is_the_score_weighted_share_of_unmatched_objects() -> None:
    both, more = found(PERSON), found(PERSON, (100, 10, 20, 40), score=0.3)
    assert unmatched(both, found((12, 11, 20, 40), score=0.5), 0.5) == pytest.approx((0, 1.4))
    assert unmatched(both, NO_OBJECTS, 0.5) == pytest.approx((0.9, 0.9))
    assert unmatched(NO_OBJECTS, NO_OBJECTS, 0.5) == (0, 0)
    assert unmatched(both, more, 0.5) == pytest.approx((0.3, 1.5))
    assert unmatched(both, found(PERSON, kind="dog"), 0.5) == pytest.approx((1.8, 1.8))


def test_flicker_counts_objects_that_appear_or_vanish_for_one_frame() -> None:
    here, near, far = found(PERSON), found((14, 10, 20, 40)), found((200, 10, 20, 40))
    assert flickers(here, near, here) == (0, 1)
    assert flickers(here, NO_OBJECTS, near) == (1, 1)
    assert flickers(NO_OBJECTS, here, NO_OBJECTS) == (1, 1)
    assert flickers(here, found(PERSON, (100, 50, 9, 9)), here) == (1, 2)
    # Objects that appear, disappear or move too fast to match are no flicker.
    assert flickers(NO_OBJECTS, here, near)[0] == 0
    assert flickers(here, far, found((300, 10, 20, 40)))[0] == 0
    # Track ids decide which objects are the same, if there are any.
    assert flickers(found(PERSON, tracks=[7]), NO_OBJECTS, found((300, 10, 20, 40), tracks=[7])) == (1, 1)
    assert flickers(found(PERSON, tracks=[7]), NO_OBJECTS, found(PERSON, tracks=[8]))[0] == 0


def test_jumps_of_object_counts_are_uncertain() -> None:
    follows = np.array([False, True, True, True, True])
    assert [count_jump(np.array([2, 2, 6, 2, 3]), follows, 2), count_jump(np.array([2, 2, 3, 2, 2]), follows, 2)] == [
        4 / 6,
        0,
    ]
    assert count_jump(np.array([9, 9, 2, 2, 2]), np.array([False, True, False, True, True]), 3) == 0


def test_temporal_measures_are_zero_across_a_gap() -> None:
    course = objects(*((n, 10.0 + n, 0.9) for n in (0, 2, 3, 4)))
    params = RouteParams()
    doubts = doubts_of([0, 1, 2, 3, 4], 1, course, None, params, 0.25)
    assert doubts["flicker"].to_list() == [0, 1, 0, 0, 0]
    assert doubts_of([0, 10, 20, 30, 40], 1, course, None, params, 0.25).select(DOUBTS[1:]).sum_horizontal().sum() == 0
    assert doubts_of([0, 10, 20, 30, 40], 10, objects((0, 1, 0.9), (20, 1, 0.9)), None, params, 0.25)["flicker"][1] == 1
    assert doubts_of([], 1, objects(), objects(), params, 0.25).height == 0
    second = doubts_of([0, 1], 1, objects((0, 1, 0.9)), objects((1, 1, 0.9)), params, 0.25)
    assert second["disagreement"].to_list() == [1, 1]


def uncertain(*uncertainties: float) -> pl.DataFrame:
    n = len(uncertainties)
    zeros = {name: [0.0] * n for name in DOUBTS}
    errors = [u / (1 - u) for u in uncertainties]
    keys = {"stream_id": ["a"] * n, "frame_idx": range(n)}
    return pl.DataFrame({**keys, **zeros, "flicker": list(uncertainties), "expected_errors": errors})


def test_budgets_go_to_the_most_uncertain() -> None:
    frames = uncertain(0.6, 0.9, 0.4, 0.8, 0.7, 0.95)
    none = frames.clear()
    found = routed(frames, none, RouteParams(threshold=0.5, budget_person=2, budget_vlm=2))
    assert found["route"].to_list() == ["over_budget", "person", "fine", "vlm", "vlm", "person"]
    assert found["uncertainty"].to_list() == pytest.approx([0.6, 0.9, 0.4, 0.8, 0.7, 0.95])
    assert found["doubts"].to_list() == [["flicker"]] * 6
    some = routed(frames, none, RouteParams(threshold=0.5, budget_person=1, budget_vlm=1, budget_larger=2))
    assert some["route"].to_list() == ["over_budget", "vlm", "fine", "larger", "larger", "person"]
    both = routed(frames.with_columns(low_margin=pl.lit(0.5)), none, RouteParams())
    assert both["doubts"][2].to_list() == ["low_margin", "flicker"]


def test_reviewed_frames_use_no_budget() -> None:
    frames = uncertain(0.6, 0.9, 0.4, 0.8, 0.7, 0.95)
    one = RouteParams(threshold=0.5, budget_person=2, budget_vlm=1)
    routes = [["over_budget", "person", "fine", "vlm", "over_budget", "person"]]
    seen = frames.clear()
    for _ in range(3):
        asked = routed(frames, seen, one)
        routes.append(asked["route"].to_list())
        seen = pl.concat([seen, asked.filter(route="person").select(seen.columns)])
    assert routes[1:] == [
        routes[0],
        ["vlm", "reviewed", "fine", "person", "person", "reviewed"],
        ["person", "reviewed", "fine", "reviewed", "reviewed", "reviewed"],
    ]
    # A frame of low uncertainty that was reviewed counts as reviewed.
    assert routed(frames, frames, one)["route"].unique().to_list() == ["reviewed"]


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 0.7, 0.95]), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_frames_does_not_matter(values: list[float], chance: Any) -> None:
    frames = uncertain(*values)
    order = list(range(len(values)))
    chance.shuffle(order)
    params = RouteParams(threshold=0.45, budget_person=3, budget_vlm=4)
    seen = frames.filter(pl.col("frame_idx") % 7 == 6)
    one, other = routed(frames, seen, params), routed(frames[order], seen, params)
    assert one.sort("frame_idx").equals(other.sort("frame_idx"))
    assert one.filter(route="person").height == min(3, sum(v >= 0.5 and at % 7 != 6 for at, v in enumerate(values)))


def test_no_object_is_matched_twice() -> None:
    crowd = found(PERSON, (11, 10, 20, 40), (12, 10, 20, 40))
    assert sorted(matches(crowd, crowd, 0.5)) == [(0, 0), (1, 1), (2, 2)]
    assert matches(crowd, found(PERSON), 0.5) == [(0, 0)]


def test_expected_errors_grow_with_every_weak_object() -> None:
    assert expected_errors(np.array([1.0, 0.25, 0.625]), 0.25) == pytest.approx(0 + 1 + 0.25)
    assert expected_errors(np.array([]), 0.25) == 0
    assert expected_errors(np.array([1.0]), 1.0) == 0
    course = objects(*((0, 100.0 * n, 0.4) for n in range(40)), *((1, 100.0 * n, 0.4) for n in range(80)))
    few, many = routed(keyed(doubts_of([0, 1], 9, course, None, RouteParams(), 0.25)), NOTHING, RouteParams())[
        "uncertainty"
    ]
    # A crowd is not as uncertain as a larger one, where a share of it would be.
    assert 0.9 < few < many < 1


def test_each_measure_is_expected_to_be_errors() -> None:
    still = objects(*((n, 10.0, 1.0) for n in (0, 2)), (1, 10.0, 1.0), (1, 200.0, 1.0))
    alone = doubts_of([0, 1, 2], 1, still, None, RouteParams(), 0.25)
    assert alone["expected_errors"].to_list() == [0, 2, 0]
    other = doubts_of([0, 1, 2], 1, objects((0, 10.0, 0.5)), objects((0, 500.0, 0.75)), RouteParams(), 0.25)
    assert other["expected_errors"].to_list() == pytest.approx([(0.5 / 0.75) ** 2 + 0.5 + 0.75, 0, 0])


NOTHING = pl.DataFrame(schema={"stream_id": pl.String, "frame_idx": pl.Int64})


def keyed(doubts: pl.DataFrame) -> pl.DataFrame:
    return doubts.with_columns(stream_id=pl.lit("a"))


def asked(frames: pl.DataFrame, **params: Any) -> list[int]:
    found = routed(frames, NOTHING, RouteParams(**params)).filter(route="person")
    return sorted(found["frame_idx"].to_list())


def test_people_are_asked_about_kept_frames_first() -> None:
    frames = uncertain(0.9, 0.5, 0.8, 0.7).with_columns(keep=pl.Series([False, True, None, True]))
    assert asked(frames, budget_person=2) == [1, 3]
    assert asked(frames, budget_person=3) == [0, 1, 3]
    # Models are not: what is left goes by uncertainty.
    routes = routed(frames, NOTHING, RouteParams(budget_person=1, budget_vlm=1))["route"].to_list()
    assert routes == ["vlm", "over_budget", "over_budget", "person"]


def test_people_are_not_asked_twice_about_the_same() -> None:
    frames = uncertain(0.9, 0.95, 0.8, 0.7, 0.6)
    assert asked(frames.with_columns(group_id=pl.Series(["a", "b", "a", None, "b"]))) == [0, 1, 3]
    grouped = frames.with_columns(group_id=pl.Series(["a", "b", "a", None, "b"]))
    after = routed(grouped, frames.filter(frame_idx=1), RouteParams())["route"].to_list()
    assert after == ["person", "reviewed", "over_budget", "person", "over_budget"]
    second = frames.with_columns(second=pl.Series([0.0, 0.9, 1.8, 2.5, 9.0]))
    assert asked(second) == [1, 3, 4]
    assert asked(second, spread=0.5) == [0, 1, 2, 3, 4]
    assert asked(second, spread=2.0) == [1, 4]
    assert asked(second, spread=0.0) == [0, 1, 2, 3, 4]
    cameras = second.with_columns(stream_id=pl.Series(["a", "b", "a", "b", "a"]), second=pl.lit(3.0))
    assert asked(cameras) == [0, 1]


@pytest.mark.parametrize(("n_objects", "rate"), [(1, 0.01), (4, 0.03), (12, 0.03)])
def test_the_most_uncertain_frames_have_the_errors(n_objects: int, rate: float) -> None:
    """Of a stream of known objects with a detector that misses, invents and confuses some, by shares of its frames."""
    found, errors = simulated(1, 780, n_objects, rate)
    doubts = doubts_of(range(len(errors)), 1, found, None, RouteParams(), 0.25)
    is_wrong = errors > 0
    first = np.argsort(-doubts["expected_errors"].to_numpy(), kind="stable")[: len(errors) // 5]
    most = min(1 / is_wrong.mean(), 5)
    assert is_wrong[first].mean() / is_wrong.mean() >= max(1.6, 0.85 * most)
    assert errors[first].sum() / errors.sum() >= 1.6 / 5
    assert found["score"].to_numpy().min() >= 0.25


def simulated(seed: int, n: int, n_objects: int, rate: float) -> tuple[pl.DataFrame, np.ndarray[Any, Any]]:
    """Return detections on n frames with so many objects each, and the number of errors on each frame."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    errors = np.zeros(n, np.int64)
    there: list[list[tuple[float, float, str]]] = [[] for _ in range(n)]
    for _ in range(n * n_objects // 60):
        start, length = int(rng.integers(-40, n)), int(rng.integers(20, 100))
        (x, y), speed, kind = rng.uniform(0, 900, 2), rng.uniform(-3, 3), str(rng.choice(["car", "bus", "person"]))
        for number in range(max(start, 0), min(start + length, n)):
            there[number].append((x + speed * (number - start), y, kind))
    for number in range(n):
        for x, y, kind in there[number]:
            chance, score = rng.uniform(), max(0.25, rng.beta(9, 2))
            errors[number] += chance < 1.5 * rate
            if chance >= rate:
                is_wrong = chance < 1.5 * rate
                score = max(0.25, rng.beta(4, 4)) if is_wrong else score
                at = (x + rng.normal(0, 1), y + rng.normal(0, 1))
                rows.append((number, "truck" if is_wrong else kind, score, *at, 60.0, 40.0, None))
        if rng.uniform() < 2 * rate:
            rows.append((number, "car", max(0.25, rng.beta(3, 5)), *rng.uniform(0, 900, 2), 60.0, 40.0, None))
            errors[number] += 1
    types = [pl.Int64, pl.String, *[pl.Float64] * 5, pl.Int64]
    return pl.DataFrame(rows, schema=dict(zip(OBJECT_COLUMNS, types, strict=True)), orient="row"), errors
