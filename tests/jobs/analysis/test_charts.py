from __future__ import annotations

import re

import numpy as np
import pytest

from jobs.analysis import charts
from jobs.analysis.chart_axes import Limit


def test_a_histogram_without_values_says_so() -> None:
    assert "nothing measured" in charts.histogram(np.array([np.nan, np.nan]), "t", ())
    assert "<rect" in charts.histogram(np.full(5, 3.0), "t", (Limit(1.0),))


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("unit", [1.0, 20_000.0])
def test_scores_of_every_size_are_spread_over_the_chart(log: bool, unit: float) -> None:
    values = np.repeat([0.01, 0.03, 0.06, 0.2, 0.5], 4) * unit
    drawn = charts.histogram(values, "t", (Limit(0.08 * unit, "blurry below"),), log)
    bars = [float(x) for x in re.findall(r"class='bar' x='([\d.]+)'", drawn)]
    assert len(bars) == 5
    (limit,) = (float(x) for x in re.findall(r"class='limit' x1='([\d.]+)'", drawn))
    # Three of the five are below it, and are drawn to the left of it.
    assert sum(x < limit for x in bars) == 3
    assert 34 < limit < 290
    assert f">blurry below {0.08 * unit:g}".replace("1600", "1.6k") in drawn


def test_a_score_of_zero_does_not_compress_the_scale() -> None:
    values = np.array([0.0, 1e-9, 1.0, 10.0, 100.0])
    bars = re.findall(r"class='bar' x='([\d.]+)'", charts.histogram(values, "t", (), log=True))
    assert [float(x) for x in bars] == pytest.approx([34, 162, 226, 283.6], abs=8)
    assert "class='bar'" in charts.histogram(np.zeros(3), "t", (), log=True)


def test_an_axis_with_bounds_shows_all_that_there_may_be() -> None:
    drawn = charts.histogram(
        np.array([32.0, 225.0]), "luma mean, 0 to 255", (Limit(32.0, "dark below"),), bounds=(0, 255)
    )
    assert re.findall(r"<text class='axis(?: end| middle)?' x='[\d.]+' y='\d+'>([\d.]+)<", drawn)[:3] == [
        "0",
        "128",
        "255",
    ]


def test_names_of_limits_are_above_the_bars() -> None:
    limits = [Limit(1.0, "one"), Limit(2.0, "two"), Limit(3.0, "three")]
    drawn = charts.histogram(np.linspace(0, 4, 100), "t", limits)
    names = [float(y) for y in re.findall(r"of-limit' x='[\d.]+' y='([\d.]+)'", drawn)]
    bars = [float(y) for y in re.findall(r"class='bar'[^>]* y='([\d.]+)'", drawn)]
    assert len(names) == 3
    assert max(names) < min(bars)


def test_a_matrix_has_a_number_in_every_cell_and_sums() -> None:
    drawn = charts.matrix(np.array([[5, 0], [1234, 0]]), ["<cat>", "background"], "t", "ground truth", "detected")
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in drawn.split("<tr")[2:]]
    assert rows == [["5", "0", "5"], ["1,234", "0", "1,234"], ["1,239", "0", ""]]
    assert "&lt;cat&gt;</th>" in drawn
    assert "<th scope='row'>background</th>" in drawn
    assert "ground truth ↓ detected →" in drawn
