"""Opening video containers and reading their packets."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transforms.io import object_store
from transforms.io.frame_bytes import NoFileError
from transforms.io.object_file import ObjectFile


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
        raise ClipError(f"expected a video clip, found something else ({error})") from error
    streams = container.streams.video
    # Decoding a stream without codec parameters crashes the process.
    if not streams or streams[0].codec_context is None:
        container.close()
        raise ClipError("expected a video stream that can be decoded, found none")
    return container


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
