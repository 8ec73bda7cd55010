"""Frames of recordings by name, each as the bytes of an image file: `drive.mcap#topic=%2Ffront&at=4096-73.jpg`."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from pathlib import Path
from threading import Lock, RLock
from typing import IO, NamedTuple, Self, cast
from urllib.parse import quote, unquote

import numpy as np

from transforms.io import object_store
from transforms.io.object_file import ObjectFile
from transforms.io.recordings.image_messages import VIDEO_FORMATS, ImageMessage, holds_images, image_in
from transforms.io.recordings.messages import Places, Recording, RecordingError
from transforms.io.recordings.raw_image import as_file
from transforms.io.recordings.video_messages import VideoMessages

EXTENSIONS = ("mcap", "bag", "db3")
_FRAGMENT = r"#topic=(?P<topic>[^#&]+)&at=(?P<block>-?[0-9]+)-(?P<offset>-?[0-9]+)(?P<suffix>\.[a-z]+)$"
_NAME = re.compile(r"(?P<path>.+)" + _FRAGMENT, re.DOTALL)
RECORDED_PATTERN = _FRAGMENT
"""Matches the end of the name of a recording's frame, as an RE2 pattern with named groups: `suffix`, of its image."""

_OPEN = 4


class RecordedName(NamedTuple):
    """The name of a frame of a recording: path of the file, topic, place of the message, and suffix of the image."""

    path: str
    topic: str
    block: int
    offset: int
    suffix: str = ".jpg"

    @classmethod
    def parse(cls, uri: str) -> Self | None:
        """Return the parts of a URI, or None if it names something else."""
        # Files are many, and their names are matched quickly so.
        found = _NAME.fullmatch(uri) if "#topic=" in uri else None
        if found is None:
            return None
        return cls(found["path"], unquote(found["topic"]), int(found["block"]), int(found["offset"]), found["suffix"])


def fragments(topic: str, places: Places, suffix: str) -> list[str]:
    """Return what is appended to a recording's path to name its messages; `suffix` is that of the images, `.jpg`."""
    begin = f"#topic={quote(topic, safe='')}&at="
    return [
        f"{begin}{block}-{at}{suffix}" for block, at in zip(places.block.tolist(), places.offset.tolist(), strict=True)
    ]


class Version(NamedTuple):
    """What tells one version of a file from another: size in bytes, mtime in ns, inode, and ctime in ns.

    Objects have neither inode nor ctime.
    """

    size_bytes: int
    mtime_ns: int
    inode: int = 0
    changed_ns: int | None = None


class RecordedImage(NamedTuple):
    """A frame's bytes as an image file, the size of its message in bytes, and the version of the recording."""

    data: bytes
    size_bytes: int
    version: Version
    read_ns: int


def version_of(path: str) -> Version:
    """Return the version of a file or an object. Raises `OSError` if it is not there."""
    if object_store.is_object(path):
        entry = object_store.head(path)
        return Version(entry.size_bytes, entry.mtime_ns)
    found = Path(path).stat()
    return Version(found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)


def open_recording(path: str) -> Recording:
    """Open a recording by its extension. Raises `RecordingError` for what is none, and `OSError`.

    Raises `ModuleNotFoundError` where the packages of the extra `recordings` are missing.
    """
    kind = path.rpartition(".")[2].lower()
    if kind == "db3":
        from transforms.io.recordings.ros2_database import Ros2Database

        if object_store.is_object(path):
            raise RecordingError("databases are read from disks only; copy it to one, or convert it to MCAP")
        return Ros2Database(path)
    file = cast("IO[bytes]", ObjectFile(object_store.head(path))) if object_store.is_object(path) else open(path, "rb")  # noqa: SIM115 - the recording closes it
    try:
        if kind == "bag":
            from transforms.io.recordings.ros1_bag import Ros1Bag

            return Ros1Bag(file, path)
        from transforms.io.recordings.mcap_file import McapFile

        return McapFile(file, path)
    except BaseException:
        file.close()
        raise


class RecordedTopic:
    """The frames of one topic of an open recording."""

    def __init__(self, recording: Recording, topic: str) -> None:
        self._recording = recording
        self.places = recording.places(topic)
        self._numbers = {
            place: number
            for number, place in enumerate(zip(self.places.block.tolist(), self.places.offset.tolist(), strict=True))
        }
        self._video = VideoMessages(self._image, len(self.places))

    def file(self, block: int, offset: int) -> tuple[bytes, int]:
        """Return a frame as an image file, and the size of its message. Raises `RecordingError` if it is not there.

        A message that is damaged, or whose pixels are in an encoding that is not known, is returned as it is: no image.
        """
        number = self._numbers.get((block, offset))
        if number is None:
            raise RecordingError(f"expected a message at {block}-{offset}, found none: the file is another one now")
        stored = self._recording.message(block, offset)
        size = int(self.places.size_bytes[number])
        image = image_in(stored.channel, stored.data) if holds_images(stored.channel) else None
        if image is None:
            return stored.data, size
        if image.format in VIDEO_FORMATS:
            return self._video.file(number) or stored.data, size
        if image.format:
            return (as_file(image) if stored.is_sound else None) or stored.data, size
        return image.data, size

    def _image(self, number: int) -> ImageMessage | None:
        try:
            stored = self._recording.message(int(self.places.block[number]), int(self.places.offset[number]))
        except RecordingError:
            return None
        return image_in(stored.channel, stored.data) if stored.is_sound else None


class _Opened:
    def __init__(self, path: str, version: Version) -> None:
        self.version = version
        self.lock = RLock()
        self._path = path
        self._recording: Recording | None = None
        self._topics: dict[str, RecordedTopic] = {}

    def topic(self, name: str) -> RecordedTopic:
        if self._recording is None:
            self._recording = open_recording(self._path)
        if name not in self._topics:
            self._topics[name] = RecordedTopic(self._recording, name)
        return self._topics[name]

    def close(self) -> None:
        with self.lock:
            if self._recording is not None:
                self._recording.close()
            self._recording = None
            self._topics.clear()


_opened: OrderedDict[str, _Opened] = OrderedDict()
_lock = Lock()


def read_recorded(name: RecordedName) -> RecordedImage:
    """Return a frame of a recording. Raises `OSError` where it cannot be read.

    The last recordings stay open, so that frames that are requested in order are read, and decoded, once.
    """
    read_ns = time.time_ns()
    version = version_of(name.path)
    opened = _current(name.path, version)
    with opened.lock:
        try:
            data, size = opened.topic(name.topic).file(name.block, name.offset)
        except ModuleNotFoundError as error:
            raise RecordingError(f"{name.path}: {error}; recordings need winnow[recordings]") from error
    if version_of(name.path) != version:
        raise RecordingError(f"{name.path} changed while it was read")
    return RecordedImage(data, size, version, read_ns)


def _current(path: str, version: Version) -> _Opened:
    closing = []
    with _lock:
        found = _opened.get(path)
        if found is None or found.version != version:
            closing += [found] if found else []
            found = _opened[path] = _Opened(path, version)
        _opened.move_to_end(path)
        while len(_opened) > _OPEN:
            closing.append(_opened.popitem(last=False)[1])
    for old in closing:
        old.close()
    return found


def by_time(places: Places) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the positions of messages in the order of their times; of one time, as in the file."""
    return np.argsort(places.t_ns, kind="stable")
