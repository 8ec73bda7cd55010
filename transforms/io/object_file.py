"""Seekable, read-only file over one object of an object store, for libraries that take a file object."""

from __future__ import annotations

import io
import os
from collections import OrderedDict

from transforms.io import object_store

_BLOCK_BYTES = 2 << 20
_BLOCKS = 8


class ObjectFile(io.RawIOBase):
    """Reads one version of an object in blocks of 2 MiB, and caches the last 8 blocks.

    Raises `object_store.ChangedError` if the object has changed since `entry` was listed, and `OSError` where the store
    fails.
    """

    def __init__(self, entry: object_store.ObjectInfo) -> None:
        super().__init__()
        self.entry = entry
        # Libraries infer the format from the name.
        self.name = entry.uri
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Return True: the file can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: the file can be read from any offset."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte to read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset relative to the start, the current position or the end; return the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.entry.size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, fewer at the end of the object; all remaining bytes for a negative `size`."""
        end = self.entry.size_bytes if size < 0 else min(self.entry.size_bytes, self._at + size)
        parts = []
        while self._at < end:
            number, first = divmod(self._at, _BLOCK_BYTES)
            part = self._block(number)[first : first + end - self._at]
            parts.append(part)
            self._at += len(part)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _BLOCK_BYTES
            end = min(self.entry.size_bytes, start + _BLOCK_BYTES)
            data = object_store.get_range(self.entry, start, end)
            if len(data) != end - start:
                raise object_store.StorageError(f"{self.entry.uri}: expected {end - start} bytes, found {len(data)}")
            self._blocks[number] = data
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]
