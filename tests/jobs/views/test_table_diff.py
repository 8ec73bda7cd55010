from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

import schemas
from jobs.views.table_diff import between


def quality(*scores: float | None) -> pl.DataFrame:
    rows = [{"stream_id": "a", "frame_idx": n, "sharpness": s} for n, s in enumerate(scores)]
    return pl.DataFrame(rows, schema={"stream_id": pl.String, "frame_idx": pl.Int64, "sharpness": pl.Float32})


def verdicts(**reasons: list[str]) -> pl.DataFrame:
    rows = [
        {"stream_id": "a", "frame_idx": int(n[1:]), "keep": not r, "reasons": r} for n, r in sorted(reasons.items())
    ]
    return pl.DataFrame(rows, schema_overrides={"reasons": pl.List(pl.String)})


def groups(names: list[str]) -> pl.DataFrame:
    rows = [{"stream_id": "a", "frame_idx": n, "group_id": name} for n, name in enumerate(names)]
    return pl.DataFrame(rows, schema={"stream_id": pl.String, "frame_idx": pl.Int64, "group_id": pl.String})


def test_scores_may_differ_by_a_tolerance_but_not_be_missing() -> None:
    one, other = quality(1.0, 2.0, 3.0, None), quality(1.0, 2.05, 3.5, 1.0)
    exact = between(schemas.QUALITY, one, other)
    assert (exact.n_differing, exact.changed, exact.columns) == (3, 3, {"sharpness": 3})
    assert between(schemas.QUALITY, one, other, tolerance=0.1).changed == 2
    loose = between(schemas.QUALITY, one, other, tolerance=1)
    assert loose.changed == 1
    assert loose.examples == [{"stream_id": "a", "frame_idx": 3, "changed": {"sharpness": [None, 1.0]}}]


def test_rows_in_one_only_are_distinguished() -> None:
    found = between(schemas.QUALITY, quality(1, 2, 3), quality(1, 2))
    assert (found.n_before, found.n_after, found.added, found.gone, found.changed) == (3, 2, 0, 1, 0)
    assert found.examples == [{"stream_id": "a", "frame_idx": 2, "only": "before"}]


def test_frames_that_changed_sides_are_counted_by_reason() -> None:
    before = verdicts(f0=[], f1=["dark"], f2=["dark", "blurry"], f3=[], f4=["idle"])
    after = verdicts(f0=["blurry"], f1=[], f2=["dark"], f3=[], f4=["idle"])
    found = between(schemas.CURATION, before, after)
    assert (found.changed, found.columns) == (3, {"keep": 2, "reasons": 3})
    assert found.verdicts == {"newly_dropped": {"frames": 1, "blurry": 1}, "newly_kept": {"frames": 1, "dark": 1}}


def test_intervals_are_what_they_span() -> None:
    schema = {"stream_id": pl.String, "scene_idx": pl.Int64, "start_idx": pl.Int64, "end_idx": pl.Int64}

    def scenes(*spans: tuple[int, int]) -> pl.DataFrame:
        rows = [("a", n, *span) for n, span in enumerate(spans)]
        return pl.DataFrame(rows, schema=schema, orient="row")

    found = between(schemas.SCENES, scenes((0, 9), (10, 19), (20, 29)), scenes((0, 19), (20, 29)))
    assert (found.gone, found.added, found.changed) == (2, 1, 0)


def test_groups_are_compared_by_members_not_by_ids() -> None:
    before = groups(["x", "x", "y", "z", "z"])
    assert between(schemas.DUPLICATES, before, groups(["p", "p", "q", "r", "r"])).n_differing == 0
    found = between(schemas.DUPLICATES, before, groups(["x", "x", "x", "z", "z"]))
    assert (found.changed, found.columns) == (3, {"group_id": 3})
    # The same names for other groups are no likeness.
    assert between(schemas.DUPLICATES, groups(["x", "y", "y"]), groups(["x", "x", "y"])).changed == 3


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_a_frame_differs_just_if_its_group_has_other_members(one: list[int], other: list[int]) -> None:
    n = min(len(one), len(other))
    one, other = one[:n], other[:n]

    def members(names: list[Any], frame: int) -> set[int]:
        return {at for at, name in enumerate(names) if name == names[frame]}

    expected = sum(members(one, frame) != members(other, frame) for frame in range(n))
    found = between(schemas.DUPLICATES, groups([f"a{g}" for g in one]), groups([f"b{g}" for g in other]))
    assert found.changed == expected
