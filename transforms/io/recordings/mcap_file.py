"""MCAP files (https://mcap.dev/spec): listed through their indexes, or record by record where they have none."""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict, defaultdict
from typing import IO, NamedTuple

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel as ChannelRecord
from mcap.records import Chunk, ChunkIndex, Schema

from transforms.io.recordings.chunk_data import MOST_BYTES, decompressed
from transforms.io.recordings.messages import Channel, Places, RecordingError, StoredMessage

MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_INDEX_HEAD = struct.Struct("<BQHI")
_CHUNKS = 3
_Row = tuple[int, int, int, int]


class _Block(NamedTuple):
    """A chunk's uncompressed records, whether its checksum is right, and where its messages begin, in order."""

    data: bytes
    is_sound: bool
    messages: list[tuple[int, int, int]]
    """Channel, time in ns, and offset in `data`."""


class McapFile:
    """An open MCAP file, whole or cut off; see `Recording`. Raises `RecordingError` for what is no MCAP file."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name
        self._by_id: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._chunks: list[ChunkIndex] = []
        self._rows: dict[int, list[_Row]] | None = None
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        file.seek(0)
        if (begin := file.read(len(MAGIC))) != MAGIC:
            raise RecordingError(f"expected an MCAP file, found one that starts with {begin.hex(' ') or 'nothing'}")
        self.is_whole = self._read_summary()
        if not self.is_whole or not self._is_indexed():
            self._walk()

    @property
    def channels(self) -> list[Channel]:
        """Return the channels, in the order of their numbers."""
        return [self._by_id[number] for number in sorted(self._by_id)]

    def _read_summary(self) -> bool:
        """Read what the end of the file says of its channels and chunks; return whether it has such an end."""
        try:
            self._file.seek(0)
            summary = SeekingReader(self._file).get_summary()
        except (McapError, ValueError, OSError, struct.error):
            return False
        for schema in summary.schemas.values() if summary else ():
            self._schemas[schema.id] = schema
        for channel in summary.channels.values() if summary else ():
            self._add(channel)
        self._chunks = sorted(summary.chunk_indexes, key=lambda c: c.chunk_start_offset) if summary else []
        return True

    def _is_indexed(self) -> bool:
        """Return whether all messages are in chunks with indexes, so that the file need not be gone through."""
        return bool(self._by_id and self._chunks) and all(chunk.message_index_offsets for chunk in self._chunks)

    def _add(self, channel: ChannelRecord) -> None:
        schema = self._schemas.get(channel.schema_id)
        kind = (schema.name, schema.encoding, schema.data) if schema else ("", "", b"")
        self._by_id[channel.id] = Channel(channel.topic, kind[0], channel.message_encoding, kind[1], kind[2])

    def places(self, topic: str) -> Places:
        """Return where the messages of a topic are, in the order of the file."""
        wanted = {number for number, channel in self._by_id.items() if channel.topic == topic}
        if self._rows is not None:
            return Places.of(sorted((row for n in wanted for row in self._rows.get(n, [])), key=_place))
        found: list[_Row] = []
        for chunk in self._chunks:
            if wanted & chunk.message_index_offsets.keys():
                found += self._indexed(chunk, wanted)
        return Places.of(found)

    def _indexed(self, chunk: ChunkIndex, wanted: set[int]) -> list[_Row]:
        """Return the rows of a chunk from its indexes."""
        self._file.seek(min(chunk.message_index_offsets.values()))
        data = self._file.read(chunk.message_index_length)
        at, times, offsets, channels = 0, [], [], []
        while at + _INDEX_HEAD.size <= len(data):
            code, length, channel, n_bytes = _INDEX_HEAD.unpack_from(data, at)
            if code == Opcode.MESSAGE_INDEX:
                entries = np.frombuffer(data, "<u8", n_bytes // 8, at + _INDEX_HEAD.size).reshape(-1, 2)
                times.append(entries[:, 0])
                offsets.append(entries[:, 1])
                channels.append(np.full(len(entries), channel))
            at += _HEAD.size + length
        if not offsets:
            return []
        offset = np.concatenate(offsets).astype(np.int64)
        order = np.argsort(offset, kind="stable")
        offset = offset[order]
        size = np.diff(offset, append=chunk.uncompressed_size)
        rows = zip(
            np.concatenate(channels)[order].tolist(),
            np.concatenate(times)[order].astype(np.int64).tolist(),
            offset.tolist(),
            size.tolist(),
            strict=True,
        )
        return [(t, chunk.chunk_start_offset, at, n) for channel, t, at, n in rows if channel in wanted]

    def _walk(self) -> None:
        """List messages and channels record by record, up to where the file is cut off or damaged."""
        rows: dict[int, list[_Row]] = defaultdict(list)
        at = len(MAGIC)
        while True:
            self._file.seek(at)
            head = self._file.read(_HEAD.size)
            if len(head) < _HEAD.size or head.startswith(MAGIC):
                break
            code, length = _HEAD.unpack(head)
            end = at + _HEAD.size + length
            if code == Opcode.CHUNK:
                try:
                    block = self._load(at)
                except RecordingError:
                    # The last one may be cut off. What a damaged one holds cannot be listed.
                    self.is_whole = False
                else:
                    ends = [*(m[2] for m in block.messages[1:]), len(block.data)]
                    for (channel, t, offset), following in zip(block.messages, ends, strict=True):
                        rows[channel].append((t, at, offset, following - offset))
            elif code == Opcode.MESSAGE:
                data = self._file.read(_MESSAGE.size)
                if len(data) == _MESSAGE.size and self._has(end):
                    channel, _, t, _ = _MESSAGE.unpack(data)
                    rows[channel].append((t, -1, at, _HEAD.size + length))
            elif code in {Opcode.SCHEMA, Opcode.CHANNEL} and length < MOST_BYTES:
                self._declare(code, self._file.read(length))
            elif code == 0 or code > Opcode.DATA_END:
                break
            at = end
        self._rows = rows

    def _has(self, end: int) -> bool:
        self._file.seek(end - 1)
        return len(self._file.read(1)) == 1

    def _declare(self, code: int, data: bytes) -> None:
        import io

        try:
            stream = ReadDataStream(io.BytesIO(data))
            if code == Opcode.SCHEMA:
                schema = Schema.read(stream)
                self._schemas[schema.id] = schema
            else:
                self._add(ChannelRecord.read(stream))
        except (McapError, ValueError, struct.error):
            self.is_whole = False

    def _load(self, at: int) -> _Block:
        """Return the chunk at a position of the file. Raises `RecordingError` if it cannot be read."""
        if at in self._blocks:
            self._blocks.move_to_end(at)
            return self._blocks[at]
        try:
            self._file.seek(at)
            code, length = _HEAD.unpack(self._file.read(_HEAD.size))
            if code != Opcode.CHUNK or not self._has(at + _HEAD.size + length):
                raise RecordingError(f"{self._name}: expected a chunk at byte {at}, found none, or one that is cut off")
            self._file.seek(at + _HEAD.size)
            chunk = Chunk.read(ReadDataStream(self._file))
            if chunk.uncompressed_size > MOST_BYTES:
                raise RecordingError(
                    f"{self._name}: the chunk at byte {at} claims {chunk.uncompressed_size} bytes, over 1 GiB"
                )
        except RecordingError:
            raise
        except Exception as error:
            raise RecordingError(f"{self._name}: the chunk at byte {at} is damaged: {error}") from error
        try:
            # What it claims is what it may have: a chunk with more is none that a recorder wrote.
            data = decompressed(chunk.data, chunk.compression, chunk.uncompressed_size)
            if len(data) < chunk.uncompressed_size:
                raise RecordingError(f"expected {chunk.uncompressed_size:,} bytes in it, found {len(data):,}")
        except Exception as error:
            # Each method of compression has errors of its own.
            raise RecordingError(f"{self._name}: the chunk at byte {at} is damaged: {error}") from error
        is_sound = chunk.uncompressed_crc in {0, zlib.crc32(data)}
        block = _Block(data, is_sound, self._messages_of(data))
        self._blocks[at] = block
        if len(self._blocks) > _CHUNKS:
            self._blocks.popitem(last=False)
        return block

    def _messages_of(self, data: bytes) -> list[tuple[int, int, int]]:
        found, at = [], 0
        while at + _HEAD.size <= len(data):
            code, length = _HEAD.unpack_from(data, at)
            end = at + _HEAD.size + length
            if end > len(data):
                break
            if code == Opcode.MESSAGE and length >= _MESSAGE.size:
                channel, _, t, _ = _MESSAGE.unpack_from(data, at + _HEAD.size)
                found.append((channel, t, at))
            elif code in {Opcode.SCHEMA, Opcode.CHANNEL}:
                self._declare(code, data[at + _HEAD.size : end])
            at = end
        return found

    def message(self, block: int, offset: int) -> StoredMessage:
        """Return the message at a place. Raises `RecordingError` where there is none."""
        if block < 0:
            self._file.seek(offset)
            head = self._file.read(_HEAD.size)
            length = _HEAD.unpack(head)[1] if len(head) == _HEAD.size else 0
            data = head + self._file.read(min(length, MOST_BYTES))
            return self._cut(data, 0, True)
        found = self._load(block)
        return self._cut(found.data, offset, found.is_sound)

    def _cut(self, data: bytes, at: int, is_sound: bool) -> StoredMessage:
        begin = at + _HEAD.size + _MESSAGE.size
        if begin <= len(data):
            code, length = _HEAD.unpack_from(data, at)
            channel = self._by_id.get(_MESSAGE.unpack_from(data, at + _HEAD.size)[0])
            end = at + _HEAD.size + length
            if code == Opcode.MESSAGE and channel is not None and begin <= end <= len(data):
                return StoredMessage(channel, data[begin:end], is_sound)
        why = "the file is another one now" if is_sound else "the chunk is damaged"
        raise RecordingError(f"{self._name}: expected a message at byte {at}, found none: {why}")

    def close(self) -> None:
        """Close the file."""
        self._blocks.clear()
        self._file.close()


def _place(row: _Row) -> tuple[int, int]:
    """Return what puts rows into the order of the file."""
    return (row[2], 0) if row[1] < 0 else (row[1], row[2])
