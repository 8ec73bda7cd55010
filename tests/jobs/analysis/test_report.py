from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from jobs.analysis.report import render
from jobs.engine.ray_engine import Engine
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import SMALL, go, noise, write_clip, write_noise_stream
from tests.models import held_at_hand
from tests.onnx_graphs import write_end_to_end


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, engine: Engine) -> str:
    workspace = Workspace.at(tmp_path_factory.mktemp("report") / "tables")
    go(workspace, sample_folder)
    return render(workspace)


def test_the_report_needs_no_network(page: str) -> None:
    assert re.findall(r"(?:src|href)=['\"](?!data:|#)[^'\"]*", page) == []
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


def test_sharpness_is_drawn_with_the_limit_of_the_stream(page: str) -> None:
    chart = re.search(r"<div class='chart'[^>]*aria-label='sharpness \(log scale\)'.*?</div>", page)
    assert chart
    (said,) = re.findall(r"of-limit'>([^<]*)<", chart[0])
    assert re.fullmatch(r"blurry below (0\.4 of its level, )?0\.\d+", said)
    assert "or below both 0.22 and 0.4 times its stream&#39;s level" in page


def test_contents_name_every_section_and_all_of_them_are_there(page: str) -> None:
    named = re.findall(r"<a href=\"#([^\"]*)\"", page)
    assert named == ["verdicts", "streams", "measures", "frames", "duplicates", "settings"]
    assert all(f'id="{name}"' in page for name in named)


def test_the_title_names_the_streams(page: str) -> None:
    assert "<title>Winnow: cam in tables</title>" in page


def test_images_are_enlarged_without_a_script(page: str) -> None:
    images = page.count("<img ")
    assert images == page.count('<label><input type="checkbox" aria-label="enlarge ') > 50


def test_settings_that_differ_from_the_defaults_are_listed(page: str) -> None:
    listed = re.findall(r"<tr><td>([^<]*)</td><td>([^<]*)</td><td>([^<]*)</td></tr>", page)
    assert listed == [("resources.commit_seconds", "0.2", "5.0")]
    assert "<summary>all settings</summary>" in page
    assert "dark_mean: 32.0" in page


def test_scenes_are_drawn(page: str) -> None:
    assert re.findall(r"<title>scene 0: 0 to \d+, begins with a start</title>", page)


def picture_at(number: int) -> npt.NDArray[np.uint8]:
    frame = np.full((90, 160, 3), 90, np.uint8)
    if number != 3:
        frame[20:60, 10 + 10 * number : 50 + 10 * number] = (0, 0, 255)
    return frame


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> str:
    """The report of frames with names that hold times, of which a detector has found something on all but one."""
    folder = tmp_path_factory.mktemp("annotated")
    (folder / "yard").mkdir()
    for number in range(6):
        # Frames 4 and 5 come after a pause.
        second = number + 30 * (number >= 4)
        cv2.imwrite(str(folder / "yard" / f"2024-01-15_10-30-{second:02}.png"), picture_at(number))
    write_clip(folder / "gate.mp4", [noise(seed) for seed in range(25)])
    workspace = Workspace.at(folder / "tables")
    model = write_end_to_end(folder / "red.onnx", "N", {0: "cat", 1: "red"})
    settings = [
        "stages=[+annotate,+track]",
        "annotate.frames=all",
        "annotate.detector=onnx",
        f"annotate.weights={model}",
    ]
    with held_at_hand():
        go(workspace, folder / "yard", folder / "gate.mp4", settings=settings)
    found = next(iter(View.of(workspace).lazy("objects").filter(pl.col("frame_idx") > 0).collect().to_dicts()))
    assert found["category"] == "red"
    return render(workspace)


def test_timelines_are_drawn_by_time_too(annotated: str) -> None:
    assert annotated.count('<div class="by-number">') == annotated.count('<div class="by-time">') == 2
    by_time = annotated.split('<div class="by-time">')
    assert "2024-01-15 10:30:00 to 2024-01-15 10:30:35 (by name)" in annotated
    assert ">10:30:10</span>" in by_time[2]
    assert "0:00:00 to 0:00:00" in by_time[0]


def test_annotations_are_counted_and_drawn(annotated: str) -> None:
    assert "; 31 frames were annotated by a detector, 0 reviewed, 26 have no object." in annotated
    row = re.search(r"</span>red</td>(.*?)</tr>", annotated)
    assert row
    assert re.findall(r"<td>([^<]*)</td>", row[1])[:3] == ["5", "5", "2"]
    assert "2 tracks, of 2.5 frames in the median and 3 at most." in annotated
    examples = annotated.split("<h3>Examples</h3>")[1].split("<h2", maxsplit=1)[0]
    images = [base64.b64decode(data) for data in re.findall(r"base64,([^\"]*)", examples)]
    assert len(images) == 5
    pixels = cv2.imdecode(np.frombuffer(images[0], np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    # The colour of the first category is drawn around the box, where the frame itself is grey.
    color = np.array([0x4B, 0x19, 0xE6])
    near = np.abs(pixels.astype(int) - color).max(axis=2) < 60
    assert near.any()
    assert not (np.abs(picture_at(0).astype(int) - color).max(axis=2) < 60).any()


def test_a_report_without_annotations_has_no_section_for_them(page: str) -> None:
    assert 'id="annotations"' not in page
