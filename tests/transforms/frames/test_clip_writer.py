from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import scenery, write_clip
from transforms.frames.clip import Clip, FrameName
from transforms.frames.clip_index import ClipIndex, index_clip
from transforms.frames.clip_writer import write_clip_part


def digests(path: Path, index: ClipIndex, begin: int, end: int) -> list[bytes]:
    found = []
    with Clip(str(path)) as clip:
        for fragment in index.fragments(np.arange(begin, end)):
            name = FrameName.parse(f"{path}{fragment}")
            assert name is not None
            frame = clip.find(name).frame
            assert frame is not None
            found.append(frame.digest())
    return found


def since_ms(index: ClipIndex, begin: int, end: int) -> list[int]:
    at = index.since_first_ns(np.arange(begin, end))
    return [round(each / 1e6) for each in (at - at[0]).tolist()]


@pytest.mark.parametrize(("begin", "end"), [(0, 12), (12, 36), (24, 40)])
def test_a_part_between_keyframes_has_the_same_frames_bit_for_bit(tmp_path: Path, begin: int, end: int) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenery(40))
    index = index_clip(str(clip))
    part = tmp_path / "part.mp4"
    assert write_clip_part(str(clip), index, begin, end, part) == "copied"
    made = index_clip(str(part))
    assert digests(part, made, 0, end - begin) == digests(clip, index, begin, end)
    assert since_ms(made, 0, end - begin) == since_ms(index, begin, end)


@pytest.mark.parametrize(("begin", "end"), [(5, 15), (12, 20), (39, 40)])
def test_another_part_is_encoded_and_has_as_many_frames_at_their_times(tmp_path: Path, begin: int, end: int) -> None:
    times = [0, *np.cumsum([40, 20, 500] * 13).tolist()]
    clip = write_clip(tmp_path / "a.mp4", scenery(40), times_ms=times)
    index = index_clip(str(clip))
    part = tmp_path / "part.mp4"
    assert write_clip_part(str(clip), index, begin, end, part) == "encoded"
    made = index_clip(str(part))
    assert len(made.pts) == end - begin
    assert since_ms(made, 0, end - begin) == since_ms(index, begin, end)
    with Clip(str(clip)) as one, Clip(str(part)) as other:
        for number, fragment in enumerate(made.fragments(np.arange(end - begin))):
            names = (
                FrameName.parse(f"{clip}{index.fragments(np.array([begin + number]))[0]}"),
                FrameName.parse(f"{part}{fragment}"),
            )
            before, after = (c.find(n).frame for c, n in zip((one, other), names, strict=True) if n is not None)
            assert before is not None
            assert after is not None
            assert np.abs(before.color().astype(int) - after.color().astype(int)).mean() < 4


@pytest.mark.parametrize(("begin", "end"), [(12, 24), (5, 9)])
def test_a_clip_that_is_turned_stays_so(tmp_path: Path, begin: int, end: int) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenery(24), turn=90)
    part = tmp_path / "part.mp4"
    write_clip_part(str(clip), index_clip(str(clip)), begin, end, part)
    shapes = []
    for path in (clip, part):
        name = FrameName.parse(f"{path}{index_clip(str(path)).fragments(np.array([0]))[0]}")
        assert name is not None
        with Clip(str(path)) as opened:
            frame = opened.find(name).frame
            assert frame is not None
            shapes.append(frame.color().shape)
    assert shapes == [(160, 90, 3), (160, 90, 3)]
