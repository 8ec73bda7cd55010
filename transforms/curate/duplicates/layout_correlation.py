"""Compiled kernels that correlate two layouts quarter by quarter, for `transforms.curate.duplicates.hamming`."""

from __future__ import annotations

import numba
import numpy as np

from transforms.metrics.hashing import FLAT, LAYOUT_SIDE

QUARTER = LAYOUT_SIDE // 2
_FLAT = FLAT * QUARTER**2
"""Power added to every quarter as if shared, so that flat quarters agree instead of dividing by zero."""

UNIT = QUARTER**2 + 1
# Upper bound of the float32 rounding error of a dot product of two unit vectors of that size.
_ROUNDING = 1e-5


@numba.njit(cache=True)
def correlation(a, b, row, column):  # type: ignore[no-untyped-def]
    """Return the correlation, -1..1, of two layouts, (64,) uint8, in the quarter that begins at this cell."""
    sum_a, sum_b, aa, bb, ab = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for y in range(row, row + QUARTER):
        for x in range(column, column + QUARTER):
            u, v = np.int64(a[y * LAYOUT_SIDE + x]), np.int64(b[y * LAYOUT_SIDE + x])
            sum_a += u
            sum_b += v
            aa += u * u
            bb += v * v
            ab += u * v
    return coefficient(sum_a, sum_b, aa, bb, ab, QUARTER * QUARTER)


@numba.njit(cache=True)
def coefficient(sum_a, sum_b, aa, bb, ab, n):  # type: ignore[no-untyped-def]
    """Return the correlation of n cells, given their sums and the sums of their products; flat cells agree."""
    flat = FLAT * n
    power_a = aa - sum_a * sum_a / n + flat
    power_b = bb - sum_b * sum_b / n + flat
    return (ab - sum_a * sum_b / n + flat) / np.sqrt(power_a * power_b)


@numba.njit(cache=True)
def second_lowest(a, b):  # type: ignore[no-untyped-def]
    """Return the second lowest correlation of the four quarters."""
    lowest, second = 2.0, 2.0
    for row in (0, QUARTER):
        for column in (0, QUARTER):
            found = correlation(a, b, row, column)
            if found < lowest:
                lowest, second = found, lowest
            elif found < second:
                second = found
    return second


@numba.njit(cache=True)
def agrees(a, b, least):  # type: ignore[no-untyped-def]
    """Return whether `second_lowest` is `least` or more; stops at the second quarter below it."""
    below = 0
    for row in (0, QUARTER):
        for column in (0, QUARTER):
            if correlation(a, b, row, column) < least:
                below += 1
                if below == 2:
                    return False
    return True


@numba.njit(cache=True)
def agreements_of(layouts, first, second):  # type: ignore[no-untyped-def]
    """Return `second_lowest` of pairs of layouts, positions of shape (M,) each: (M,) float32."""
    found = np.empty(len(first), np.float32)
    for i in range(len(first)):
        found[i] = second_lowest(layouts[first[i]], layouts[second[i]])
    return found


@numba.njit(cache=True)
def to_units(layout, units):  # type: ignore[no-untyped-def]
    """Write the quarters of a layout to `units`, (4, UNIT), as unit vectors whose dot product is `correlation`."""
    quarter = 0
    for row in (0, QUARTER):
        for column in (0, QUARTER):
            total, power = np.int64(0), np.int64(0)
            for y in range(row, row + QUARTER):
                for x in range(column, column + QUARTER):
                    u = np.int64(layout[y * LAYOUT_SIDE + x])
                    total += u
                    power += u * u
            mean = total / (QUARTER * QUARTER)
            length = np.sqrt(power - total * mean + _FLAT)
            k = 0
            for y in range(row, row + QUARTER):
                for x in range(column, column + QUARTER):
                    units[quarter, k] = (layout[y * LAYOUT_SIDE + x] - mean) / length
                    k += 1
            units[quarter, k] = np.sqrt(_FLAT) / length
            quarter += 1


@numba.njit(cache=True, fastmath=True)
def units_agree(own, units, number, least):  # type: ignore[no-untyped-def]
    """Return `agrees` of two layouts by their unit vectors: 1 or 0, or -1 if within rounding error of `least`."""
    below, close = 0, 0
    for quarter in range(4):
        found = np.float32(0)
        for k in range(UNIT):
            found += own[quarter, k] * units[number, quarter, k]
        if found < least - _ROUNDING:
            below += 1
            if below == 2:
                return 0
        elif found < least + _ROUNDING:
            close += 1
    return 1 if below + close < 2 else -1
