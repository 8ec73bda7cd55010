from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import damage, scenery, write_clip
from transforms.frames.clip import Clip, FrameName
from transforms.frames.clip_index import ClipIndex, index_clip
from transforms.frames.image import CorruptImageError, ImageParams
from transforms.io.frame_bytes import FileChangingError, NoFileError

PARAMS = ImageParams()
N = 40


def names(path: Path) -> list[FrameName]:
    index = index_clip(str(path))
    return [FrameName(str(path), p, k) for p, k in zip(index.pts.tolist(), index.key.tolist(), strict=True)]


def digests(path: Path, wanted: list[FrameName]) -> list[str]:
    with Clip(str(path)) as clip:
        return [clip.frame(name).digest().hex() for name in wanted]


def decoded(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0) if frame.pts is not None]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a clip of 40 frames with a keyframe every 12 frames, and B-frames between them."""
    return write_clip(tmp_path_factory.mktemp("clip") / "pan.mp4", scenery(N))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.mov", "mpeg4"), ("a.webm", "libvpx-vp9")],
)
def test_every_frame_is_listed_and_decodes_alone_as_in_order(tmp_path: Path, name: str, codec: str) -> None:
    path = write_clip(tmp_path / name, scenery(N), codec=codec)
    index = index_clip(str(path))
    assert index.pts.tolist() == decoded(path)
    assert len(np.unique(index.key)) == 4
    in_order = digests(path, names(path))
    assert len(set(in_order)) == N
    for at in (N - 1, 0, 13, 11, 12, 30, 29):
        assert digests(path, [names(path)[at]]) == [in_order[at]]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, N - 1), max_size=12))
def test_frames_do_not_depend_on_earlier_requests(clip: Path, order: list[int]) -> None:
    listed = names(clip)
    in_order = digests(clip, listed)
    assert digests(clip, [listed[at] for at in order]) == [in_order[at] for at in order]


def test_every_frame_has_a_time_also_those_of_the_final_flush(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "slow.mkv", scenery(6), times_ms=[at * 3_600_000 for at in range(6)])
    with Clip(str(path)) as clip:
        assert [clip.frame(name).time_ns for name in names(path)] == [at * 3600 * 10**9 for at in range(6)]


def test_decoding_starts_at_the_keyframe_before(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = names(clip)
    jumps: list[int] = []
    jump = Clip._jump

    def noted(self: Clip, key: int) -> None:
        jumps.append(key)
        jump(self, key)

    monkeypatch.setattr(Clip, "_jump", noted)
    digests(clip, listed[25:])
    assert jumps == [listed[24].pts]
    jumps.clear()
    # From the fourth frame to the last one, seeking skips those between; for two frames ahead, decoding is cheaper.
    digests(clip, [listed[3], listed[5], listed[39]])
    assert jumps == [listed[0].pts, listed[36].pts]


def test_a_recording_that_starts_inside_a_gop_loses_only_that_gop(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "whole.ts", scenery(N))
    sound = digests(path, names(path))
    data = path.read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[len(data) // 188 // 5 * 188 :])
    listed = names(cut)
    with Clip(str(cut)) as clip:
        found = [clip.find(name).frame for name in listed]
    n_lost = len(listed) - 28
    assert 0 < n_lost < 12
    assert [frame is None for frame in found] == [True] * n_lost + [False] * 28
    assert [frame.digest().hex() for frame in found if frame] == sound[12:]


def test_frames_decode_although_their_keyframe_is_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = "intra-refresh=1:keyint=20:bframes=0"
    path = write_clip(tmp_path / "refreshed.mp4", scenery(100), options_too={"x264-params": params})
    listed, in_order = names(path), digests(path, names(path))
    assert len({name.key for name in listed}) == 5
    assert [digests(path, [name]) for name in listed] == [[digest] for digest in in_order]
    jumps: list[int] = []
    jump = Clip._jump

    def noted(self: Clip, key: int) -> None:
        jumps.append([name.pts for name in listed].index(key))
        jump(self, key)

    monkeypatch.setattr(Clip, "_jump", noted)
    # How far back decoding must start is determined once.
    assert digests(path, [listed[at] for at in (65, 25, 85, 95)]) == [in_order[at] for at in (65, 25, 85, 95)]
    assert jumps == [60, 40, 20, 20, 0, 40]


def destroy(clip: Path, number: int) -> None:
    """Overwrite all of one packet of a clip."""
    with av.open(str(clip)) as container:
        packet = bytes([p for p in container.demux(video=0) if p.size][number])
    clip.write_bytes(clip.read_bytes().replace(packet, b"\xff" * len(packet)))


def test_frames_that_decode_from_no_keyframe_are_searched_from_the_start_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "hurt.mkv", scenery(60), codec="libvpx-vp9")
    listed = names(path)
    for number in (0, 12, 24):
        destroy(path, number)
    asked: list[int] = []
    before = Clip._keyframe_until

    def noted(self: Clip, pts: int) -> int | None:
        asked.append(pts)
        return before(self, pts)

    monkeypatch.setattr(Clip, "_keyframe_until", noted)
    with Clip(str(path)) as clip:
        wrong = [clip.find(listed[at]).wrong for at in (30, 5, 15, 28, 33, 2, 40)]
    assert wrong == ["the frame's packet is damaged"] * 6 + [""]
    assert len(asked) == 3


def test_frame_names_are_parsed() -> None:
    index = ClipIndex(np.array([0, 40]), np.array([0, 0]), np.array([9, 9]), Fraction(1, 1000))
    assert index.fragments(np.array([1])) == ["#pts=40&key=0"]
    assert FrameName.parse("/a/b#1.mp4#pts=40&key=-8") == FrameName("/a/b#1.mp4", 40, -8)
    assert FrameName.parse("/a/b.mp4") is None
    assert FrameName.parse("/a/#pts=1&key=1/image_1.jpg") is None


def test_luma_is_scaled_from_the_clips_range_to_full_range(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 160).astype(np.uint8)[None], 90, axis=0)
    for pixels in ("yuv420p", "yuvj420p", "yuv444p", "yuv420p10le"):
        codec = "mjpeg" if pixels == "yuvj420p" else "libx264"
        path = write_clip(tmp_path / f"{pixels}.mkv", [ramp] * 3, pixels=pixels, codec=codec)
        with Clip(str(path)) as clip:
            gray = clip.frame(names(path)[1]).gray(PARAMS)
        assert gray.dtype == np.uint8
        assert gray.shape == (90, 160)
        assert np.abs(gray.astype(int) - ramp).max() <= 8, pixels


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_images_are_rotated_by_the_display_matrix(tmp_path: Path, turn: int) -> None:
    picture = np.full((96, 160), 60, np.uint8)
    picture[:48, :80] = 220
    path = write_clip(tmp_path / "turned.mp4", [picture] * 3, turn=turn)
    with Clip(str(path)) as clip:
        frame = clip.frame(names(path)[0])
        gray, color = frame.gray(PARAMS), frame.color()
    assert frame.size == ((96, 160) if abs(turn) == 90 else (160, 96))
    assert gray.shape == color.shape[:2] == frame.size[::-1]
    expected = np.rot90(picture, turn // 90)
    assert np.abs(gray.astype(int) - expected).mean() < 6


@pytest.mark.parametrize(
    ("a", "b", "c", "d", "shown"),
    [
        (1, 0, 0, 1, lambda p: p),
        (-1, 0, 0, 1, np.fliplr),
        (1, 0, 0, -1, np.flipud),
        (-1, 0, 0, -1, lambda p: np.rot90(p, 2)),
        (0, 1, -1, 0, lambda p: np.rot90(p, -1)),
        (0, -1, 1, 0, np.rot90),
        (0, 1, 1, 0, np.transpose),
        (0, -1, -1, 0, lambda p: np.rot90(p.T, 2)),
    ],
)
def test_all_eight_orientations_are_applied(
    tmp_path: Path, a: int, b: int, c: int, d: int, shown: Callable[..., npt.NDArray[np.uint8]]
) -> None:
    picture = np.full((96, 160), 60, np.uint8)
    picture[:48, :80], picture[48:, 80:] = 220, 140
    path = write_clip(tmp_path / "turned.mp4", [picture] * 3)
    data = bytearray(path.read_bytes())
    # The matrix of a track's header: a b u, c d v, x y w.
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *(n << 16 for n in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    path.write_bytes(data)
    with Clip(str(path)) as clip:
        frame = clip.frame(names(path)[0])
        gray, color = frame.gray(PARAMS), frame.color()
    expected = shown(picture)
    assert frame.size == expected.shape[::-1]
    for found in (gray, color[..., 1]):
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).mean() < 6


def test_images_are_reduced_to_the_measuring_size(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "large.mp4", scenery(2, 360, 640))
    with Clip(str(path)) as clip:
        assert clip.frame(names(path)[1]).gray(ImageParams(long_side=320)).shape == (180, 320)


def test_a_damaged_packet_affects_only_the_frames_that_refer_to_it(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "hurt.mkv", scenery(N, 180, 320), codec="libvpx-vp9")
    listed, sound = names(path), digests(path, names(path))
    damage(path, 15)
    with Clip(str(path)) as clip:
        found = [clip.find(name) for name in listed]
    # The keyframe at 24 starts a new group of pictures.
    assert [at for at, f in enumerate(found) if f.frame is None] == list(range(15, 24))
    assert [f.frame.digest().hex() for f in found if f.frame] == [*sound[:15], *sound[24:]]
    assert ["another" in f.wrong for f in found[15:24]] == [False, *[True] * 8]
    for at in (20, 14, 15, 24, 16):
        with Clip(str(path)) as clip:
            assert clip.find(listed[at])._replace(read_ns=0, frame=None) == found[at]._replace(read_ns=0, frame=None)
    with Clip(str(path)) as clip, pytest.raises(CorruptImageError, match="packet is damaged"):
        clip.frame(listed[15])


def test_a_truncated_clip_gives_the_frames_before_the_cut(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "short.ts", scenery(N))
    sound = digests(path, names(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    listed = names(path)
    assert 5 < len(listed) < N
    with Clip(str(path)) as clip:
        found = [clip.find(name).frame for name in listed]
    whole = [frame.digest().hex() for frame in found if frame]
    assert len(whole) >= len(listed) - 3
    assert whole[:5] == sound[:5]


def test_reading_a_clip_that_has_changed_raises(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", scenery(3))
    listed = names(path)
    with Clip(str(path)) as clip:
        clip.frame(listed[0])
        os.utime(path, ns=(1, 1))
        with pytest.raises(FileChangingError):
            clip.frame(listed[1])


def test_opening_a_folder_or_a_pipe_as_a_clip_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        index_clip(str(tmp_path / "none.mp4"))
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises((NoFileError, OSError)):
        Clip(str(tmp_path / "pipe.mp4"))
