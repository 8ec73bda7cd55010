from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from conf import load
from jobs.analysis.stream_verdicts import stream_verdicts
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, noise, write_pictures


@pytest.mark.usefixtures("engine")
def test_a_stream_that_is_dropped_as_a_whole_says_why_and_what_would_keep_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    day = write_pictures(tmp_path / "day", [noise(seed) for seed in range(4)])
    night = write_pictures(tmp_path / "night", [noise(seed) // 12 for seed in range(4, 8)])
    go(workspace, day, night)
    config = load().config
    night_line, why, day_line = stream_verdicts(View.of(workspace), ["day", "night"], config)
    assert night_line == "stream night: kept 0 of 4; dropped: 4 dark"
    assert day_line == "stream day: kept 4 of 4; dropped: none"
    assert "luma_mean is 10" in why
    assert "at the median, below 32" in why
    assert "--set curation.ignore=[dark]" in why
    settings = [word for word in why.replace(",", " ").split() if word.startswith("curation.dark_")]
    assert len(settings) == 2

    go(workspace, day, night, settings=settings)
    again = stream_verdicts(View.of(workspace), ["day", "night"], load(settings=settings).config)
    # What is that dark is soft as well, which says the same of the next threshold.
    assert not [line for line in again if "dark" in line]
    assert "stream day: kept 4 of 4; dropped: none" in again
    # The sums of the run say the same of a single stream.
    assert stream_verdicts(View.of(workspace), ["day"], config) == []


def cells(seed: int) -> npt.NDArray[np.uint8]:
    """Return what a microscope shows: soft discs on an even ground, at other places in each image."""
    rng = np.random.default_rng(seed)
    field = np.full((240, 320), 190, np.uint8)
    for x, y in rng.integers((0, 0), (320, 240), (30, 2)).tolist():
        cv2.circle(field, (x, y), 14, 130, -1)
    return np.asarray(cv2.GaussianBlur(field, (0, 0), 4), np.uint8)


@pytest.mark.usefixtures("engine")
def test_a_stream_that_is_soft_throughout_is_kept_and_said_whenever_its_frames_arrive(
    workspace: Workspace, tmp_path: Path
) -> None:
    plates = write_pictures(tmp_path / "plates", [cells(seed) for seed in range(8)])
    go(workspace, plates)
    few = View.of(workspace).lazy("curation").collect()
    assert few["reasons"].to_list() == [["blurry"]] * 8

    write_pictures(plates, [cells(seed) for seed in range(24)])
    go(workspace, plates)
    view = View.of(workspace)
    later = view.lazy("curation").sort("frame_idx").collect()
    assert later["flags"].to_list() == [["soft_throughout"]] * 24
    assert later["keep"].all()
    line, why = stream_verdicts(view, ["plates"], load().config)
    assert line == "stream plates: kept 24 of 24; dropped: none"
    assert why.startswith("  soft throughout: sharpness is 0.0")
    assert "at the median, below 0.08" in why
    assert "--set curation.soft_streams=drop" in why

    whole = Workspace.at(tmp_path / "whole")
    go(whole, plates)
    verdicts = ["frame_idx", "keep", "reasons", "flags"]
    assert View.of(whole).lazy("curation").sort("frame_idx").collect().select(verdicts).equals(later.select(verdicts))

    dropping = ["curation.soft_streams=drop"]
    go(workspace, plates, settings=dropping)
    line, why = stream_verdicts(View.of(workspace), ["plates"], load(settings=dropping).config)
    assert line == "stream plates: kept 0 of 24; dropped: 24 blurry"
    assert "--set curation.soft_streams=keep" in why
