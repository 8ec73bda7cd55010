"""Small images of frames with the outlines of boxes, for people who look at them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from transforms.frames.image import Color, encode_small, limit_size


def outlined(
    picture: Color, boxes: npt.NDArray[np.float32], colors: npt.NDArray[np.uint8], size: tuple[int, int], long_side: int
) -> bytes:
    """Return a frame as a small JPEG with boxes on it.

    `picture` is the frame, (H, W, 3) uint8 BGR, at any size; `boxes` are left, top, width and height, (N, 4), in pixels
    of the full frame, whose width and height are `size`; `colors` are (N, 3) BGR. Boxes that come first are drawn last.
    """
    small = np.ascontiguousarray(limit_size(picture, long_side))
    scale = np.array([small.shape[1] / size[0], small.shape[0] / size[1]] * 2)
    thick = max(1, round(max(small.shape[:2]) / 240))
    for (left, top, width, height), color in zip(boxes[::-1] * scale, colors[::-1].tolist(), strict=True):
        first, last = (round(left), round(top)), (round(left + width), round(top + height))
        # A dark rim, so that every colour shows on every ground.
        cv2.rectangle(small, first, last, (0, 0, 0), thick + 2, cv2.LINE_AA)
        cv2.rectangle(small, first, last, color, thick, cv2.LINE_AA)
    return encode_small(small, long_side)
