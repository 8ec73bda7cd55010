"""ROS 1 bags of version 2.0, through the indexes that `rosbags` reads."""

from __future__ import annotations

import struct
from collections import OrderedDict, defaultdict
from io import BytesIO
from typing import IO, Any, NoReturn

import numpy as np
from rosbags.rosbag1.reader import Header, Reader, ReaderError, RecordType, decompressors, read_bytes, read_uint32

from transforms.io.recordings.chunk_data import decompressed
from transforms.io.recordings.messages import Channel, Places, RecordingError, StoredMessage

_CHUNKS = 3


class _OpenFile:
    """A file that is open already, as `rosbags` asks for a path."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name

    def exists(self) -> bool:
        return True

    def open(self, mode: str) -> IO[bytes]:  # noqa: ARG002 - the mode is always that of reading
        self._file.seek(0)
        return self._file

    def __str__(self) -> str:
        return self._name


class Ros1Bag:
    """An open bag; see `Recording`. Raises `RecordingError` for what is no bag, or one without an index."""

    is_whole = True

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._name = name
        path: Any = _OpenFile(file, name)
        try:
            self._reader = Reader(path)
            self._reader.open()
        except (ReaderError, AssertionError, struct.error, UnicodeDecodeError) as error:
            self._refuse(error)
        self._by_id = {
            one.id: Channel(one.topic, one.msgtype, "ros1", "ros1msg", one.msgdef.data.encode())
            for one in self._reader.connections
        }
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    @staticmethod
    def _refuse(error: Exception) -> NoReturn:
        why = str(error).rstrip(".") or "its records do not fit together"
        if "not indexed" in why:
            why = "it was never closed and has no index; write one with `rosbag reindex FILE`"
        raise RecordingError(f"expected a ROS bag of version 2.0 that can be read: {why}") from error

    @property
    def channels(self) -> list[Channel]:
        """Return the channels, in the order of their numbers."""
        return [self._by_id[number] for number in sorted(self._by_id)]

    def places(self, topic: str) -> Places:
        """Return where the messages of a topic are, in the order of the file."""
        # Sizes are those up to the next message of any topic, or the end of the chunk's compressed data.
        of_chunk: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for number, entries in self._reader.indexes.items():
            for entry in entries:
                of_chunk[entry.chunk_pos].append((entry.offset, entry.time, number))
        wanted = {number for number, channel in self._by_id.items() if channel.topic == topic}
        rows: list[tuple[int, int, int, int]] = []
        for at in sorted(of_chunk):
            found = sorted(of_chunk[at])
            begins = np.array([offset for offset, _, _ in found], np.int64)
            sizes = np.diff(begins, append=max(self._reader.chunks[at].datasize, int(begins[-1]))).tolist()
            rows += [
                (t, at, offset, size)
                for (offset, t, number), size in zip(found, sizes, strict=True)
                if number in wanted
            ]
        return Places.of(rows)

    def message(self, block: int, offset: int) -> StoredMessage:
        """Return the message at a place. Raises `RecordingError` where there is none."""
        chunk = BytesIO(self._load(block))
        chunk.seek(offset)
        try:
            while (header := Header.read(chunk)).get_uint8("op") == RecordType.CONNECTION:
                chunk.seek(read_uint32(chunk), 1)
            channel = self._by_id[header.get_uint32("conn")]
            if header.get_uint8("op") == RecordType.MSGDATA:
                return StoredMessage(channel, read_bytes(chunk, read_uint32(chunk)))
        except (ReaderError, KeyError) as error:
            raise RecordingError(f"{self._name}: the message at {block}-{offset} cannot be read: {error}") from error
        raise RecordingError(f"{self._name}: expected a message at {block}-{offset}: the file is another one now")

    def _load(self, at: int) -> bytes:
        if at not in self._blocks:
            chunk, file = self._reader.chunks.get(at), self._reader.bio
            if chunk is None or file is None:
                raise RecordingError(f"{self._name}: expected a chunk at byte {at}: the file is another one now")
            file.seek(chunk.datapos)
            try:
                method = next(name for name, used in decompressors.items() if used is chunk.decompressor)
                self._blocks[at] = decompressed(read_bytes(file, chunk.datasize), method)
            except Exception as error:
                # Each method of compression has errors of its own.
                raise RecordingError(f"{self._name}: the chunk at byte {at} is damaged: {error}") from error
            if len(self._blocks) > _CHUNKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(at)
        return self._blocks[at]

    def close(self) -> None:
        """Close the file."""
        self._blocks.clear()
        self._reader.close()
