from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from jobs.analysis import charts
from jobs.analysis.charts import Limit
from jobs.analysis.report import render
from jobs.engine.ray_engine import Engine
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import SMALL, go, write_noise_stream


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, engine: Engine) -> str:
    workspace = Workspace.at(tmp_path_factory.mktemp("report") / "tables")
    go(workspace, sample_folder)
    return render(workspace)


def test_the_report_needs_no_network(page: str) -> None:
    assert re.findall(r"(?:src|href)=['\"](?!data:)[^'\"]*", page) == []
    assert "http" not in re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]*", "", page)
    assert "<script" not in page


def test_every_reason_has_its_sheet(page: str) -> None:
    for reason in ("corrupt", "blurry", "dark", "overexposed", "idle", "exact_duplicate", "near_duplicate"):
        assert f"<h3>{reason}: " in page
    assert f"<h3>dark: {len(SMALL.planted.dark)}</h3>" in page
    assert "cannot be shown" in page


def test_timelines_show_idle_intervals_gaps_and_thresholds(page: str) -> None:
    first, last = SMALL.planted.idle[0]
    assert f"<title>idle: {first} to {last}</title>" in page
    start, end = SMALL.planted.gaps[0]
    assert f"<title>gap: {start} to {end}</title>" in page
    assert page.count("class='limit'") >= 8


def test_streams_with_another_blur_method_are_shown_separately(tmp_path: Path, engine: Engine) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, write_noise_stream(tmp_path / "new", range(4)))
    go(workspace, write_noise_stream(tmp_path / "old", range(9, 13)), settings=["blur.method=laplacian_var"])
    page = render(workspace)
    assert "new: A frame is blurry if its sharpness (acutance) is below" in page
    assert "old: A frame is blurry if its sharpness (laplacian_var) is below 6, or below both 100 and" in page
    assert [page.count(f", {method}<") for method in ("acutance", "laplacian_var", "tenengrad")] == [1, 1, 0]
    assert "4 frames" in page
    assert "0 idle intervals, 0 gaps" in page


def test_names_from_outside_are_escaped(tmp_path: Path, engine: Engine) -> None:
    from tests.helpers import write_noise_stream

    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, write_noise_stream(tmp_path / "<script>alert(1)<", range(3)))
    assert "<script>" not in render(workspace)


def test_an_empty_workspace_has_a_report_too(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables").create()
    Store(workspace.root).create_tables()
    assert "No stream has been read yet" in render(workspace)


def test_long_timelines_keep_every_spike() -> None:
    values = np.zeros(50_000)
    values[31_234] = 1.0
    drawn = charts.timeline(np.arange(50_000), values, "t", [], [], ())
    points = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", drawn)]
    assert len(points) < 2000
    assert min(points) == pytest.approx(16, abs=0.1)


def test_lines_break_at_unknown_values() -> None:
    values = np.array([1.0, 2.0, np.nan, 3.0, 4.0])
    drawn = charts.timeline(np.arange(5), values, "t", [], [], ())
    assert re.search(r"class='line' d='([^']*)'", drawn)[1].count("M") == 2  # type: ignore[index]


def test_charts_without_values_say_so() -> None:
    none = np.array([np.nan, np.nan])
    assert "nothing measured" in charts.timeline(np.arange(2), none, "t", [], [], ())
    assert "nothing measured" in charts.histogram(none, "t", ())
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
    assert 8 < limit < 292
    assert f">blurry below {0.08 * unit:g}".replace("1600", "1.6k") in drawn
    line = charts.timeline(np.arange(20), values, "t", [], [], (Limit(0.08 * unit, "blurry below"),), log)
    assert len(set(re.findall(r"[ML][\d.]+ ([\d.]+)", line))) == 5
    assert ">blurry below " in line


def test_a_score_of_zero_does_not_compress_the_scale() -> None:
    values = np.array([0.0, 1e-9, 1.0, 10.0, 100.0])
    bars = re.findall(r"class='bar' x='([\d.]+)'", charts.histogram(values, "t", (), log=True))
    assert [float(x) for x in bars] == pytest.approx([8, 149.5, 220.5, 284.9], abs=8)
    assert "class='bar'" in charts.histogram(np.zeros(3), "t", (), log=True)


def test_sharpness_is_drawn_with_the_limit_of_the_stream(page: str) -> None:
    chart = re.search(r"<svg[^>]*aria-label='sharpness'.*?</svg>", page)
    assert chart
    (said,) = re.findall(r"of-limit'[^>]*>([^<]*)<", chart[0])
    assert re.fullmatch(r"blurry below (0\.4 of its level, )?0\.\d+", said)
    assert "or below both 0.22 and 0.4 times its stream&#39;s level" in page
