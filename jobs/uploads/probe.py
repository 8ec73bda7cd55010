"""What is in a file that somebody sent: found out by its content, never by its name alone.

`probe_process` runs this in a process of its own, with limits of memory and processor time, since a file may be made to
harm its reader.
"""

from __future__ import annotations

import codecs
from itertools import islice
from pathlib import Path
from typing import Any

from jobs.core.errors import one_line
from transforms.frames import clip, name_pattern
from transforms.frames.container import ClipError, clip_source, open_clip, packets_of, video_of
from transforms.frames.image import CorruptImageError, ImageParams, decode_checked, read_header, refuse_unless_sane
from transforms.io.recordings import recorded_frame
from transforms.io.recordings.image_messages import holds_images

_HEAD = 4096
_IMAGE_BYTES = 512 << 20
_TRIED_PACKETS = 300
_MOST_SIDE = 16384
_MAGIC = (
    (b"PK\x03\x04", "a zip archive; unpack it and send what is in it"),
    (b"\x1f\x8b", "a gzip archive; unpack it and send what is in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it and send what is in it"),
    (b"Rar!", "a rar archive; unpack it and send what is in it"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)


class UnusableFileError(ValueError):
    """A file holds nothing that a run can use; its text says what was expected and found."""


def probe(path: Path) -> dict[str, Any]:
    """Return what a file holds: `kind` (`clip`, `image`, `recording`), `size_bytes`, and what its header says.

    Of clips `format`, `codec`, `width`, `height`, `seconds` and `fps` (None where the header does not say them), of
    images `format`, `width` and `height`, of recordings `topics` with images and their numbers of messages. One frame
    of a clip, and all of an image, is decoded. Raises `UnusableFileError`.
    """
    suffix = path.suffix.lower().removeprefix(".")
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise UnusableFileError("the file is empty")
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise UnusableFileError(f"expected what the name .{suffix} says, found {what}")
    # A text may be a list of other files, of this machine even, which a reader of clips would open.
    if _is_text(head):
        raise UnusableFileError(
            f"expected what the name .{suffix} says, found a text: {head[:40].decode('utf-8', 'replace')!r}"
        )
    found: dict[str, Any] = {"size_bytes": path.stat().st_size}
    if suffix in name_pattern.EXTENSIONS:
        return found | _image(path)
    if suffix in recorded_frame.EXTENSIONS:
        return found | _recording(path)
    if suffix in clip.EXTENSIONS:
        return found | _clip(path)
    raise UnusableFileError(f"expected a clip, a recording or an image, found a file that ends in .{suffix}")


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        # Its end may be the middle of a character.
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _image(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _IMAGE_BYTES:
        raise UnusableFileError(f"expected an image of at most {_IMAGE_BYTES:,} bytes, found a larger file")
    data = path.read_bytes()
    params = ImageParams()
    try:
        header = read_header(data)
        refuse_unless_sane(header.width, header.height, params)
        decode_checked(data, header, params)
    except CorruptImageError as error:
        raise UnusableFileError(f"expected an image: {one_line(error)}") from error
    return {"kind": "image", "format": header.format, "width": header.width, "height": header.height}


def _clip(path: Path) -> dict[str, Any]:
    try:
        container = open_clip(clip_source(str(path)))
    except ClipError as error:
        raise UnusableFileError(one_line(error)) from error
    with container:
        stream = video_of(container)
        context = stream.codec_context
        if "image2" in container.format.name or container.format.name.endswith("_pipe"):
            raise UnusableFileError(f"expected a clip, found an image ({context.name}); name it .jpg or .png")
        if max(context.width, context.height) > _MOST_SIDE:
            raise UnusableFileError(
                f"expected frames of at most {_MOST_SIDE} pixels a side, found {context.width}x{context.height}"
            )
        if not _decodes(container, stream):
            raise UnusableFileError(f"expected {context.name} frames that can be decoded, found none at its beginning")
        length = stream.duration * stream.time_base if stream.duration and stream.time_base else None
        seconds = float(length) if length else container.duration / 1e6 if container.duration else None
        return {
            "kind": "clip",
            "format": container.format.name.partition(",")[0],
            "codec": context.name,
            "width": context.width,
            "height": context.height,
            "seconds": None if seconds is None else round(seconds, 3),
            "fps": round(float(stream.average_rate), 3) if stream.average_rate else None,
        }


def _decodes(container: Any, stream: Any) -> bool:
    """Return whether one of the first packets gives a frame."""
    import av

    for packet in islice(packets_of(container, stream), _TRIED_PACKETS):
        try:
            if packet.decode():
                return True
        except av.error.FFmpegError:
            continue
    try:
        return bool(stream.codec_context.decode(None))
    except av.error.FFmpegError:
        return False


def _recording(path: Path) -> dict[str, Any]:
    try:
        recording = recorded_frame.open_recording(str(path))
    except ModuleNotFoundError as error:
        raise UnusableFileError(
            f"the server lacks the package {error.name}; it comes with: pip install 'winnow[recordings]'"
        ) from error
    except OSError as error:
        raise UnusableFileError(one_line(error)) from error
    try:
        topics = sorted({channel.topic for channel in recording.channels if holds_images(channel)})
    finally:
        recording.close()
    if not topics:
        raise UnusableFileError("expected a recording with topics that hold images, found none")
    return {"kind": "recording", "topics": topics}
