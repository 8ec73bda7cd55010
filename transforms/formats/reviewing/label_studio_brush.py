"""Run lengths of Label Studio's brush: four channels of an image, of which the last one is the mask.

As `encode_rle` and `decode_rle` of label-studio-converter have it: 32 bits with the number of values, 5 with the bits
of a value (less one), four times 4 with the bits of a length (less one), then blocks: a bit that says whether one value
follows for all of the block, two that choose how long the length is, the length (less one), and the value or values.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from transforms.formats.coco_rle import check_pixels
from transforms.formats.outlines import Mask

_CHANNELS = 4
_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_IS_SET = 128


def decoded_brush(numbers: Sequence[int], width: int, height: int) -> Mask:
    """Return the mask, shape (height, width), uint8, 0 or 1. Raises `ValueError` for other numbers."""
    check_pixels(width, height)
    if not all(type(number) is int and 0 <= number < 256 for number in numbers):
        raise ValueError("rle: expected numbers from 0 to 255")
    bits = _Bits(np.unpackbits(np.array(numbers, np.uint8)))
    n = bits.take(32)
    if n != width * height * _CHANNELS:
        raise ValueError(
            f"rle: expected {_CHANNELS} channels of {width}x{height}, {width * height * _CHANNELS} values, found {n}"
        )
    value_bits = bits.take(5) + 1
    length_bits = [bits.take(4) + 1 for _ in _LENGTH_BITS]
    is_set = np.zeros(n, np.bool_)
    at = 0
    while at < n:
        is_run = bits.take(1)
        end = at + bits.take(length_bits[bits.take(2)]) + 1
        if end > n:
            raise ValueError(f"rle: expected {n} values, found more")
        is_set[at:end] = (bits.take(value_bits) if is_run else bits.take_all(end - at, value_bits)) >= _IS_SET
        at = end
    return is_set.reshape(height, width, _CHANNELS)[:, :, -1].astype(np.uint8)


class _Bits:
    def __init__(self, bits: Mask) -> None:
        self._bits = bits
        self._at = 0

    def take(self, n: int) -> int:
        return int(self.take_all(1, n)[0])

    def take_all(self, count: int, n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        found = self._bits[self._at : self._at + count * n]
        if len(found) < count * n:
            raise ValueError("rle: it ends too early")
        self._at += count * n
        return found.reshape(count, n).astype(np.int64) @ (1 << np.arange(n - 1, -1, -1))


def encoded_brush(mask: Mask) -> list[int]:
    """Return the numbers of a mask of shape (height, width), 0 or 1."""
    height, width = mask.shape
    values = np.repeat(mask.reshape(-1) * 255, _CHANNELS)
    edges = np.flatnonzero(np.diff(values)) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [len(values)]]))
    header = [_digits(height * width * _CHANNELS, 32), _digits(_VALUE_BITS - 1, 5)]
    header += [_digits(n - 1, 4) for n in _LENGTH_BITS]
    blocks = (_block(int(values[start]), int(length)) for start, length in zip(starts, lengths, strict=True))
    text = "".join(itertools.chain(header, blocks))
    bits = np.frombuffer(text.encode(), np.uint8) - ord("0")
    return [int(byte) for byte in np.packbits(bits)]


def _block(value: int, length: int) -> str:
    """Return the bits of a run, which is as many blocks as it takes."""
    most = 1 << _LENGTH_BITS[-1]
    lengths = [most] * (length // most) + ([length % most] if length % most else [])
    parts = []
    for n in lengths:
        choice = next(at for at, size in enumerate(_LENGTH_BITS) if n <= 1 << size)
        parts.append(f"1{_digits(choice, 2)}{_digits(n - 1, _LENGTH_BITS[choice])}{_digits(value, _VALUE_BITS)}")
    return "".join(parts)


def _digits(value: int, n: int) -> str:
    return f"{value:0{n}b}"
