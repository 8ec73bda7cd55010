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
    disagreement,
    doubts_of,
    flicker,
    low_margin,
    matches,
    routed,
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
    assert disagreement(both, found((12, 11, 20, 40), score=0.5), 0.5) == 0
    assert disagreement(both, NO_OBJECTS, 0.5) == 1
    assert disagreement(NO_OBJECTS, NO_OBJECTS, 0.5) == 0
    assert disagreement(both, more, 0.5) == pytest.approx(0.3 / 1.5)
    assert disagreement(both, found(PERSON, kind="dog"), 0.5) == 1


def test_flicker_counts_objects_that_appear_or_vanish_for_one_frame() -> None:
    here, near, far = found(PERSON), found((14, 10, 20, 40)), found((200, 10, 20, 40))
    assert flicker(here, near, here) == 0
    assert flicker(here, NO_OBJECTS, near) == 1
    assert flicker(NO_OBJECTS, here, NO_OBJECTS) == 1
    assert flicker(here, found(PERSON, (100, 50, 9, 9)), here) == 0.5
    # Objects that appear, disappear or move too fast to match are no flicker.
    assert flicker(NO_OBJECTS, here, near) == 0
    assert flicker(here, far, found((300, 10, 20, 40))) == 0
    # Track ids decide which objects are the same, if there are any.
    assert flicker(found(PERSON, tracks=[7]), NO_OBJECTS, found((300, 10, 20, 40), tracks=[7])) == 1
    assert flicker(found(PERSON, tracks=[7]), NO_OBJECTS, found(PERSON, tracks=[8])) == 0


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
    return pl.DataFrame({"stream_id": ["a"] * n, "frame_idx": range(n), **zeros, "flicker": list(uncertainties)})


def test_budgets_go_to_the_most_uncertain() -> None:
    frames = uncertain(0.6, 0.9, 0.4, 0.8, 0.7, 1.0)
    none = frames.clear()
    found = routed(frames, none, RouteParams(budget_person=2, budget_vlm=2))
    assert found["route"].to_list() == ["over_budget", "person", "fine", "vlm", "vlm", "person"]
    assert found["uncertainty"].to_list() == pytest.approx([0.6, 0.9, 0.4, 0.8, 0.7, 1.0])
    assert found["doubts"].to_list() == [["flicker"]] * 6
    some = routed(frames, none, RouteParams(budget_person=1, budget_vlm=1, budget_larger=2))
    assert some["route"].to_list() == ["over_budget", "vlm", "fine", "larger", "larger", "person"]
    both = routed(frames.with_columns(low_margin=pl.lit(0.5)), none, RouteParams())
    assert both["uncertainty"][0] == pytest.approx(0.8)
    assert both["doubts"][2].to_list() == ["low_margin", "flicker"]


def test_reviewed_frames_use_no_budget() -> None:
    frames = uncertain(0.6, 0.9, 0.4, 0.8, 0.7, 1.0)
    one = RouteParams(budget_person=2, budget_vlm=1)
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
@given(st.lists(st.sampled_from([0.0, 0.5, 0.7, 1.0]), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_frames_does_not_matter(values: list[float], chance: Any) -> None:
    frames = uncertain(*values)
    order = list(range(len(values)))
    chance.shuffle(order)
    params = RouteParams(budget_person=3, budget_vlm=4)
    seen = frames.filter(pl.col("frame_idx") % 7 == 6)
    one, other = routed(frames, seen, params), routed(frames[order], seen, params)
    assert one.sort("frame_idx").equals(other.sort("frame_idx"))
    assert one.filter(route="person").height == min(3, sum(v >= 0.5 and at % 7 != 6 for at, v in enumerate(values)))


def test_no_object_is_matched_twice() -> None:
    crowd = found(PERSON, (11, 10, 20, 40), (12, 10, 20, 40))
    assert sorted(matches(crowd, crowd, 0.5)) == [(0, 0), (1, 1), (2, 2)]
    assert matches(crowd, found(PERSON), 0.5) == [(0, 0)]
