from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers import scenery, write_clip
from transforms.frames.clip_index import _restart, _times, index_clip
from transforms.frames.container import ClipError


def refused(path: Path) -> str:
    """Return why a file is refused as a clip: in words, without numbers of errors."""
    with pytest.raises(ClipError) as error:
        index_clip(str(path))
    said = str(error.value)
    assert said.startswith("expected ")
    assert "Errno" not in said
    assert "1094995529" not in said
    return said


def test_files_that_are_no_clip_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "no.mp4"
    path.write_bytes(b"")
    assert "found an empty file" in refused(path)
    path.write_bytes(b"no clip at all" * 100)
    assert "something else: it starts with 6e 6f 20 63" in refused(path)


def test_unfinished_recordings_are_reported_as_never_closed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "cam.mp4", scenery(5))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    assert "never closed" in refused(path)
    # So is one that ends in the middle of its images.
    path.write_bytes(data[: data.index(b"moov") - 300])
    assert "never closed" in refused(path)


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        samples = np.zeros((1, 1024), np.float32)
        for number in range(3):
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 1024 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert refused(path) == "expected a video stream, found sound only"


def test_a_clip_without_any_frame_is_reported_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "none.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    assert "nothing was recorded" in refused(path)


@pytest.mark.realdata
def test_real_files_without_video_are_refused_in_words(real_data: Path) -> None:
    folder = real_data / "reports" / "messages"
    assert refused(folder / "audiocover.mp4") == "expected a video stream, found sound with a cover picture only"
    assert "never closed" in refused(folder / "nomoov.mp4")


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0, 40, 80], [0, 40, 80]),
        # Stamps in decoding order belong to the images in the order in which they are shown.
        ([1, 4, 3, 5, 2], [1, 2, 3, 4, 5]),
        ([None, 3600, None, None, 14400, None], [0, 3600, 7200, 10800, 14400, 18000]),
        ([None, None, None], [0, 3600, 7200]),
        ([1, None, 2, 3], [1, 2, 3, 4]),
    ],
)
def test_times_rise_where_stamps_do_not(stamps: list[int | None], times: list[int]) -> None:
    assert _times(stamps, 3600.0).tolist() == times


@pytest.mark.parametrize("kind", ["avi", "mpg"])
def test_times_of_clips_without_stamps_are_those_of_their_frames(tmp_path: Path, kind: str) -> None:
    path = write_clip(tmp_path / f"a.{kind}", scenery(30), codec="mpeg2video", options_too={"bf": "2"})
    index = index_clip(str(path))
    assert index.packet is not None
    seconds = (index.pts - index.pts[0]) * float(index.time_base)
    assert np.allclose(seconds, np.arange(30) / 25, atol=0.002)


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
