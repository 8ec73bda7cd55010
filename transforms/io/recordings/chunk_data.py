"""Chunks of recordings, decompressed to no more than they may have: a few bytes may be any number when unpacked."""

from __future__ import annotations

from bz2 import BZ2Decompressor

from transforms.io.recordings.messages import RecordingError

MOST_BYTES = 1 << 30
"""Bytes that a chunk may have when it is decompressed."""

_PIECE_BYTES = 1 << 20


def decompressed(data: bytes, method: str, most: int = MOST_BYTES) -> bytes:
    """Return the data of a chunk, of at most `most` bytes; `method` is `none` or empty, `bz2`, `lz4` or `zstd`.

    Raises `RecordingError` for more bytes, for data of `bz2` and `lz4` that end too early (those of `zstd` are shorter
    than a recording says), and for other methods; of damaged data also what the methods raise.
    """
    if method in {"", "none"}:
        found = data
    elif method == "bz2":
        found = _bz2(data, most)
    elif method == "lz4":
        found = _lz4(data, most)
    elif method == "zstd":
        found = _zstd(data, most)
    else:
        raise RecordingError(f"expected chunks compressed by bz2, lz4 or zstd, found {method[:40]!r}")
    if len(found) > most:
        raise RecordingError(f"expected a chunk of at most {most:,} bytes, found more when it is decompressed")
    return found


def _bz2(data: bytes, most: int) -> bytes:
    found = b""
    while data and len(found) <= most:
        one = BZ2Decompressor()
        found += one.decompress(data, most + 1 - len(found))
        if not one.eof and len(found) <= most:
            raise RecordingError("its compressed data end too early")
        data = one.unused_data
    return found


def _lz4(data: bytes, most: int) -> bytes:
    import lz4.frame

    one = lz4.frame.LZ4FrameDecompressor()
    found = bytes(one.decompress(data, max_length=most + 1))
    if not one.eof and len(found) <= most:
        raise RecordingError("its compressed data end too early")
    return found


def _zstd(data: bytes, most: int) -> bytes:
    import zstandard

    parts: list[bytes] = []
    with zstandard.ZstdDecompressor().stream_reader(data) as stream:
        while (piece := stream.read(_PIECE_BYTES)) and sum(map(len, parts)) <= most:
            parts.append(piece)
    return b"".join(parts)
