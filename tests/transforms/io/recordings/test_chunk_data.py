from __future__ import annotations

import bz2
import tracemalloc
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard

from transforms.io.recordings.chunk_data import decompressed
from transforms.io.recordings.messages import RecordingError

METHODS: dict[str, Callable[[bytes], bytes]] = {
    "bz2": bz2.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("method", METHODS)
def test_data_come_back_up_to_their_most_bytes(method: str) -> None:
    data = bytes(range(256)) * 9000
    packed = METHODS[method](data)
    assert decompressed(packed, method) == decompressed(packed, method, len(data)) == data
    with pytest.raises(RecordingError, match="expected a chunk of at most 2,303,999 bytes, found more"):
        decompressed(packed, method, len(data) - 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_small_chunk_of_very_many_bytes_takes_no_more_than_it_may(method: str) -> None:
    packed = METHODS[method](bytes(64 << 20))
    assert len(packed) < 1 << 20
    tracemalloc.start()
    with pytest.raises(RecordingError, match="found more when it is decompressed"):
        decompressed(packed, method, 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("method", ["bz2", "lz4"])
def test_data_that_end_too_early_are_damaged(method: str) -> None:
    packed = METHODS[method](bytes(range(256)) * 900)
    with pytest.raises(RecordingError, match="end too early"):
        decompressed(packed[:-8], method)


def test_chunks_that_are_not_compressed_and_other_methods() -> None:
    assert decompressed(b"abc", "") == decompressed(b"abc", "none") == b"abc"
    with pytest.raises(RecordingError, match="at most 2 bytes"):
        decompressed(b"abc", "none", 2)
    with pytest.raises(RecordingError, match="found 'rar'"):
        decompressed(b"abc", "rar")
