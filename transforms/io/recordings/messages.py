"""What a recording consists of: channels, and messages at places in the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]


class RecordingError(OSError):
    """The file is no recording that can be read, or one of its messages is not where it was."""


class Channel(NamedTuple):
    """One publisher's messages on a topic.

    `type` is the name of the messages' type as the file says it, `encoding` how they are written (`cdr`, `ros1`,
    `protobuf`, `json`), and `definition` the definition of the type, in the language `language`.
    """

    topic: str
    type: str
    encoding: str
    language: str
    definition: bytes


class StoredMessage(NamedTuple):
    """The bytes of a message. `is_sound` is False where the checksum of the part of the file around it is wrong."""

    channel: Channel
    data: bytes
    is_sound: bool = True


@dataclass(frozen=True)
class Places:
    """Where the messages of a topic are, in the order of the file; arrays of shape (N,), int64.

    `t_ns` is when each was recorded, in ns since 1970. `block` and `offset` are the place: the position of a compressed
    part of the file, and that of the message in it, in bytes, or -1 and the position in the file itself (-1 and the id
    of the row in a database). `size_bytes` is how much of the file, uncompressed, ends with the next message.
    """

    t_ns: Int64Array
    block: Int64Array
    offset: Int64Array
    size_bytes: Int64Array

    @classmethod
    def of(cls, rows: list[tuple[int, int, int, int]]) -> Places:
        """Return places from rows of time, block, offset and size."""
        table = np.array(rows, np.int64).reshape(-1, 4)
        return cls(*(np.ascontiguousarray(column) for column in table.T))

    def __len__(self) -> int:
        return len(self.t_ns)


class Recording(Protocol):
    """An open recording. Memory does not grow with its length but for `places`: 32 bytes a message of the topic."""

    @property
    def channels(self) -> list[Channel]:
        """Return the channels, in the order of their numbers."""

    is_whole: bool
    """Whether the file ends as its format says; what a recorder without power left of it is read all the same."""

    def places(self, topic: str) -> Places:
        """Return where the messages of a topic are."""

    def message(self, block: int, offset: int) -> StoredMessage:
        """Return the message at a place. Raises `RecordingError` where there is none."""

    def close(self) -> None:
        """Close the file."""
