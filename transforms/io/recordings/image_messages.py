"""Images in messages: the types of ROS and Foxglove that hold one, and what each says of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from transforms.io.recordings.messages import Channel

VIDEO_FORMATS = ("h264", "h265", "hevc", "av1", "vp9")
"""Formats of messages that are decoded from the ones before them."""

# The transport `compressedDepth` puts two numbers for the scale of inverse depth before its PNG.
_DEPTH_HEADER_BYTES = 12
_BEGINNINGS = {b"\x89PNG": ".png", b"RIFF": ".webp", b"II*\0": ".tiff", b"MM\0*": ".tiff", b"BM": ".bmp"}


class ImageMessage(NamedTuple):
    """An image in a message.

    `format` is `""` for a JPEG, a PNG or another file, one of `VIDEO_FORMATS`, or the encoding of raw pixels, such as
    `rgb8`: then `width` and `height` are in pixels, and a row begins every `step` bytes. `frame_id` names the frame of
    reference of the camera.
    """

    data: bytes
    frame_id: str
    format: str = ""
    width: int = 0
    height: int = 0
    step: int = 0
    is_big_endian: bool = False

    @property
    def suffix(self) -> str:
        """Return the usual ending of a file with the image, as it is read from the recording."""
        if self.format:
            return ".tiff" if self.format.lower().startswith("32fc") else ".png"
        return next((suffix for begin, suffix in _BEGINNINGS.items() if self.data.startswith(begin)), ".jpg")


def _of_ros_raw(said: Any) -> ImageMessage:
    return ImageMessage(
        bytes(said.data),
        said.header.frame_id,
        said.encoding,
        said.width,
        said.height,
        said.step,
        bool(said.is_bigendian),
    )


def _of_ros_compressed(said: Any) -> ImageMessage:
    data, kind = bytes(said.data), said.format.lower()
    if "compresseddepth" in kind:
        data = data[_DEPTH_HEADER_BYTES:]
    return ImageMessage(data, said.header.frame_id, kind if kind in VIDEO_FORMATS else "")


def _of_raw(said: Any) -> ImageMessage:
    return ImageMessage(bytes(said.data), said.frame_id, said.encoding, said.width, said.height, said.step)


def _of_compressed(said: Any) -> ImageMessage:
    kind = said.format.lower()
    return ImageMessage(bytes(said.data), said.frame_id, kind if kind in VIDEO_FORMATS else "")


_READERS: dict[str, Callable[[Any], ImageMessage]] = {
    "sensor_msgs/Image": _of_ros_raw,
    "sensor_msgs/CompressedImage": _of_ros_compressed,
    "foxglove/RawImage": _of_raw,
    "foxglove/CompressedImage": _of_compressed,
    "foxglove/CompressedVideo": _of_compressed,
}
_CALIBRATIONS = {"sensor_msgs/CameraInfo": "d k r p", "foxglove/CameraCalibration": "D K R P"}


def type_of(channel: Channel) -> str:
    """Return a channel's type in one spelling for all versions: `sensor_msgs/Image`, `foxglove/RawImage`."""
    return channel.type.replace("/msg/", "/").replace("foxglove_msgs/", "foxglove/").replace("foxglove.", "foxglove/")


def holds_images(channel: Channel) -> bool:
    """Return whether the messages of a channel are images."""
    return type_of(channel) in _READERS


def is_calibration(channel: Channel) -> bool:
    """Return whether the messages of a channel say how a camera sees."""
    return type_of(channel) in _CALIBRATIONS


def image_in(channel: Channel, data: bytes) -> ImageMessage | None:
    """Return the image of a message of a channel that holds images; None where the message is not what it should be."""
    try:
        return _READERS[type_of(channel)](_decoder(channel)(data))
    except Exception:
        return None


def calibration_in(channel: Channel, data: bytes) -> str | None:
    """Return a calibration as JSON, or None if it is damaged: width, height, distortion_model, D, K, R and P."""
    names = _CALIBRATIONS[type_of(channel)].split()
    try:
        said = _decoder(channel)(data)
        numbers = {
            name.upper(): [float(value) for value in getattr(said, name, getattr(said, name.upper(), ()))]
            for name in names
        }
        found = {"width": int(said.width), "height": int(said.height), "distortion_model": said.distortion_model}
        return json.dumps(found | numbers)
    except Exception:
        return None


@cache
def _decoder(channel: Channel) -> Callable[[bytes], Any]:
    """Return what decodes the messages of a channel. Raises `ValueError` for an encoding that is not known."""
    if channel.encoding == "json":
        return _from_json
    if channel.encoding == "protobuf":
        from mcap.records import Schema
        from mcap_protobuf.decoder import DecoderFactory

        schema = Schema(data=channel.definition, encoding=channel.language, id=1, name=channel.type)
        decode: Callable[[bytes], Any] | None = DecoderFactory().decoder_for(channel.encoding, schema)
        if decode is not None:
            return decode
    if channel.encoding in {"cdr", "ros1"}:
        return _ros_decoder(channel)
    raise ValueError(f"messages of {channel.topic} are written as {channel.encoding!r}, which is not known")


def _ros_decoder(channel: Channel) -> Callable[[bytes], Any]:
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    package, _, name = type_of(channel).rpartition("/")
    kind = f"{'foxglove_msgs' if package == 'foxglove' else package}/msg/{name}"
    is_first = channel.encoding == "ros1"
    store = get_typestore(Stores.ROS1_NOETIC if is_first else Stores.ROS2_HUMBLE)
    if kind not in store.types:
        text = channel.definition.decode()
        store.register(get_types_from_idl(text) if channel.language == "ros2idl" else get_types_from_msg(text, kind))
    return lambda data: (store.deserialize_ros1 if is_first else store.deserialize_cdr)(data, kind)


class _Fields:
    """The fields of a message in JSON, by their names, as those of other encodings are."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        try:
            found = self._fields[name]
        except KeyError:
            raise AttributeError(name) from None
        return base64.b64decode(found, validate=True) if name == "data" else found


def _from_json(data: bytes) -> Any:
    return _Fields(json.loads(data))
