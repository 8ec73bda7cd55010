"""Lazy access to one frame's bytes and pixels, from an image file or a clip, each read and decoded at most once."""

from __future__ import annotations

from typing import NamedTuple, Self

from blake3 import blake3

from transforms.core.identity import content_id
from transforms.frames.clip import Clip, FrameName
from transforms.frames.clip_frame import ClipFrame
from transforms.frames.image import (
    Color,
    CorruptImageError,
    Gray,
    Header,
    ImageParams,
    decode_checked,
    decode_color,
    encode_jpeg,
    encode_small,
    read_header,
    thumbnail,
    to_small,
    to_tiles,
)
from transforms.frames.jpeg import Damage
from transforms.io.frame_bytes import FrameBytes, read_ahead, read_frame


class Pixels(NamedTuple):
    """A decoded image at the three sizes that are measured: those of `decode_checked`, `to_small` and `to_tiles`."""

    gray: Gray
    small: Gray
    tiles: Gray


class FrameImage:
    """A frame that is stored as an image file; base class for frames of clips.

    `group` identifies the group of pictures with which a clip's frame is encoded; None for a file. `corrupt` is the
    reason why decoding failed, once it was tried; `damage` and `white_level` are those of `decode_checked`. `hash_hex`,
    `read` and `header` are set once the frame was read successfully.
    """

    def __init__(self, uri: str, trusted_id: int | None, params: ImageParams) -> None:
        self.uri = uri
        self.trusted_id = trusted_id
        self.read: FrameBytes | None = None
        self.hash_hex = ""
        self.header: Header | None = None
        self.time_ns: int | None = None
        self.corrupt: str | None = None
        self.damage: Damage | None = None
        self.white_level: float | None = None
        self.group: tuple[str, int] | None = None
        self.n_read = 0
        self.n_decoded = 0
        self._params = params
        self._content = trusted_id
        self._fault: Exception | None = None
        self._pixels: Pixels | None = None
        self._tried = False

    @property
    def bytes_read(self) -> int:
        """Return how many bytes were read for the frame."""
        return self.read.size_bytes if self.read and self.n_read else 0

    def begins_group(self, before: FrameImage | None) -> bool:
        """Return whether the frame is the first of its group of pictures, given the frame `before` it."""
        return self.group is None or before is None or before.group != self.group

    def announce(self) -> None:
        """Start reading the file in the background, because the frame will be needed soon."""
        if self.trusted_id is None:
            read_ahead(self.uri)

    def content(self) -> int:
        """Return the content id: the trusted one, or that of the bytes. Raises `OSError` if they cannot be read."""
        if self._content is None:
            self.load()
        assert self._content is not None
        return self._content

    def load(self) -> None:
        """Read the frame unless it was read before; then the content id is that of the bytes. Raises `OSError`."""
        if self._fault is not None:
            raise self._fault
        if self.read is None:
            try:
                self.read, digest = self._read()
            except OSError as error:
                self._fault = error
                raise
            self.hash_hex = digest.hex()
            self._content = content_id(digest)
            self.n_read += 1

    def pixels(self) -> Pixels | None:
        """Return the decoded image, or None if it does not decode; `corrupt` is then the reason."""
        self.load()
        if not self._tried:
            self._tried = True
            try:
                gray = self._decode()
            except CorruptImageError as error:
                self.corrupt = str(error)
                return None
            self.n_decoded += 1
            small = to_small(gray)
            self._pixels = Pixels(gray, small, to_tiles(small))
        return self._pixels

    def color(self, short_side: int | None = None) -> Color:
        """Return the image in colour, as `image.decode_color` does.

        Raises `CorruptImageError`, and `OSError` where the frame cannot be read.
        """
        self.load()
        assert self.read is not None
        self.n_decoded += 1
        self.header = read_header(self.read.data)
        return decode_color(self.read.data, self.header, self._params, short_side)

    def condition(self) -> dict[str, str | float | None]:
        """Return the columns of the table `frames` that say whether the frame decodes, and how."""
        status = "corrupt" if self.corrupt else "ok"
        return {"status": status, "damage": self.damage, "white_level": self.white_level, "error": self.corrupt}

    def jpeg(self) -> bytes | None:
        """Return the image as a JPEG if the frame has no file of its own and `pixels` was decoded; else None."""
        return None

    def forget(self) -> None:
        """Release bytes and pixels, once the next frame has been compared with them."""
        self._pixels = None
        if self.read is not None:
            self.read = self.read._replace(data=b"")

    def _read(self) -> tuple[FrameBytes, bytes]:
        """Return the file and the BLAKE3 digest of its bytes."""
        read = read_frame(self.uri)
        return read, blake3(read.data).digest()

    def _decode(self) -> Gray:
        assert self.read is not None
        self.header = read_header(self.read.data)
        gray, self.damage, self.white_level = decode_checked(self.read.data, self.header, self._params)
        return gray


