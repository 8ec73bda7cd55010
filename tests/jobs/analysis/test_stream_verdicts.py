from __future__ import annotations

from pathlib import Path

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
