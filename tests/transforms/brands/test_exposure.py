"""Appearances and exposure with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

from tests.sign_faces import lettered
from transforms.brands.crops import sketch_of
from transforms.brands.exposure import ExposureParams, exposures, union
from transforms.brands.looks import Looks, unit_sketches
from transforms.brands.placement import placements
from transforms.brands.regions import RegionParams, choose_read, follow_lines
from transforms.brands.text_lines import EdgeParams, find_lines
from transforms.brands.vote import VoteParams, appearances, frame_seconds


def appearance(brand: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    """Return a row of `appearances`."""
    row = {"brand": brand, "start_s": start, "end_s": end, "state": "resolved", "confidence": 0.9, "centre": 0.0}
    return {**row, "mean_share": 0.01, "max_share": 0.02, "height_px": 30.0, **more}


def test_seconds_are_counted_as_defined() -> None:
    rows = [
        appearance("A", 0, 4, mean_share=0.02),
        appearance("A", 2, 6),
        appearance("A", 6.5, 7),
        appearance("A", 20, 20.3),
        appearance("B", 5, 9),
        appearance("B", 30, 31, state="unresolved"),
    ]
    a, b = exposures(rows, ExposureParams())
    assert (a["visible_s"], a["gross_s"], a["hits"]) == pytest.approx((6.8, 8.8, 1))
    # Of A, 0 to 5 and 20 to 20.3 are without B.
    assert a["solus_s"] == pytest.approx(5.3)
    assert (b["visible_s"], b["high_s"]) == pytest.approx((4, 5))
    assert b["solus_s"] == pytest.approx(4 - 1 - 0.5)
    assert a["share_of_voice"] == pytest.approx(6.8 / 10.8)
    assert a["mean_share"] == pytest.approx((4 * 0.02 + 4.8 * 0.01) / 8.8)
    assert a["weighted_s"] == pytest.approx(a["gross_s"])


def test_weights_change_weighted_seconds_alone() -> None:
    rows = [appearance("A", 0, 10, centre=0.5)]
    plain, weighted = (exposures(rows, params)[0] for params in (ExposureParams(), ExposureParams(weight_centre=3.0)))
    assert weighted["weighted_s"] == pytest.approx(20)
    assert {**plain, "weighted_s": 0} == {**weighted, "weighted_s": 0}


def test_intervals_closer_than_the_gap_are_one() -> None:
    assert union([(0, 1), (1.5, 2), (3.5, 4)], 1.0) == [(0, 2), (3.5, 4)]


def test_times_of_frames() -> None:
    frames = pl.DataFrame({"frame_idx": [0, 5, 10, 40], "time_ns": [0, 200_000_000, 400_000_000, 1_600_000_000]})
    found = frame_seconds(frames.with_columns(t_ns=pl.lit(None, pl.Int64)), 25)
    assert found[5] == pytest.approx((0.2, 0.4))
    # Across a gap a frame lasts twice as long as others at most.
    assert found[10] == pytest.approx((0.4, 0.8))
    assert found[40] == pytest.approx((1.6, 1.8))


def looks(frames: list[int], at: list[tuple[float, float]], kinds: list[int], scene: list[int] | None = None) -> Looks:
    """Return lines 60 x 20 pixels large at these places, of looks by number."""
    random = np.random.default_rng(0).integers(0, 256, (10, 576)).astype(np.uint8)
    quads = np.array([[(x, y), (x + 60, y), (x + 60, y + 20), (x, y + 20)] for x, y in at], np.float32)
    n = len(frames)
    one = np.ones(n, np.float32)
    order = np.unique(frames, return_inverse=True)[1].astype(np.int64)
    return Looks(
        np.array(frames),
        order,
        np.array(scene or [0] * n),
        quads,
        unit_sketches(random[kinds]),
        np.tile(np.array([[1280.0, 720.0]], np.float32), (n, 1)),
        one,
        one * 100,
        one * 50,
        np.array(["line"] * n, "<U6"),
    )


def test_tracks_follow_a_panning_camera_and_end_with_their_scene() -> None:
    frames = [0, 0, 1, 1, 2, 2, 3]
    at = [(100.0, 50.0), (300.0, 50.0), (180.0, 50.0), (380.0, 50.0), (260.0, 50.0), (460.0, 50.0), (260.0, 50.0)]
    found = follow_lines(looks(frames, at, [0, 1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0, 1]), RegionParams())
    assert found.tolist() == [0, 1, 0, 1, 0, 1, 2]


def test_look_alikes_of_a_track_share_a_reading() -> None:
    given = looks([0, 1, 2, 3, 4], [(100.0, 50.0)] * 5, [0, 0, 0, 1, 1])
    given.sharpness[1] = 900
    chosen = choose_read(given, np.zeros(5, np.int64), RegionParams())
    assert chosen.tolist() == [1, 1, 1, 3, 3]
    # What is seen once is not read.
    assert choose_read(given, np.arange(5), RegionParams()).tolist() == [-1] * 5


def regions_of(n: int, track: int = 0) -> pl.DataFrame:
    """Return rows of `regions` of one thing on frames 0 to n - 1, each with a reading of its own."""
    names = [f"{track}:{at}" for at in range(n)]
    corners = {name: [500.0] * n for name in ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")}
    fixed = {"placement": "board", "scene_idx": 0, "track_id": track, "height_px": 30.0, "area_share": 0.01}
    rows = {"region_id": names, "read_as": names, "frame_idx": range(n), **corners}
    return pl.DataFrame(rows).with_columns(
        **{k: pl.lit(v) for k, v in fixed.items()}, sharpness=pl.lit(100.0), width=pl.lit(1280), height=pl.lit(720)
    )


def mentions_for(brands: Sequence[str | None], **more: Any) -> pl.DataFrame:
    """Return rows of `mentions`, one per frame; None is a reading that names no brand."""
    rows = [
        {
            "region_id": f"0:{at}",
            "brand": brand,
            "how": "name" if brand else "none",
            "state": "resolved" if brand else "none",
            "score": 0.9,
            "runner_up": None,
            "begins": 0.0,
            "ends": 1.0,
            "tall": 1.0,
            "part": 1.0,
            "text": brand or "",
            **more,
        }
        for at, brand in enumerate(brands)
    ]
    return pl.DataFrame(rows, schema_overrides={"brand": pl.String, "runner_up": pl.String})


SECONDS = {n: (n * 0.5, n * 0.5 + 0.5) for n in range(20)}


def test_a_board_that_changes_its_brand_has_two_appearances() -> None:
    found = appearances(regions_of(8), mentions_for(["A"] * 4 + ["B"] * 4), SECONDS, VoteParams())
    spans = [(row["brand"], row["start_s"], row["end_s"]) for row in found]
    assert spans == [("A", 0.0, 2.0), ("B", 2.0, 4.0)]


def test_readings_that_fail_in_between_are_filled() -> None:
    found = appearances(regions_of(6), mentions_for(["A", None, None, "A", "A", "A"]), SECONDS, VoteParams())
    assert [(row["start_s"], row["end_s"], row["n_frames"]) for row in found] == [(0.0, 3.0, 6)]
    apart = appearances(regions_of(6), mentions_for(["A", None, None, None, "A", "A"]), SECONDS, VoteParams())
    assert [(row["start_s"], row["end_s"]) for row in apart] == [(0.0, 0.5), (2.0, 3.0)]


def test_a_name_that_was_read_clearly_outvotes_the_brand_that_it_is_near_to() -> None:
    unclear = mentions_for(["A"] * 2, state="unresolved", how="fuzzy", score=0.5)
    clear = mentions_for([None] * 4, runner_up="A").filter(pl.col("region_id").is_in(["0:2", "0:3"]))
    assert appearances(regions_of(4), pl.concat([unclear, clear]), SECONDS, VoteParams()) == []
    alone = appearances(regions_of(4), unclear, SECONDS, VoteParams())
    assert [row["state"] for row in alone] == ["unresolved"]


def test_a_logo_counts_by_its_own_size() -> None:
    logo = mentions_for(["A"] * 4, how="logo", tall=0.6, part=0.4)
    (found,) = appearances(regions_of(4), logo, SECONDS, VoteParams())
    assert (found["how"], found["height_px"]) == ("logo", pytest.approx(18.0))
    assert found["mean_share"] == pytest.approx(0.004)
    # Of 30 pixels of the region, the logo has 12: less than the 14 from which on it counts.
    assert appearances(regions_of(4), mentions_for(["A"] * 4, how="logo", tall=0.4), SECONDS, VoteParams()) == []


def test_a_line_and_an_emblem_in_one_place_are_two_tracks() -> None:
    given = looks([0, 0, 1, 1], [(100.0, 50.0)] * 4, [0, 0, 0, 0])
    given.kind[:] = ["line", "emblem"] * 2
    assert follow_lines(given, RegionParams()).tolist() == [0, 1, 0, 1]


def test_a_logo_in_two_regions_counts_once() -> None:
    both = pl.concat([regions_of(4), regions_of(4, track=1).with_columns(x1=pl.lit(508.0), x2=pl.lit(508.0))])
    first = mentions_for(["A"] * 4, how="logo")
    second = mentions_for(["A"] * 3 + [None], how="logo").with_columns(region_id=pl.format("1:{}", pl.int_range(4)))
    found = appearances(both, pl.concat([first, second]), SECONDS, VoteParams())
    assert [(row["track_id"], row["n_frames"]) for row in found] == [(0, 4)]
    corners = {name: pl.lit(700.0) for name in ("x1", "x2", "x3", "x4")}
    apart = pl.concat([regions_of(4), regions_of(4, track=1).with_columns(**corners)])
    assert len(appearances(apart, pl.concat([first, second]), SECONDS, VoteParams())) == 2


def test_a_sign_that_comes_back_is_read_once_and_a_name_a_letter_away_is_not_it() -> None:
    given = looks([0, 1, 5, 6, 10, 11], [(100.0, 50.0)] * 6, [0, 0, 0, 0, 1, 1])
    given.sharpness[3] = 900
    tracks = np.array([0, 0, 1, 1, 2, 2])
    assert choose_read(given, tracks, RegionParams()).tolist() == [3, 3, 3, 3, 4, 4]
    # Of another size it is read again.
    given.heights[:2] = 40
    assert choose_read(given, tracks, RegionParams()).tolist() == [0, 0, 3, 3, 4, 4]
    made = []
    for name in ("NORDVIG", "NORDVIK"):
        face, _ = lettered(name, 1, (480, 120), (30, 30, 30), (230, 230, 230))
        gray = np.asarray(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), np.uint8)
        quad = find_lines(gray, EdgeParams()).quads[0]
        made.append(sketch_of(gray, quad).ravel())
    one, other = unit_sketches(np.stack(made))
    assert float(one @ other) < RegionParams().again


def test_a_graphic_stays_with_its_look_and_a_board_that_passes_is_none() -> None:
    # A score bug on six frames of three scenes, and a board that moves over its place in the second one.
    frames = [0, 1, 2, 3, 4, 5, 2, 3]
    at = [(50.0, 30.0)] * 6 + [(40.0, 30.0), (70.0, 30.0)]
    order = np.argsort(frames, kind="stable")
    scene = np.array([0, 0, 1, 1, 2, 2, 1, 1])[order]
    given = looks([frames[i] for i in order], [at[i] for i in order], [0] * 8, scene.tolist())
    tracks = np.array([0, 0, 1, 1, 2, 2, 3, 3])[order]
    given.sketches[:] = given.sketches[0]
    given.sketches[tracks == 3] = looks([0], [(0.0, 0.0)], [1]).sketches[0]
    found = placements(given, tracks, {})
    assert set(found[tracks != 3]) == {"graphic"}
    assert set(found[tracks == 3]) == {"other"}


def test_what_a_person_wears_is_on_a_kit() -> None:
    given = looks([0, 0, 1, 1], [(100.0, 50.0), (400.0, 50.0)] * 2, [0, 1, 0, 1])
    tracks = np.array([0, 1, 0, 1])
    person = np.array([[90, 20, 80, 200]], np.float32)
    assert placements(given, tracks, {}, {0: person, 1: person}).tolist() == ["kit", "other"] * 2
    # Below the waist, or behind somebody who is narrower than the sign, it is not.
    for box in ([90, -200, 80, 270], [120, 20, 20, 200]):
        assert placements(given, tracks, {}, dict.fromkeys((0, 1), np.array([box], np.float32)))[0] == "other"
    # A person who walks past for one of two frames wears no board.
    assert placements(given, tracks, {}, {0: person})[0] == "other"
