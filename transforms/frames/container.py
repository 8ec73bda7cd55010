"""Opening video containers and reading their packets."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transforms.io import object_store
from transforms.io.frame_bytes import NoFileError
from transforms.io.object_file import ObjectFile

_BOX_HEADER_BYTES = 16
_MOST_BOXES = 1000


class ClipError(OSError):
    """The file is not a video clip that can be opened."""


def clip_source(path: str) -> Path | ObjectFile:
    """Return the path or seekable object of a clip. Raises `OSError` for an object that does not exist."""
    return ObjectFile(object_store.head(path)) if object_store.is_object(path) else Path(path)


def status_of(source: Path | ObjectFile) -> tuple[int, int, int]:
    """Return size in bytes, mtime in ns and inode, which together detect that a file was replaced or modified."""
    if isinstance(source, ObjectFile):
        # Every read of an object is conditional on its entity tag, so that no inode is needed.
        return source.entry.size_bytes, source.entry.mtime_ns, 0
    found = source.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def open_clip(source: Path | ObjectFile) -> Any:
    """Open a clip with PyAV.

    Raises `ClipError` for files without a decodable video stream, `OSError` for what cannot be read.
    """
    import av

    if isinstance(source, Path):
        if not stat.S_ISREG(source.stat().st_mode):
            raise NoFileError(f"{source}: expected a regular file, found a folder, a pipe or a device")
        if not os.access(source, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(source))
    try:
        container = av.open(str(source) if isinstance(source, Path) else source, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise ClipError(_why_not_a_clip(source, error)) from error
    try:
        video_of(container)
    except ClipError:
        container.close()
        raise
    return container


def video_of(container: Any) -> Any:
    """Return the video stream of a clip: the first one that is no cover image. Raises `ClipError` without one."""
    from av.stream import Disposition

    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams} - {"video"})
        found = " and ".join(("sound" if kind == "audio" else kind) for kind in kinds) or "none"
        cover = " with a cover picture" if container.streams.video else ""
        raise ClipError(f"expected a video stream, found {found}{cover}" + (" only" if kinds else ""))
    # Decoding a stream without codec parameters crashes the process.
    if streams[0].codec_context is None:
        raise ClipError("expected a video stream that can be decoded, found one of an unknown codec")
    return streams[0]


def _why_not_a_clip(source: Path | ObjectFile, error: Exception) -> str:
    """Return in words why a file cannot be opened as a clip."""
    begin, boxes = _boxes(source)
    if not begin:
        return "expected a video clip, found an empty file"
    if boxes and boxes[0] == b"ftyp" and b"moov" not in boxes:
        return (
            "expected a video clip, found a recording that was never closed, or a part of one: the index of its frames "
            "(`moov`), which is written last, is missing. Copy it from the camera again; if it is no longer than this "
            "there, tools such as untrunc can rebuild the index with the help of a sound recording of the same camera"
        )
    if isinstance(error, EOFError):
        return "expected a video clip with frames, found one that ends before its first: nothing was recorded"
    said = getattr(error, "strerror", None) or str(error)
    return f"expected a video clip, found something else: it starts with {begin[:8].hex(' ')} ({said})"


def _boxes(source: Path | ObjectFile) -> tuple[bytes, list[bytes]]:
    """Return the first bytes of a file and the types of its boxes (ISO/IEC 14496-12, 4.2), as far as they go."""
    boxes: list[bytes] = []
    with source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source) as file:
        file.seek(0)
        begin = head = file.read(_BOX_HEADER_BYTES)
        at = 0
        while len(head) == _BOX_HEADER_BYTES and len(boxes) < _MOST_BOXES:
            size, kind, long_size = struct.unpack(">I4sQ", head)
            boxes.append(kind)
            size = long_size if size == 1 else size
            if size < _BOX_HEADER_BYTES // 2:
                break
            at += size
            file.seek(at)
            head = file.read(_BOX_HEADER_BYTES)
    return begin, boxes


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the stream's packets in decoding order; damaged parts of the file are skipped."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.error.InvalidDataError:
            continue
        if packet.size:
            yield packet
