"""Images of every EXIF orientation with a bright rectangle, and where that is on the stored pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from transforms.frames.orientation import turned

WIDTH, HEIGHT = 96, 64
SQUARE = 80
DISPLAYED = (10, 8, 40, 16)
"""The box of the bright rectangle on every image as displayed: left, top, width and height."""

KINDS = ("jpg", "webp")
ORIENTATIONS = range(1, 9)
BACK = {6: 8, 8: 6}


def scene(seed: int, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """Return a dark image, as displayed, with a bright rectangle."""
    spots = np.random.default_rng(seed).integers(0, 90, (8, 12, 3), np.uint8)
    picture = cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)
    left, top, across, down = DISPLAYED
    picture[top : top + down, left : left + across] = 250
    return np.asarray(picture, np.uint8)


def stored(box: tuple[int, int, int, int], orientation: int, width: int, height: int) -> list[int]:
    """Return where a box of the displayed image is on the stored one."""
    mask = np.zeros((height, width), np.uint8)
    mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 1
    back = turned(mask, BACK.get(orientation, orientation))
    y, x = np.nonzero(back)
    return [int(x.min()), int(y.min()), int(np.ptp(x) + 1), int(np.ptp(y) + 1)]


def written(path: Path, picture: npt.NDArray[np.uint8], orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    kept = np.ascontiguousarray(turned(picture, BACK.get(orientation, orientation))[..., ::-1])
    quality: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {"quality": 95, "subsampling": "4:4:4"}
    Image.fromarray(kept).save(path, exif=exif, **quality)
