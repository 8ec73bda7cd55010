"""Frames as pictures, each read and decoded when first asked for, and at most once."""

from __future__ import annotations

from typing import NamedTuple, Self

from blake3 import blake3

from transforms.core.identity import content_id
from transforms.frames.clip import Clip, ClipFrame, FrameName
from transforms.frames.image import (
    Color,
    CorruptImageError,
    Gray,
    Header,
    ImageParams,
    decode_color,
    decode_gray,
    encode_jpeg,
    encode_small,
    read_header,
    thumbnail,
    to_small,
    to_tiles,
)
from transforms.io.frame_bytes import FrameBytes, read_ahead, read_frame


class Pixels(NamedTuple):
    """A decoded picture at the sizes that are measured: of `decode_gray`, `to_small` and `to_tiles`."""

    gray: Gray
    small: Gray
    tiles: Gray


class Picture:
    """A frame in a file of its own.

    `group` names the group of pictures that a clip's frame is coded with, and is None for a file. `corrupt` says why
    there is no picture, once one was asked for. `hash_hex`, `read` and `header` are there once the frame was read, if
    the file allowed it.
    """

    def __init__(self, uri: str, trusted_id: int | None, params: ImageParams) -> None:
        self.uri = uri
        self.trusted_id = trusted_id
        self.read: FrameBytes | None = None
        self.hash_hex = ""
        self.header: Header | None = None
        self.time_ns: int | None = None
        self.corrupt: str | None = None
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

    def begins_group(self, before: Picture | None) -> bool:
        """Say whether it is coded without those before, of which `before` is the last one: the first of its group."""
        return self.group is None or before is None or before.group != self.group

    def announce(self) -> None:
        """Say that the frame will be looked at soon."""
        if self.trusted_id is None:
            read_ahead(self.uri)

    def content(self) -> int:
        """Return the content id: the trusted one, or that of the bytes. Raises OSError where they cannot be read."""
        if self._content is None:
            self.load()
        assert self._content is not None
        return self._content

    def load(self) -> None:
        """Read the frame if that was not done; from then on what was read says what its content is."""
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
        """Return the decoded picture, or None where there is none; `corrupt` then says why."""
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
        """Return the picture in colour, as `image.decode_color` has it.

        Raises `CorruptImageError`, and `OSError` where the frame cannot be read.
        """
        self.load()
        assert self.read is not None
        self.n_decoded += 1
        self.header = read_header(self.read.data)
        return decode_color(self.read.data, self.header, self._params, short_side)

    def jpeg(self) -> bytes | None:
        """Return the picture as a JPEG if it is in no file of its own, once `pixels` gave one; else None."""
        return None

    def forget(self) -> None:
        """Drop bytes and pixels, once the next frame has been compared with them."""
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
        return decode_gray(self.read.data, self.header, self._params)


class ClipPicture(Picture):
    """A frame of a clip: what is read of it is what the clip's decoder gives."""

    def __init__(self, uri: str, name: FrameName, trusted_id: int | None, params: ImageParams, clips: Clips) -> None:
        super().__init__(uri, trusted_id, params)
        self.group = (name.path, name.key)
        self._name = name
        self._clips = clips
        self._frame: ClipFrame | None = None
        self._wrong = ""

    def announce(self) -> None:
        """Do nothing: a clip is read in one go."""

    def color(self, short_side: int | None = None) -> Color:  # noqa: ARG002 - a clip's decoder gives whole frames
        """Return the picture in colour, turned as the clip's metadata ask. Raises as for files."""
        self.load()
        if self._frame is None:
            raise CorruptImageError(self._wrong)
        self.n_decoded += 1
        return self._frame.color()

    def jpeg(self) -> bytes | None:
        """Return the picture as `image.encode_jpeg` has it."""
        return None if self._frame is None else encode_jpeg(self._frame.color())

    def forget(self) -> None:
        """Drop the frame, once the next one has been compared with it."""
        super().forget()
        self._frame = None

    def _read(self) -> tuple[FrameBytes, bytes]:
        """Return size and mtime of the frame in the clip, and the digest of its decoded planes."""
        try:
            found = self._clips.get(self._name.path).find(self._name)
        except OSError:
            # What a reading that broke off leaves behind says nothing of the frames that come after.
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
        return self._frame.gray(self._params)


class Clips:
    """The clips that frames are taken from, one open at a time; use as a context manager."""

    def __init__(self) -> None:
        self._path = ""
        self._clip: Clip | None = None

    def get(self, path: str) -> Clip:
        """Return a clip. Raises `ClipError` or `OSError` where it cannot be opened."""
        if self._clip is None or path != self._path:
            self.close()
            self._path, self._clip = path, Clip(path)
        return self._clip

    def close(self) -> None:
        """Let go of the clip that is open."""
        if self._clip is not None:
            self._clip.close()
            self._clip = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def picture(uri: str, trusted_id: int | None, params: ImageParams, clips: Clips) -> Picture:
    """Return the frame of a name: a file of its own, or a frame of one of `clips`."""
    name = FrameName.parse(uri)
    return Picture(uri, trusted_id, params) if name is None else ClipPicture(uri, name, trusted_id, params, clips)


def thumbnail_of(uri: str, long_side: int) -> bytes:
    """Return a frame as a small JPEG in colour. Raises `CorruptImageError`, and `OSError` where it cannot be read."""
    name = FrameName.parse(uri)
    if name is None:
        return thumbnail(read_frame(uri).data, long_side)
    with Clip(name.path) as clip:
        return encode_small(clip.frame(name).color(), long_side)
