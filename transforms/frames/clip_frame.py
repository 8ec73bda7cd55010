"""A decoded frame of a video clip: its size, time, digest, and its pixels in grey and in colour."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from transforms.frames.image import Color, Gray, ImageParams, refuse_unless_sane, shrink
from transforms.frames.orientation import ON_ITS_SIDE, turned

if TYPE_CHECKING:
    import av

_PLANAR = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "nv21", "gray"})
_FULL_RANGE = 2
# Most clips store luma in limited range, 16 to 235 (ITU-R BT.601, BT.709).
_BLACK, _TO_FULL = 16.0, 255.0 / 219.0
# EXIF orientations of images rotated counterclockwise by 0 to 3 quarter turns: plain, and mirrored left to right.
_TURNED, _MIRRORED = (1, 8, 3, 6), (2, 5, 4, 7)


class ClipFrame:
    """A decoded frame, shown at `pts` in units of `base` seconds. Images are oriented by the clip's metadata."""

    def __init__(self, frame: av.VideoFrame, pts: int, base: Fraction | None) -> None:
        self._frame = frame
        self._pts = pts
        self._base = base
        self._orientation = _orientation(frame)

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels as displayed."""
        size = (self._frame.width, self._frame.height)
        return size[::-1] if self._orientation >= ON_ITS_SIDE else size

    @property
    def time_ns(self) -> int | None:
        """Return the presentation time in ns from the zero of the clip's timestamps, or None if unknown."""
        return None if self._base is None else int(self._pts * self._base * 1_000_000_000)

    def digest(self) -> bytes:
        """Return the BLAKE3 digest of the decoded planes, without the padding of their rows."""
        hasher = blake3(f"{self._frame.format.name} {self._frame.width}x{self._frame.height}".encode())
        for plane in _planes(self._frame):
            hasher.update(np.ascontiguousarray(plane).data)
        return hasher.digest()

    def gray(self, params: ImageParams) -> Gray:
        """Return the luma at the size of `params`, shape (H, W), uint8, scaled from the clip's range to 0..255."""
        refuse_unless_sane(self._frame.width, self._frame.height, params)
        name = self._frame.format.name
        if name in _PLANAR:
            gray = shrink(_planes(self._frame)[0], params.long_side)
            is_full = name.startswith(("yuvj", "gray")) or self._frame.color_range == _FULL_RANGE
            gray = gray.copy() if is_full else cv2.convertScaleAbs(cv2.subtract(gray, _BLACK), alpha=_TO_FULL)
        else:
            gray = shrink(_as_bytes(self._frame.reformat(format="gray").to_ndarray()), params.long_side)
        return turned(gray, self._orientation)

    def color(self) -> Color:
        """Return the image, shape (H, W, 3), uint8, BGR."""
        return turned(_as_bytes(self._frame.to_ndarray(format="bgr24")), self._orientation)


def _as_bytes(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return picture.astype(np.uint8, copy=False)


def _orientation(frame: av.VideoFrame) -> int:
    """Return the EXIF orientation, 1 to 8, that a frame's metadata ask for.

    The display matrix (ISO/IEC 14496-12, 8.3.2) maps x (right) and y (down) to a x + c y and b x + d y.
    """
    # The type is declared as a mapping, but iterating over it yields the values.
    found: Any = frame.side_data
    matrix = next((data for data in found if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return 1
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    is_mirrored = a * d < b * c
    angle = math.atan2(b, -a) if is_mirrored else math.atan2(-b, a)
    return (_MIRRORED if is_mirrored else _TURNED)[round(angle / (math.pi / 2)) % 4]


def _planes(frame: av.VideoFrame) -> list[npt.NDArray[np.uint8]]:
    """Return the bytes of the planes without padding, as views of shape (rows, bytes per row), uint8."""
    sample_bytes = (max(component.bits for component in frame.format.components) + 7) // 8
    views = []
    for number, plane in enumerate(frame.planes):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        if len(frame.planes) == 1:
            n_bytes = plane.width * frame.format.padded_bits_per_pixel // 8
        else:
            # Formats named nv… interleave both chroma channels in their second plane.
            n_bytes = plane.width * sample_bytes * (2 if number and frame.format.name.startswith("nv") else 1)
        views.append(rows[:, :n_bytes])
    return views
