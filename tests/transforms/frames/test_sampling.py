from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.helpers import scenery, write_clip
from transforms.frames.clip_index import ClipIndex, index_clip
from transforms.frames.sampling import sample


def at_rate(times_ms: list[int], sampling: float) -> list[int]:
    times = np.array(times_ms)
    return sample(ClipIndex(times, times, times, Fraction(1, 1000)), sampling).tolist()


def test_a_rate_selects_the_frame_displayed_at_each_tick() -> None:
    assert at_rate([i * 40 for i in range(26)], 5.0) == [0, 5, 10, 15, 20, 25]
    # Two frames per second of a clip whose frame rate varies.
    assert at_rate([0, 100, 900, 1000, 1010, 1020, 1490, 1500, 2100], 2.0) == [0, 1, 3, 7]
    assert at_rate([500, 600, 700], 100.0) == [0, 1, 2]
    assert at_rate([7], 0.1) == [0]
    assert at_rate([0, 40, 80], 1e-7) == [0]
    assert at_rate([0, 40, 10_000_000], 1e15) == [0, 1, 2]


def test_variable_frame_rates_are_sampled_by_time(tmp_path: Path) -> None:
    times = [0, 40, 80, 120, 1000, 2000, 2040, 2080]
    path = write_clip(tmp_path / "vfr.mkv", scenery(8), times_ms=times)
    index = index_clip(str(path))
    assert sample(index, 1.0).tolist() == [0, 4, 5]
    assert sample(index, "native").tolist() == list(range(8))


def test_keyframes_can_be_sampled(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "pan.mp4", scenery(40))
    assert sample(index_clip(str(clip)), "keyframes").tolist() == [0, 12, 24, 36]
