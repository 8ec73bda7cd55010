"""Frames of clips are what a plain decode of the whole clip shows, in every codec and container."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from tests.helpers import damage, scenery
from transforms.frames.clip import Clip, FrameName
from transforms.frames.clip_frame import ClipFrame
from transforms.frames.clip_index import ClipIndex, index_clip
from transforms.frames.container import video_of

N, HEIGHT, WIDTH = 26, 64, 96
_PIXELS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
_X264 = {"preset": "ultrafast", "g": "8", "bf": "2"}
_X265 = {"preset": "ultrafast", "g": "8"}
_VPX = {"g": "12", "deadline": "good", "cpu-used": "5"}
_LATE = {"auto-alt-ref": "1", "lag-in-frames": "8"}

CODECS = {
    "h264": ("libx264", _X264 | {"bf": "0"}),
    "h264-b": ("libx264", _X264 | {"x264-params": "b-pyramid=normal:scenecut=0"}),
    "h264-open": ("libx264", _X264 | {"x264-params": "open-gop=1:scenecut=0"}),
    "h264-interlaced": ("libx264", _X264 | {"x264-params": "tff=1:scenecut=0"}),
    "h264-refresh": ("libx264", {"preset": "ultrafast", "bf": "0", "x264-params": "intra-refresh=1:keyint=8"}),
    "h264-intra": ("libx264", _X264 | {"g": "1"}),
    "hevc": ("libx265", _X265 | {"x265-params": "log-level=none:bframes=0:open-gop=0"}),
    "hevc-open": ("libx265", _X265 | {"x265-params": "log-level=none:bframes=2:open-gop=1:keyint=8"}),
    "av1": ("libsvtav1", {"preset": "10", "g": "8"}),
    "vp9": ("libvpx-vp9", _VPX | {"deadline": "realtime", "cpu-used": "8"}),
    "vp9-hidden": ("libvpx-vp9", _VPX | _LATE),
    "vp8-hidden": ("libvpx", _VPX | _LATE),
    "mpeg2": ("mpeg2video", {"bf": "0", "g": "8"}),
    "mpeg2-b": ("mpeg2video", {"bf": "2", "g": "8"}),
    "mpeg2-interlaced": ("mpeg2video", {"bf": "2", "g": "8", "flags": "+ilme+ildct"}),
    "mpeg4": ("mpeg4", {"bf": "0", "g": "8"}),
    "mpeg4-b": ("mpeg4", {"bf": "2", "g": "8"}),
    "mjpeg": ("mjpeg", {}),
    "prores": ("prores_ks", {}),
    "ffv1": ("ffv1", {"g": "4"}),
}
_ALL = ("mp4", "mov", "mkv", "avi", "ts", "mpg", "webm")
_WITHOUT = {
    "av1": ("mov", "ts", "mpg"),
    "vp9": ("mov", "ts", "mpg"),
    "vp9-hidden": ("mov", "ts", "mpg"),
    "vp8-hidden": ("mp4", "mov", "ts", "mpg"),
    "mjpeg": ("ts", "mpg", "webm"),
    "hevc": ("avi", "webm"),
    "hevc-open": ("avi", "webm"),
    "prores": ("mp4", "avi", "ts", "mpg", "webm"),
    "ffv1": ("mov", "ts", "mpg", "webm"),
}
WRITTEN = [
    (codec, kind)
    for codec in CODECS
    for kind in _ALL
    if kind not in _WITHOUT.get(codec, () if codec in _WITHOUT else ("webm",))
]
# What has no such times or packets is decoded once to be listed; all else must be listed from its packets.
STAMPED = ("h264", "h264-b", "h264-open", "hevc", "vp9", "mpeg2-b", "mpeg4")


def write(path: Path, codec: str) -> Path:
    encoder, options = CODECS[codec]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, _PIXELS.get(encoder, "yuv420p")
        for number, picture in enumerate(_scenery()):
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@cache
def _scenery() -> list[npt.NDArray[np.uint8]]:
    return list(scenery(N, HEIGHT, WIDTH))


def cut_without_encoding(source: Path, target: Path, first: int) -> Path:
    """Copy a clip from the keyframe before a frame on, with times that make players start at that frame."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream = video_of(given)
        copy = made.add_stream_from_template(stream)
        packets = [packet for packet in given.demux(stream) if packet.size and packet.pts is not None]
        start = sorted(packet.pts for packet in packets)[first]
        key = max(at for at, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= start)
        for packet in packets[key:]:
            packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
            made.mux(packet)
    return target