class ClipFrameImage(FrameImage):
    """A frame of a video clip, read through the clip's decoder."""

    def __init__(self, uri: str, name: FrameName, trusted_id: int | None, params: ImageParams, clips: Clips) -> None:
        super().__init__(uri, trusted_id, params)
        self.group = (name.path, name.key)
        self._name = name
        self._clips = clips
        self._frame: ClipFrame | None = None
        self._wrong = ""

    def announce(self) -> None:
        """Do nothing: a clip is read sequentially by its decoder."""

    def color(self, short_side: int | None = None) -> Color:  # noqa: ARG002 - a clip's decoder gives whole frames
        """Return the image in colour, oriented by the clip's metadata. Raises the same errors as for files."""
        self.load()
        if self._frame is None:
            raise CorruptImageError(self._wrong)
        self.n_decoded += 1
        return self._frame.color()

    def jpeg(self) -> bytes | None:
        """Return the image as a JPEG, as `image.encode_jpeg` does; None if the frame is damaged."""
        return None if self._frame is None else encode_jpeg(self._frame.color())

    def forget(self) -> None:
        """Release the frame, once the next one has been compared with it."""
        super().forget()
        self._frame = None

    def _read(self) -> tuple[FrameBytes, bytes]:
        """Return size and mtime of the frame in the clip, and the digest of its decoded planes."""
        try:
            found = self._clips.get(self._name.path).find(self._name)
        except OSError:
            # After a failed read, the decoder's state is invalid for the following frames.
            self._clips.close()
            raise
        read = FrameBytes(b"", found.size_bytes, found.mtime_ns, found.read_ns, found.changed_ns)
        self._frame = found.frame
        if found.frame is None:
            self._wrong = found.wrong
            return read, blake3(f"no picture {self._name.pts} {found.size_bytes}".encode()).digest()
        self.time_ns = found.frame.time_ns
        return read, found.frame.digest()

    def _decode(self) -> Gray:
        if self._frame is None:
            raise CorruptImageError(self._wrong)
        self.header = Header(self._clips.get(self._name.path).codec, *self._frame.size)
        # Frames that the decoder found to be damaged are not given.
        self.damage = "none"
        return self._frame.gray(self._params)


class Clips:
    """Cache of one open clip, from which frames are read; use as a context manager."""

    def __init__(self) -> None:
        self._path = ""
        self._clip: Clip | None = None

    def get(self, path: str) -> Clip:
        """Return the clip of a path, opened if it is not the current one. Raises `ClipError` or `OSError`."""
        if self._clip is None or path != self._path:
            self.close()
            self._path, self._clip = path, Clip(path)
        return self._clip

    def close(self) -> None:
        """Close the current clip."""
        if self._clip is not None:
            self._clip.close()
            self._clip = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_frame(uri: str, trusted_id: int | None, params: ImageParams, clips: Clips) -> FrameImage:
    """Return the frame that a URI names: an image file, or a frame of one of `clips`."""
    name = FrameName.parse(uri)
    return FrameImage(uri, trusted_id, params) if name is None else ClipFrameImage(uri, name, trusted_id, params, clips)


def picture_of(uri: str, short_side: int | None = None) -> Color:
    """Return a frame in colour, as `FrameImage.color` does. Raises the same errors."""
    with Clips() as clips:
        return open_frame(uri, None, ImageParams(), clips).color(short_side)


def thumbnail_of(uri: str, long_side: int) -> bytes:
    """Return a frame as a small colour JPEG. Raises `CorruptImageError`, and `OSError` where it cannot be read."""
    name = FrameName.parse(uri)
    if name is None:
        return thumbnail(read_frame(uri).data, long_side)
    with Clip(name.path) as clip:
        return encode_small(clip.frame(name).color(), long_side)
