"""Faces of signs: names in four fonts, a logo without words, and how they are drawn into an image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]


def lettered(
    name: str, font: int, size: tuple[int, int], back: Sequence[int], ink: Sequence[int]
) -> tuple[Image, Points]:
    """Return a face of a size (width, height) in pixels with a name, and the corners of the name on it, (4, 2)."""
    width, height = size
    mask = np.zeros((height * 2, 4000), np.uint8)
    if font == 0:
        drawn = PilImage.new("L", (4000, height * 2))
        ImageDraw.Draw(drawn).text((20, 20), name, fill=255, font=ImageFont.load_default(height))
        mask = np.asarray(drawn, np.uint8).copy()
    elif font == 1:
        cv2.putText(
            mask, name, (20, height + height // 3), cv2.FONT_HERSHEY_DUPLEX, height / 30, 255, height // 9, cv2.LINE_AA
        )
    elif font == 2:
        cv2.putText(
            mask,
            name,
            (20, height + height // 3),
            cv2.FONT_HERSHEY_TRIPLEX,
            height / 34,
            255,
            height // 12,
            cv2.LINE_AA,
        )
    else:
        cv2.putText(mask, name, (20, height + height // 3), 255, cv2.FontFace("sans"), height, 600)
    ys, xs = np.nonzero(mask > 64)
    cut = mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    scale = min(0.86 * width / cut.shape[1], 0.62 * height / cut.shape[0])
    w, h = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
    small = cv2.resize(cut, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    face = np.full((height, width, 3), back, np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    area = face[top : top + h, left : left + w]
    area[:] = (area * (1 - small) + np.array(ink, np.float32) * small).astype(np.uint8)
    quad = np.array([(left, top), (left + w, top), (left + w, top + h), (left, top + h)], np.float64)
    return face, quad


def logo_image(side: int) -> Image:
    """Return the logo without words, (side, side, 3): a crescent with five points and three bars."""
    big = np.full((400, 400, 3), (60, 30, 90), np.uint8)
    cv2.circle(big, (200, 200), 185, (90, 220, 250), -1)
    cv2.circle(big, (255, 165), 135, (60, 30, 90), -1)
    for at in range(5):
        turn = np.deg2rad(-60 + 40 * at)
        x, y = int(255 + 80 * np.cos(turn)), int(165 + 80 * np.sin(turn))
        cv2.drawMarker(big, (x, y), (250, 250, 250), cv2.MARKER_STAR, 42, 9)
    for at in range(3):
        cv2.rectangle(big, (70 + 40 * at, 250 + 25 * at), (92 + 40 * at, 340), (40, 60, 220), -1)
    return np.asarray(cv2.resize(big, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def paste(
    image: Image, owner: npt.NDArray[np.int16], face: Image, matrix: npt.NDArray[np.float64], corners: Points
) -> None:
    """Draw a face into an image through a homography; what it covers is visible no more."""
    height, width = owner.shape
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width, height))
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, (width, height))
    if (high <= low).any():
        return
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]], np.float64)
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    # A reduction by more than two would alias.
    shrunk, scale = face, 1.0
    while np.ptp(corners[:, 1]) * 2 < shrunk.shape[0]:
        shrunk, scale = cv2.resize(shrunk, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), scale / 2
    matrix = shift @ matrix @ np.diag([1 / scale, 1 / scale, 1.0])
    drawn = cv2.warpPerspective(shrunk, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillConvexPoly(mask, np.round(corners - low).astype(np.int32), 255)
    area = np.s_[low[1] : high[1], low[0] : high[0]]
    image[area][mask > 0] = drawn[mask > 0]
    owner[area][mask > 0] = 0
