from __future__ import annotations

import re

import numpy as np
import pytest

from jobs.analysis.chart_axes import FrameAxis, Limit, Scale, time_text
from jobs.analysis.timelines import scene_strip, timeline, verdict_strip

SECOND = 1_000_000_000


def numbered(n: int) -> tuple[FrameAxis, np.ndarray]:
    return FrameAxis.of(np.arange(n), []), np.arange(n)


def test_long_timelines_keep_every_spike() -> None:
    values = np.zeros(50_000)
    values[31_234] = 1.0
    drawn = timeline(*numbered(50_000), values, "t")
    points = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", drawn)]
    assert len(points) < 2000
    assert min(points) == pytest.approx(0, abs=0.1)


def test_lines_break_at_unknown_values_and_at_gaps() -> None:
    values = np.array([1.0, 2.0, np.nan, 3.0, 4.0])
    drawn = timeline(*numbered(5), values, "t")
    assert re.search(r"class='line' d='([^']*)'", drawn)[1].count("M") == 2  # type: ignore[index]
    index = np.array([0, 1, 8, 9])
    drawn = timeline(FrameAxis.of(index, [(2, 7)]), index, np.arange(4.0), "t", gaps=[(2, 7)])
    assert re.search(r"class='line' d='([^']*)'", drawn)[1].count("M") == 2  # type: ignore[index]


def test_a_timeline_without_values_says_so() -> None:
    assert "nothing measured" in timeline(*numbered(2), np.array([np.nan, np.nan]), "t")


@pytest.mark.parametrize("log", [True, False])
def test_scores_of_every_size_are_spread_over_the_chart(log: bool) -> None:
    values = np.repeat([0.01, 0.03, 0.06, 0.2, 0.5], 4)
    line = timeline(*numbered(20), values, "t", limits=(Limit(0.08, "blurry below"),), log=log)
    assert len(set(re.findall(r"[ML][\d.]+ ([\d.]+)", line))) == 5
    assert ">blurry below 0.08</span>" in line


def test_a_strip_has_no_slits_where_there_are_no_gaps() -> None:
    for n in range(1, 480):
        axis, _ = numbered(n)
        (dropped,) = re.findall(r"<rect class='drop' x='(\d+)' width='(\d+)'", verdict_strip(axis, np.zeros(n)))
        assert dropped == ("0", str(n))
        alternating = np.arange(n) % 2
        kept = re.findall(r"<rect class='keep' x='(\d+)' width='(\d+)'", verdict_strip(axis, alternating))
        assert kept == [(str(at), "1") for at in range(1, n, 2)]


@pytest.mark.parametrize("n", [481, 1000, 12_345])
def test_a_strip_of_many_frames_has_no_slits(n: int) -> None:
    axis, _ = numbered(n)
    assert re.findall(r"class='drop' x='(\d+)' width='(\d+)'", verdict_strip(axis, np.ones(n))) == [("0", "480")]


def test_a_strip_is_empty_in_gaps_alone() -> None:
    # Every fourth number, of which ten frames are missing in the middle.
    index = np.concatenate([np.arange(0, 400, 4), np.arange(440, 800, 4)])
    axis = FrameAxis.of(index, [(400, 439)])
    drawn = re.findall(r"class='drop' x='(\d+)' width='(\d+)'", verdict_strip(axis, np.zeros(len(index))))
    assert [int(x) for x, _ in drawn] == [0, pytest.approx(440 / 800 * 190, abs=1)]
    assert int(drawn[0][1]) == pytest.approx(400 / 800 * 190, abs=1)


def test_axes_by_number_and_by_time_have_round_labels() -> None:
    axis, _ = numbered(480)
    assert [(tick.text, round(tick.share, 4)) for tick in axis.ticks] == [
        (str(at), round(at / 480, 4)) for at in (0, 100, 200, 300, 400)
    ]
    start = 1_705_314_640 * SECOND
    by_time = FrameAxis.of(np.arange(120), [], start + np.arange(120) * SECOND)
    assert [tick.text for tick in by_time.ticks] == ["10:31:00", "10:31:30", "10:32:00", "10:32:30"]
    in_clip = FrameAxis.of(np.arange(250), [], np.arange(250) * SECOND // 25)
    assert [tick.text for tick in in_clip.ticks] == ["0:00:00", "0:00:02", "0:00:04", "0:00:06", "0:00:08", "0:00:10"]
    assert time_text(start) == "2024-01-15 10:30:40"


def test_by_time_a_pause_is_as_wide_as_it_was_long() -> None:
    index = np.arange(6)
    times = np.array([0, 1, 2, 3, 34, 35]) * SECOND
    axis = FrameAxis.of(index, [], times)
    assert axis.range_of(index, 4, 5) == pytest.approx((34 / 36, 1.0))
    assert axis.range_of(index, 0, 3) == pytest.approx((0.0, 34 / 36))
    gap = FrameAxis.of(np.array([0, 1, 2, 3, 34, 35]), [(4, 33)])
    assert gap.range_of(np.array([0, 1, 2, 3, 34, 35]), 4, 33) == pytest.approx((4 / 36, 34 / 36))


def test_a_scale_ends_at_round_numbers_or_at_its_bounds() -> None:
    assert Scale.of(np.array([32.0, 225.0]), [], bounds=(0, 255))[:2] == (0, 255)
    assert Scale.of(np.array([0.011, 0.17]), [Limit(0.03)])[:2] == (0.0, 0.2)
    assert Scale.of(np.array([0.011, 0.17]), [], log=True)[:2] == (0.01, 0.2)
    assert [tick.text for tick in Scale(0.005, 1.0, True).ticks] == ["0.005", "0.1", "1"]
    assert [tick.text for tick in Scale(0, 255, False).ticks] == ["0", "128", "255"]


def test_scenes_are_drawn_one_after_the_other() -> None:
    axis, index = numbered(100)
    drawn = scene_strip(axis, index, [(0, 0, 39, "start"), (1, 40, 99, "cut")])
    found = re.findall(r"class='(scene[^']*)' x='([\d.]+)' width='([\d.]+)'", drawn)
    assert found == [("scene", "0.00", "400.00"), ("scene other", "400.00", "600.00")]
    assert "<title>scene 1: 40 to 99, begins with a cut</title>" in drawn
