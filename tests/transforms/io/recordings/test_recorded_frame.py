from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("mcap", reason="recordings need the extra `recordings`")
pytest.importorskip("rosbags", reason="recordings need the extra `recordings`")

from mcap.writer import CompressionType, IndexType

from tests import recording_material as material
from tests.recording_material import BEGIN_NS, ROS1, ROS2, STEP_NS
from transforms.io.frame_bytes import read_frame
from transforms.io.recordings import recorded_frame
from transforms.io.recordings.image_messages import ImageMessage, image_in
from transforms.io.recordings.messages import Recording, RecordingError
from transforms.io.recordings.raw_image import as_file, png
from transforms.io.recordings.recorded_frame import fragments, open_recording
from transforms.io.recordings.video_messages import VideoMessages

TOPIC = "/front/image/compressed"
IMAGES = material.scenes(12)
FILES = [material.jpeg(image) for image in IMAGES]


def uris(path: Path, topic: str, suffix: str = ".jpg") -> list[str]:
    recording = open_recording(str(path))
    try:
        return [f"{path}{end}" for end in fragments(topic, recording.places(topic), suffix)]
    finally:
        recording.close()


def decoded(data: bytes, flags: int) -> np.ndarray[Any, Any]:
    """Return the pixels of an image file."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert image is not None
    return image


def _mcap(path: Path, **options: Any) -> Path:
    return material.write_ros2_mcap(path / "drive.mcap", material.of_camera(ROS2, IMAGES), **options)


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "zstd": (TOPIC, _mcap),
    "lz4, no indexes": (TOPIC, lambda p: _mcap(p, compression=CompressionType.LZ4, index_types=IndexType.NONE)),
    "no chunks": (TOPIC, lambda p: _mcap(p, use_chunking=False)),
    "chunks not compressed": (TOPIC, lambda p: _mcap(p, compression=CompressionType.NONE)),
    "json": ("/cam", lambda p: material.write_json(p / "drive.mcap", IMAGES)),
    "protobuf": (
        "/cam",
        lambda p: material.write_foxglove(
            p / "drive.mcap", "CompressedImage", [{"data": d, "frame_id": "front", "format": "jpeg"} for d in FILES]
        ),
    ),
    "ROS 2 database": (TOPIC, lambda p: material.write_ros2_bag(p / "bag", material.of_camera(ROS2, IMAGES))),
    "ROS 1, lz4": (TOPIC, lambda p: material.write_ros1_bag(p / "drive.bag", material.of_camera(ROS1, IMAGES))),
    "ROS 1, bz2": (TOPIC, lambda p: material.write_ros1_bag(p / "drive.bag", material.of_camera(ROS1, IMAGES), "bz2")),
    "ROS 1, plain": (TOPIC, lambda p: material.write_ros1_bag(p / "drive.bag", material.of_camera(ROS1, IMAGES), None)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_each_message_is_fetched_again_by_its_name(tmp_path: Path, writer: str) -> None:
    topic, write = WRITERS[writer]
    path = write(tmp_path)
    names = uris(path, topic)
    assert [read_frame(name).data for name in names] == FILES
    # In any order, and again.
    assert [read_frame(names[at]).data for at in (11, 0, 7, 7, 3)] == [FILES[at] for at in (11, 0, 7, 7, 3)]
    recording = open_recording(str(path))
    assert recording.is_whole
    places = recording.places(topic)
    assert places.t_ns.tolist() == [BEGIN_NS + number * STEP_NS for number in range(12)]
    assert (places.size_bytes >= [len(data) for data in FILES]).all()
    recording.close()


@pytest.mark.parametrize("share", [0.999, 0.7, 0.31])
@pytest.mark.parametrize("options", [{}, {"use_chunking": False}])
def test_of_a_recording_that_was_cut_off_all_is_read_that_is_whole(
    tmp_path: Path, share: float, options: dict[str, Any]
) -> None:
    path = _mcap(tmp_path, **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    recording = open_recording(str(path))
    n = len(recording.places(TOPIC))
    assert recording.is_whole is False
    assert n >= 12 * share - 4
    assert n == 12 or share < 0.9
    assert [read_frame(name).data for name in uris(path, TOPIC)] == FILES[:n]


def test_a_damaged_chunk_is_an_error_for_its_messages_alone(tmp_path: Path) -> None:
    path = _mcap(tmp_path)
    names = uris(path, TOPIC)
    block = recorded_frame.RecordedName.parse(names[4])
    assert block is not None
    data = bytearray(path.read_bytes())
    data[block.block + 80 : block.block + 120] = bytes(40)
    path.write_bytes(data)
    wrong = []
    for name, expected in zip(uris(path, TOPIC), FILES, strict=True):
        parsed = recorded_frame.RecordedName.parse(name)
        assert parsed is not None
        if parsed.block != block.block:
            assert read_frame(name).data == expected
            continue
        wrong.append(parsed)
        with pytest.raises(RecordingError, match="is damaged"):
            read_frame(name)
    assert 1 <= len(wrong) < len(FILES)


def test_a_file_that_was_replaced_is_another_one(tmp_path: Path) -> None:
    path = _mcap(tmp_path)
    names = uris(path, TOPIC)
    assert read_frame(names[5]).data == FILES[5]
    others = material.scenes(12, size=(40, 60), seed=1)
    material.write_ros2_mcap(path, material.of_camera(ROS2, others))
    with pytest.raises(RecordingError, match="another one now"):
        read_frame(names[5])


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.mcap", b"", "expected an MCAP file, found one that starts with nothing"),
        ("a.mcap", b"RIFF0000", "expected an MCAP file, found one that starts with 52 49"),
        ("a.bag", b"", "expected a ROS bag of version 2.0 that can be read: File"),
        ("a.bag", b"#ROSBAG V1.2\n", "version"),
        ("a.bag", b"\xff\xfe", "expected a ROS bag"),
        ("a.db3", b"not a database at all, but long enough", "expected a ROS 2 bag"),
        ("a.db3", b"", "expected a ROS 2 bag, a database with topics and messages: no such table"),
    ],
)
def test_files_that_are_no_recordings_are_called_so(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecordingError, match=expected):
        open_recording(str(tmp_path / name))


@pytest.mark.parametrize(("codec", "form"), [("libx264", "h264"), ("libx265", "h265")])
def test_video_in_messages_is_decoded_in_any_order(tmp_path: Path, codec: str, form: str) -> None:
    packets = material.video(IMAGES, codec)
    path = material.write_foxglove(
        tmp_path / "v.mcap", "CompressedVideo", [{"data": p, "frame_id": "front", "format": form} for p in packets]
    )
    names = uris(path, "/cam", ".png")
    in_order = [read_frame(name).data for name in names]
    for data, image in zip(in_order, IMAGES, strict=True):
        assert np.abs(decoded(data, 1).astype(int) - image).mean() < 8
    for at in (11, 3, 3, 4, 0, 7):
        assert read_frame(names[at]).data == in_order[at]


def test_video_of_one_long_group_is_read_once_when_it_is_read_in_order() -> None:
    """Without a keyframe on the way there is nothing to be found by going back for each image."""
    n = 40
    packets = material.video(material.scenes(n), group=n)
    read: list[int] = []

    def message(number: int) -> ImageMessage:
        read.append(number)
        return ImageMessage(packets[number], "", "h264")

    video = VideoMessages(message, n)
    in_order = [video.file(number) for number in range(n)]
    # The first one is read to find where decoding begins, and for the name of the codec.
    assert sorted(read) == [0, 0, *range(n)]
    assert all(in_order)
    assert [VideoMessages(message, n).file(number) for number in (n - 1, 7)] == [in_order[n - 1], in_order[7]]


def test_a_damaged_packet_of_video_takes_no_image_outside_of_its_group_along(tmp_path: Path) -> None:
    packets = material.video(IMAGES)
    packets[6] = packets[6][:4] + bytes(len(packets[6]) - 4)
    path = material.write_foxglove(
        tmp_path / "v.mcap", "CompressedVideo", [{"data": p, "frame_id": "front", "format": "h264"} for p in packets]
    )
    found = [read_frame(name).data.startswith(b"\x89PNG") for name in uris(path, "/cam", ".png")]
    # Groups begin at 0, 5 and 10.
    assert found == [True] * 6 + [False] * 4 + [True] * 2


def _message(pixels: np.ndarray[Any, Any], encoding: str, step: int = 0) -> ImageMessage:
    recording = Recorded(material.raw(ROS2, pixels, encoding, step=step))
    image = image_in(recording.channel, recording.data)
    assert image is not None
    return image


class Recorded:
    """A message of ROS 2 as a recording holds it."""

    def __init__(self, message: Any) -> None:
        from transforms.io.recordings.messages import Channel

        self.channel = Channel("/cam", material.IMAGE, "cdr", "ros2msg", b"")
        self.data = bytes(ROS2.serialize_cdr(message, material.IMAGE))


RED = np.full((4, 6, 3), (10, 20, 200), np.uint8)
"""Blue, green, red."""
RED16 = RED.astype(np.uint16) * 256
BAYER = {
    # The first two rows and columns of each pattern.
    "bayer_rggb8": ("RG", "GB"),
    "bayer_bggr8": ("BG", "GR"),
    "bayer_gbrg8": ("GB", "RG"),
    "bayer_grbg8": ("GR", "BG"),
}


def _mosaic(pattern: tuple[str, str]) -> np.ndarray[Any, Any]:
    of = {"B": 10, "G": 20, "R": 200}
    return np.tile(np.array([[of[c] for c in row] for row in pattern], np.uint8), (4, 6))


RAW = {
    "rgb8": (RED[:, :, ::-1], RED),
    "bgr8": (RED, RED),
    "8UC3": (RED, RED),
    "bgra8": (np.dstack([RED, np.full((4, 6), 255, np.uint8)]), RED),
    "rgba8": (np.dstack([RED[:, :, ::-1], np.full((4, 6), 255, np.uint8)]), RED),
    "mono8": (RED[:, :, 2], np.repeat(RED[:, :, 2:], 3, 2)),
    **{name: (_mosaic(pattern), np.full((8, 12, 3), RED[0, 0])) for name, pattern in BAYER.items()},
}


@pytest.mark.parametrize("step", [0, 64])
@pytest.mark.parametrize("encoding", RAW)
def test_raw_pixels_keep_their_colours(encoding: str, step: int) -> None:
    pixels, expected = RAW[encoding]
    data = as_file(_message(pixels, encoding, step))
    assert data is not None
    assert decoded(data, cv2.IMREAD_COLOR).tolist() == expected.tolist()


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", (0, 1)), ("uyvy", (0, 1)), ("yuv422_yuy2", (1, 0))])
def test_colours_of_pixel_pairs(encoding: str, order: tuple[int, int]) -> None:
    # Luma 81, and the differences of red in BT.601: 90 and 240.
    first, second = np.array([90, 81]), np.array([240, 81])
    row = np.tile(np.concatenate([first[list(order)], second[list(order)]]), 3).astype(np.uint8)
    image = ImageMessage(np.tile(row, 4).tobytes(), "", encoding, 6, 4, 12)
    data = as_file(image)
    assert data is not None
    found = decoded(data, cv2.IMREAD_COLOR)
    assert np.abs(found.astype(int) - (0, 0, 254)).max() <= 2


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bits_stay_16_bits(order: str) -> None:
    depth = np.arange(24, dtype=order).reshape(4, 6) * 1000
    data = as_file(_message(depth, "mono16"))
    assert data is not None
    assert decoded(data, cv2.IMREAD_UNCHANGED).tolist() == depth.tolist()
    colour = as_file(_message(RED16, "bgr16"))
    assert colour is not None
    assert decoded(colour, cv2.IMREAD_UNCHANGED).tolist() == RED16.tolist()


def test_depth_in_metres_stays_as_it_is() -> None:
    metres = np.linspace(0.5, 12, 24, dtype=np.float32).reshape(4, 6)
    data = as_file(_message(metres, "32FC1"))
    assert data is not None
    assert decoded(data, cv2.IMREAD_UNCHANGED).tolist() == metres.tolist()


@pytest.mark.parametrize(
    "image",
    [
        ImageMessage(b"abc", "", "rgb8", 1, 2),
        ImageMessage(bytes(18), "", "rgb8", 3, 2, 8),
        ImageMessage(bytes(18), "", "rgb8", 3, 2, 10),
        ImageMessage(bytes(18), "", "unheard8", 3, 2),
        ImageMessage(b"", "", "rgb8", 0, 0),
        ImageMessage(bytes(12), "", "yuv422", 3, 2),
        ImageMessage(b"", "", "mono8", 1 << 20, 1 << 20),
    ],
)
def test_pixels_that_do_not_fill_their_image_are_none(image: ImageMessage) -> None:
    assert as_file(image) is None


def test_a_png_of_many_stored_blocks_is_read_by_others() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 301, 3), np.uint8)
    assert decoded(png(pixels), 1)[:, :, ::-1].tolist() == pixels.tolist()


def test_messages_of_random_bytes_are_no_images() -> None:
    rng = np.random.default_rng(0)
    recorded = Recorded(material.raw(ROS2, RED, "bgr8"))
    for size in (0, 3, 4, 20, 200):
        found = image_in(recorded.channel, rng.bytes(size))
        assert found is None or as_file(found) is None


def test_compressed_depth_is_the_png_in_it() -> None:
    depth = np.arange(24, dtype=np.uint16).reshape(4, 6)
    data = bytes(12) + cv2.imencode(".png", depth)[1].tobytes()
    message = material.compressed(ROS2, data, BEGIN_NS, form="16UC1; compressedDepth png")
    channel = Recorded(material.raw(ROS2, RED, "bgr8")).channel._replace(type=material.COMPRESSED)
    image = image_in(channel, bytes(ROS2.serialize_cdr(message, material.COMPRESSED)))
    assert image is not None
    assert image.suffix == ".png"
    assert decoded(image.data, cv2.IMREAD_UNCHANGED).tolist() == depth.tolist()


def test_a_recording_is_a_recording(tmp_path: Path) -> None:
    recording: Recording = open_recording(str(_mcap(tmp_path)))
    assert [channel.topic for channel in recording.channels] == ["/front/camera_info", TOPIC, "/talk"]
    assert len(recording.places("/nowhere")) == 0
    recording.close()
