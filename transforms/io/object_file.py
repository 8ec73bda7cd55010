"""An object as a file that can be read from anywhere in it, for libraries that want one."""

from __future__ import annotations

import io
import os
from collections import OrderedDict

from transforms.io import object_store

_BLOCK_BYTES = 2 << 20
_BLOCKS = 8


class ObjectFile(io.RawIOBase):
    """Reads an object as it was seen, in blocks of which the last few are kept.

    Raises `buckets.ChangedError` once it is another one, and `OSError` where its store does not give it.
    """

    def __init__(self, entry: object_store.ObjectInfo) -> None:
        super().__init__()
        self.entry = entry
        # Libraries tell formats by it.
        self.name = entry.uri
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte, counted from the start, from here or from the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.entry.size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes: as many as are asked for, unless the object ends before."""
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
