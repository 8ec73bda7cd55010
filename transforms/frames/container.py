"""The files of clips: opened, told apart from what is none, and read packet by packet."""

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
    """The file is no clip that can be opened."""


def clip_source(path: str) -> Path | ObjectFile:
    """Return what a clip is read from. Raises `OSError` for an object that is not there."""
    return ObjectFile(object_store.head(path)) if object_store.is_object(path) else Path(path)


def status_of(source: Path | ObjectFile) -> tuple[int, int, int]:
    """Return size in bytes, mtime in ns and inode: what tells whether a file is still the same one."""
    if isinstance(source, ObjectFile):
        # Every read asks for just this content of it.
        return source.entry.size_bytes, source.entry.mtime_ns, 0
    found = source.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def open_clip(source: Path | ObjectFile) -> Any:
    """Open a clip. Raises `ClipError` for what holds no video, `OSError` for what cannot be read."""
    import av

    if isinstance(source, Path):
        if not stat.S_ISREG(source.stat().st_mode):
            raise NoFileError(f"{source} is no regular file")
        if not os.access(source, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(source))
    try:
        container = av.open(str(source) if isinstance(source, Path) else source, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise ClipError(f"expected a video clip, found something else ({error})") from error
    streams = container.streams.video
    # Decoding a stream whose parameters are unknown ends the process.
    if not streams or streams[0].codec_context is None:
        container.close()
        raise ClipError("expected a video stream that can be decoded, found none")
    return container


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the stream's packets in order of decoding; where the file is damaged, those that can be read."""
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
