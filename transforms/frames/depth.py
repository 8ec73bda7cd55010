"""Images of more than 8 bits per sample, scaled to 8: which of their values is white."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_WHITES = (1023, 4095, 16383, 65535)
"""The highest values of 10, 12, 14 and 16 bits: sensors store as many in samples of 16."""


def to_8_bits(picture: npt.NDArray[Any], white: float | None) -> tuple[npt.NDArray[np.uint8], float | None]:
    """Scale an image of any dtype so that 0 stays 0 and `white` becomes 255; return it, uint8, and its white.

    Without `white`, that is the highest value of the fewest bits, 10, 12, 14 or 16, in which the image's highest value
    can be stored; for floats 1, or else the first power of two that no value exceeds. What is above white becomes 255,
    and what is below zero, or no number, 0. An image of dtype uint8 is returned as it is, with None.
    """
    if picture.dtype == np.uint8:
        return np.asarray(picture, np.uint8), None
    is_float = np.issubdtype(picture.dtype, np.floating)
    values = np.nan_to_num(picture, nan=0.0, posinf=0.0, neginf=0.0) if is_float else picture
    if white is None:
        most = float(values.max(initial=0))
        if is_float:
            white = 2.0 ** max(0, int(np.ceil(np.log2(max(most, 1.0)))))
        else:
            white = float(next((bits for bits in _WHITES if most <= bits), most))
    scaled = np.clip(values.astype(np.float32) * (255.0 / white), 0, 255)
    return np.rint(scaled).astype(np.uint8), white
