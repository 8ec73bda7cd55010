"""Compiled kernels of the index that `hamming` searches: buckets of 64-bit words by each of their four 16-bit bands."""

from __future__ import annotations

from itertools import combinations

import numba
import numpy as np
import numpy.typing as npt

BANDS = 4
BAND_BITS = 16
NOT_FOUND = -1


def flip_masks(radius: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the XOR masks of a band to try for a radius, fewest bits first, and the end position of each bit count."""
    masks, ends = [], []
    for flips in range(radius // BANDS + 1):
        masks += [sum(1 << bit for bit in bits) for bits in combinations(range(BAND_BITS), flips)]
        ends.append(len(masks))
    return np.array(masks, np.int64), np.array(ends, np.int64)


@numba.njit(cache=True, inline="always")
def distance_of(a, b):  # type: ignore[no-untyped-def]
    """Count the bits in which two words differ."""
    x = a ^ b
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True, inline="always")
def band_value(word, band):  # type: ignore[no-untyped-def]
    """Return the 16 bits of a band, the index of a bucket."""
    return np.int64((word >> np.uint64(band * BAND_BITS)) & np.uint64(0xFFFF))


@numba.njit(cache=True)
def insert_leader(word, number, words, numbers, start, filled):  # type: ignore[no-untyped-def]
    """Append a leader to its bucket of each band."""
    for band in range(BANDS):
        value = band_value(word, band)
        at = start[band, value] + filled[band, value]
        words[band, at] = word
        numbers[band, at] = number
        filled[band, value] += 1


@numba.njit(cache=True, inline="always")
def is_first_meeting(differing, flips, band):  # type: ignore[no-untyped-def]
    """Return whether a search visits a pair first here, with `flips` differing bits in this band."""
    x = differing - ((differing >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    # Now each band holds the number of bits set in it.
    x = (x + (x >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    for other in range(BANDS):
        bits = band_value(x, other)
        if bits < flips or (bits == flips and other < band):
            return False
    return True