def shown(path: Path) -> list[bytes]:
    """Return the digests of the frames that a plain decode of a whole clip gives without a complaint."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        frames = _sound(stream, container.demux(stream))
        return [ClipFrame(frame, 0, None).digest() for frame in frames if not frame.is_corrupt]


def _sound(stream: av.VideoStream, packets: Iterator[av.Packet[av.VideoStream]]) -> Iterator[av.VideoFrame]:
    # Of the last packet of a file that was cut off, a part may be missing; decoders then fill in something.
    with contextlib.suppress(av.error.InvalidDataError):
        for packet in packets:
            if not packet.is_corrupt:
                yield from stream.codec_context.decode(packet if packet.size else None)


def names(path: Path, index: ClipIndex) -> list[FrameName]:
    found = [FrameName.parse(f"{path}{name}") for name in index.fragments(np.arange(len(index.pts)))]
    assert None not in found
    return [name for name in found if name]


def digests(path: Path, wanted: list[FrameName]) -> list[bytes | None]:
    with Clip(str(path)) as clip:
        return [frame.digest() if (frame := clip.find(name).frame) else None for name in wanted]


def assert_rows_are_what_is_shown(path: Path, skip: int = 0) -> ClipIndex:
    index = index_clip(str(path))
    listed = names(path, index)
    measured = digests(path, listed)
    assert [digest for digest in measured if digest] == shown(path)[skip:]
    assert np.all(np.diff(index.pts) > 0)
    order = random.Random(len(listed)).sample(range(len(listed)), min(6, len(listed)))
    assert digests(path, [listed[at] for at in order]) == [measured[at] for at in order]
    for at in order[:2]:
        assert digests(path, [listed[at]]) == [measured[at]]
    return index


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Keep encoders from writing to the terminal what they are, and decoders what was cut off."""
    os.environ["SVT_LOG"] = "-1"
    av.logging.set_level(av.logging.PANIC)
    yield
    av.logging.set_level(None)


@pytest.mark.parametrize(("codec", "kind"), WRITTEN)
def test_rows_are_the_frames_of_a_full_decode(tmp_path: Path, codec: str, kind: str) -> None:
    path = write(tmp_path / f"clip.{kind}", codec)
    index = assert_rows_are_what_is_shown(path)
    assert len(index.pts) == N
    if codec in STAMPED and kind in ("mp4", "mov", "mkv", "ts"):
        assert index.packet is None
    data = path.read_bytes()
    if kind not in ("mp4", "mov"):
        path.write_bytes(data[: len(data) * 3 // 4])
        assert_rows_are_what_is_shown(path)
    if kind in ("ts", "mpg"):
        path.write_bytes(data[len(data) // 4 // 188 * 188 :])
        # MPEG-4 decoders show grey where the image before is missing: the frames up to the keyframe are damaged.
        if not codec.startswith("mpeg4"):
            assert_rows_are_what_is_shown(path)


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("codec", ["h264-b", "h264-open", "h264-interlaced", "h264-refresh", "hevc-open", "mpeg4-b"])
def test_frames_that_were_cut_off_without_encoding_are_hidden(tmp_path: Path, codec: str, kind: str) -> None:
    whole = write(tmp_path / f"whole.{kind}", codec)
    path = cut_without_encoding(whole, tmp_path / f"cut.{kind}", 12)
    assert_rows_are_what_is_shown(path)
    if kind != "mkv":
        assert shown(path) == shown(whole)[12:]


@pytest.mark.parametrize("kind", ["mp4", "avi"])
@pytest.mark.parametrize("codec", ["h264", "h264-open", "mpeg2-b", "mpeg4-b"])
def test_damage_leaves_no_traces_in_frames_that_are_requested_later(tmp_path: Path, codec: str, kind: str) -> None:
    path = write(tmp_path / f"hurt.{kind}", codec)
    sound = shown(path)
    damage(path, 17)
    listed = names(path, index_clip(str(path)))
    measured = digests(path, listed)
    assert None in measured
    # Frames of groups of pictures before and behind the damaged one are what they were.
    assert [digest for digest in measured[:7] if digest] == sound[:7]
    assert measured[-1] == sound[-1]
    for seed in range(3):
        order = random.Random(seed).sample(range(len(listed)), len(listed))
        assert digests(path, [listed[at] for at in order]) == [measured[at] for at in order]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("clip-trimmed/trim.mp4", 67),
        ("clip-trimmed/mpeg4.mp4", 37),
        ("avi-bframes/direct_h264.avi", 75),
        ("mpeg-ps/h264ps.mpg", 75),
    ],
)
def test_real_clips_have_the_frames_that_people_see(real_data: Path, name: str, n: int) -> None:
    assert len(assert_rows_are_what_is_shown(real_data / "reports" / name).pts) == n


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["01_dog", "03_blocks", "05_default_juggle", "solidWhiteRight", "bottle-detection"])
def test_real_clips_are_listed_without_decoding(real_data: Path, name: str) -> None:
    path = real_data / "sequences" / f"{name}.mp4"
    index = index_clip(str(path))
    assert index.packet is None
    listed = names(path, index)
    assert all(digests(path, [listed[at] for at in (0, 3, len(listed) // 2)]))
