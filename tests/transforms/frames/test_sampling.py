from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import scenery, write_clip
from transforms.frames.container import ClipError
from transforms.frames.sampling import ClipIndex, _restart, index_clip, sample


def at_rate(times_ms: list[int], sampling: float) -> list[int]:
    times = np.array(times_ms)
    return sample(ClipIndex(times, times, times, Fraction(1, 1000), 0), sampling).tolist()


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


@pytest.mark.parametrize("data", [b"", b"no clip at all" * 100, b"\0\0\0\x20ftypisom"])
def test_files_that_are_no_clip_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "no.mp4"
    path.write_bytes(data)
    with pytest.raises(ClipError, match="expected a video"):
        index_clip(str(path))


def test_a_clip_whose_timestamps_restart_is_refused(tmp_path: Path) -> None:
    first, second = (write_clip(tmp_path / f"{n}.ts", scenery(n)) for n in (30, 20))
    joined = tmp_path / "the gate.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(ClipError, match=r"restart at 0\.00 s after 1\.16 s") as refused:
        index_clip(str(joined))
    assert "ffmpeg -fflags +genpts -i 'the gate.ts' -c copy 'the gate.mkv'" in str(refused.value)
    # A recording that follows is refused only for its timestamps.
    later = write_clip(tmp_path / "later.ts", scenery(20), times_ms=[5_000 + 40 * i for i in range(20)])
    joined.write_bytes(first.read_bytes() + later.read_bytes())
    assert len(index_clip(str(joined)).pts) >= 49
    films = [write_clip(tmp_path / f"{n}.mkv", scenery(n), codec="libvpx-vp9").read_bytes() for n in (30, 31)]
    (tmp_path / "joined.mkv").write_bytes(b"".join(films))
    with pytest.raises(ClipError, match="concat demuxer"):
        index_clip(str(tmp_path / "joined.mkv"))


@pytest.mark.parametrize(
    ("clock", "at"),
    [
        ([*range(10), *range(10)], 10),
        ([*range(50), *range(20, 90)], 50),
        ([*range(50), 9_999, *range(50, 90)], 0),
        ([*range(50), 0, 1, 2, *range(50, 90)], 0),
        ([7] * 20, 0),
        ([1, 0], 0),
        ([], 0),
    ],
)
def test_stray_timestamps_are_no_restart(clock: list[int], at: int) -> None:
    assert _restart(np.array(clock, np.int64)) == at
