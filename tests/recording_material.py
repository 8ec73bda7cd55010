"""Recordings as the libraries' own writers write them: MCAP with messages of ROS and Foxglove, and ROS bags."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_typestore

BEGIN_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000
ROS2 = get_typestore(Stores.ROS2_HUMBLE)
ROS1 = get_typestore(Stores.ROS1_NOETIC)
IMAGE, COMPRESSED, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
IMU = "std_msgs/msg/String"

Pixels = npt.NDArray[np.uint8]


def scenes(n: int, size: tuple[int, int] = (96, 128), seed: int = 0) -> list[Pixels]:
    """Return images that differ from one another: shape (H, W, 3), BGR, smooth enough for any codec."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 6, 8, 3), np.uint8)
    return [cv2.resize(one, size[::-1], interpolation=cv2.INTER_CUBIC) for one in coarse]


def jpeg(image: Pixels) -> bytes:
    """Return an image as a JPEG."""
    return cv2.imencode(".jpg", image)[1].tobytes()


def _header(store: Any, at_ns: int, frame_id: str) -> Any:
    stamp = store.types["builtin_interfaces/msg/Time"](sec=at_ns // 10**9, nanosec=at_ns % 10**9)
    first = {"seq": 0} if store is ROS1 else {}
    return store.types["std_msgs/msg/Header"](**first, stamp=stamp, frame_id=frame_id)


def compressed(store: Any, data: bytes, at_ns: int, frame_id: str = "front", form: str = "jpeg") -> Any:
    """Return a message with a compressed image."""
    header = _header(store, at_ns, frame_id)
    return store.types[COMPRESSED](header=header, format=form, data=np.frombuffer(data, np.uint8))


def raw(store: Any, pixels: npt.NDArray[Any], encoding: str, at_ns: int = BEGIN_NS, step: int = 0) -> Any:
    """Return a message with raw pixels; `step` pads rows to so many bytes."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    width = pixels.shape[1]
    step = step or rows.shape[1]
    padded = np.pad(rows, ((0, 0), (0, step - rows.shape[1])))
    return store.types[IMAGE](
        header=_header(store, at_ns, "front"),
        height=len(pixels),
        width=width,
        encoding=encoding,
        is_bigendian=int(pixels.dtype.byteorder == ">"),
        step=step,
        data=padded.ravel(),
    )


def camera_info(store: Any) -> Any:
    """Return a message with the calibration of a camera whose focal length is 500 px."""
    k = np.array([500.0, 0, 64, 0, 500, 48, 0, 0, 1])
    roi = store.types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    upper = store is ROS1
    matrices = {"D": np.zeros(5), "K": k, "R": np.eye(3).ravel(), "P": np.zeros(12)}
    return store.types[INFO](
        header=_header(store, BEGIN_NS, "front"),
        height=96,
        width=128,
        distortion_model="plumb_bob",
        **{name if upper else name.lower(): value for name, value in matrices.items()},
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


Messages = Sequence[tuple[str, str, int, Any]]
"""Topic, type, time in ns, and message."""


def of_camera(store: Any, images: Iterable[Pixels], topic: str = "/front/image/compressed") -> list[Any]:
    """Return messages of a camera that compresses, with its calibration and messages of another kind between."""
    found: list[Any] = [("/front/camera_info", INFO, BEGIN_NS, camera_info(store))]
    for number, image in enumerate(images):
        at = BEGIN_NS + number * STEP_NS
        found.append((topic, COMPRESSED, at, compressed(store, jpeg(image), at)))
        found.append(("/talk", IMU, at + 1, store.types[IMU](data=f"word {number}")))
    return found


def write_ros2_mcap(path: Path, messages: Messages, **options: Any) -> Path:
    """Write an MCAP file with messages of ROS 2; `options` are those of the writer."""
    options = {"chunk_size": 8192, "compression": CompressionType.ZSTD, **options}
    with path.open("wb") as file:
        writer: Any = McapWriter(file, **options)
        writer.start("ros2", "test")
        channels: dict[str, int] = {}
        for number, (topic, kind, at, message) in enumerate(messages):
            if topic not in channels:
                text, _ = ROS2.generate_msgdef(kind, ros_version=2)
                schema = writer.register_schema(kind, "ros2msg", text.encode())
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            data = bytes(ROS2.serialize_cdr(message, kind))
            writer.add_message(channels[topic], at, data, at, number)
        writer.finish()
    return path


def write_ros2_bag(folder: Path, messages: Messages) -> Path:
    """Write a ROS 2 bag in SQLite, and return its database."""
    with Ros2Writer(folder, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections: dict[str, Any] = {}
        for topic, kind, at, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS2)
            writer.write(connections[topic], at, ROS2.serialize_cdr(message, kind))
    return next(folder.glob("*.db3"))


def write_ros1_bag(path: Path, messages: Messages, form: str | None = "lz4") -> Path:
    """Write a ROS 1 bag."""
    writer = Ros1Writer(path)
    if form is not None:
        writer.set_compression(Ros1Writer.CompressionFormat[form.upper()])
    with writer:
        connections: dict[str, Any] = {}
        for topic, kind, at, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS1)
            writer.write(connections[topic], at, ROS1.serialize_ros1(message, kind))
    return path


_T = descriptor_pb2.FieldDescriptorProto


def _foxglove(name: str, fields: dict[str, int]) -> tuple[bytes, Any]:
    """Return the definition of a message of Foxglove as a set of descriptors, and the class of its messages."""
    time = descriptor_pb2.FileDescriptorProto(name="google/protobuf/timestamp.proto", package="google.protobuf")
    stamp = time.message_type.add(name="Timestamp")
    stamp.field.add(name="seconds", number=1, type=_T.TYPE_INT64, label=_T.LABEL_OPTIONAL)
    stamp.field.add(name="nanos", number=2, type=_T.TYPE_INT32, label=_T.LABEL_OPTIONAL)
    file = descriptor_pb2.FileDescriptorProto(
        name=f"foxglove/{name}.proto", package="foxglove", syntax="proto3", dependency=[time.name]
    )
    message = file.message_type.add(name=name)
    kind = ".google.protobuf.Timestamp"
    message.field.add(name="timestamp", number=1, type=_T.TYPE_MESSAGE, type_name=kind, label=_T.LABEL_OPTIONAL)
    for number, (field, type_) in enumerate(fields.items(), 2):
        message.field.add(name=field, number=number, type=type_, label=_T.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(time)
    pool.Add(file)
    built = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"foxglove.{name}"))
    return descriptor_pb2.FileDescriptorSet(file=[time, file]).SerializeToString(), built


def write_foxglove(
    path: Path, name: str, fields: Sequence[dict[str, Any]], topic: str = "/cam", **options: Any
) -> Path:
    """Write an MCAP file with messages of Foxglove in protobuf: `name` is `CompressedVideo` or the like."""
    kinds = {bytes: _T.TYPE_BYTES, str: _T.TYPE_STRING, int: _T.TYPE_FIXED32}
    definition, message = _foxglove(name, {field: kinds[type(value)] for field, value in fields[0].items()})
    with path.open("wb") as file:
        writer: Any = McapWriter(file, **({"chunk_size": 8192} | options))
        writer.start("", "test")
        schema = writer.register_schema(f"foxglove.{name}", "protobuf", definition)
        channel = writer.register_channel(topic, "protobuf", schema)
        for number, values in enumerate(fields):
            at = BEGIN_NS + number * STEP_NS
            writer.add_message(channel, at, message(**values).SerializeToString(), at, number)
        writer.finish()
    return path


def write_json(path: Path, images: Sequence[Pixels], topic: str = "/cam") -> Path:
    """Write an MCAP file with compressed images of Foxglove in JSON."""
    with path.open("wb") as file:
        writer: Any = McapWriter(file)
        writer.start("", "test")
        schema = writer.register_schema("foxglove.CompressedImage", "jsonschema", b"{}")
        channel = writer.register_channel(topic, "json", schema)
        for number, image in enumerate(images):
            text = base64.b64encode(jpeg(image)).decode()
            at = BEGIN_NS + number * STEP_NS
            data = json.dumps({"frame_id": "front", "data": text, "format": "jpeg"}).encode()
            writer.add_message(channel, at, data, at)
        writer.finish()
    return path


def video(images: Sequence[Pixels], codec: str = "libx264", group: int = 5) -> list[bytes]:
    """Return images as packets of a codec without images that refer to later ones, one packet each."""
    context: Any = av.CodecContext.create(codec, "w")
    context.height, context.width = images[0].shape[:2]
    context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 10), Fraction(10)
    # Groups are of one length, no matter what the images show.
    plain = "bframes=0:scenecut=0:repeat-headers=1"
    parameters = {"libx264": plain, "libx265": f"{plain}:log-level=none"}
    context.options = {codec.removeprefix("lib") + "-params": parameters[codec], "g": str(group), "tune": "zerolatency"}
    packets = []
    for number, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
        frame.pts = number
        packets += [bytes(packet) for packet in context.encode(frame)]
    packets += [bytes(packet) for packet in context.encode(None)]
    assert len(packets) == len(images)
    return packets
