"""Perceptual hashes and layouts: compact descriptors that survive recompression, resizing and brightening."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.frames.image import Gray

HASH_SIDE = 32
LAYOUT_SIDE = 8
FLAT = 9.0
"""Variance of a layout's cells, in squared luma, that noise and compression alone produce: 3 of 255, squared."""
_KEPT = 8
# Hex digits are converted in batches, since each one is a Python object.
_DIGITS_AT_ONCE = 1 << 14
_BATCH = 16  # images whose float32 copies stay in a core's cache
_FREQUENCIES = 2.0 * np.cos(
    np.pi * np.arange(_KEPT)[:, None] * (2 * np.arange(HASH_SIDE)[None, :] + 1) / (2 * HASH_SIDE)
)


@lru_cache(maxsize=64)
def lanczos_matrix(n_in: int, n_out: int) -> npt.NDArray[np.float32]:
    """Return the (n_out, n_in) float32 matrix that resamples a line as Pillow's `Resampling.LANCZOS` does.

    The kernel is sinc(x) sinc(x/3), stretched by the scale when shrinking, and normalised to a sum of 1.
    """
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    support = 3.0 * stretch
    matrix = np.zeros((n_out, n_in))
    for row in range(n_out):
        centre = (row + 0.5) * scale
        first = max(0, int(centre - support + 0.5))
        last = min(n_in, int(centre + support + 0.5))
        x = (np.arange(first, last) - centre + 0.5) / stretch
        weights = np.sinc(x) * np.sinc(x / 3.0) * (np.abs(x) < 3.0)
        matrix[row, first:last] = weights / weights.sum()
    return matrix.astype(np.float32)


def to_hash_squares(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Resample (N, H, W) uint8 images to (N, 32, 32) uint8 with Lanczos weights, as imagehash does through Pillow."""
    _, height, width = pictures.shape
    across = pictures.astype(np.float32) @ lanczos_matrix(width, HASH_SIDE).T
    squares = lanczos_matrix(height, HASH_SIDE) @ across
    return np.clip(np.rint(squares), 0, 255).astype(np.uint8)


def phash_of_squares(squares: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return the 64-bit perceptual hashes of (N, 32, 32) uint8 images, shape (N,), uint64.

    The hash has the low 8x8 coefficients of the two-dimensional DCT-II; a bit is set where the coefficient is above
    their median; bits are in row-major order, the first one most significant. Zauner 2010, "Implementation and
    benchmarking of perceptual image hash functions"; bit for bit equal to `imagehash.phash` of the same 32x32 images.
    """
    low = _FREQUENCIES @ squares.astype(np.float64) @ _FREQUENCIES.T
    # A flat image has coefficients of exactly zero; without rounding, numerical noise would be hashed.
    coefficients = np.round(low, 6).reshape(len(squares), -1)
    bits = coefficients > np.median(coefficients, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(-1)


def phash(pictures: list[Gray]) -> npt.NDArray[np.uint64]:
    """Return the perceptual hashes of N (H, W) uint8 images of any sizes, shape (N,), uint64."""
    hashes = np.empty(len(pictures), np.uint64)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for position, picture in enumerate(pictures):
        by_shape.setdefault(picture.shape, []).append(position)
    for positions in by_shape.values():
        for first in range(0, len(positions), _BATCH):
            batch = positions[first : first + _BATCH]
            hashes[batch] = phash_of_squares(to_hash_squares(np.stack([pictures[i] for i in batch])))
    return hashes


def layouts(tiles: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the mean luma of 8x8 cells of N images, row by row, shape (N, 64), uint8.

    `tiles` has shape (N, H, W), uint8: the images at any size from 8x8. The hash keeps only signs of coefficients; the
    layout keeps values by position, so that it shows where, and by how much, two images differ.
    """
    _, height, width = tiles.shape
    cells = area_matrix(height, LAYOUT_SIDE) @ tiles.astype(np.float32) @ area_matrix(width, LAYOUT_SIDE).T
    return np.rint(cells).astype(np.uint8).reshape(len(tiles), LAYOUT_SIDE * LAYOUT_SIDE)


@lru_cache(maxsize=64)
def area_matrix(n_in: int, n_out: int) -> npt.NDArray[np.float32]:
    """Return the (n_out, n_in) float32 matrix that averages a line over n_out equal parts, n_out <= n_in."""
    edges = np.arange(n_out + 1) * (n_in / n_out)
    cells = np.arange(n_in)
    shared = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return (np.maximum(shared, 0) * (n_out / n_in)).astype(np.float32)


def layout_column(cells: npt.NDArray[np.uint8]) -> pa.Array:
    """Return layouts, an (N, 64) uint8 array, as an Arrow column of 64-byte binary values."""
    fixed = pa.Array.from_buffers(pa.binary(cells.shape[1]), len(cells), [None, pa.py_buffer(cells.tobytes())])
    return fixed.cast(pa.binary())


def layout_array(column: pa.ChunkedArray, n_bytes: int = LAYOUT_SIDE**2) -> npt.NDArray[np.uint8]:
    """Return the layouts of an Arrow column from `layout_column`, shape (N, 64), uint8. Raises `ValueError` for nulls.

    `n_bytes` is the size of one value, for columns of other fixed-size arrays.
    """
    if column.null_count:
        raise ValueError(f"{column.null_count} layouts are missing")
    pieces = [np.empty((0, n_bytes), np.uint8)]
    for chunk in column.cast(pa.binary()).chunks:
        _, offsets, data = chunk.buffers()
        first, last = np.frombuffer(offsets, np.int32)[[chunk.offset, chunk.offset + len(chunk)]]
        pieces.append(np.frombuffer(data, np.uint8)[first:last].reshape(len(chunk), n_bytes) if data else pieces[0])
    return pieces[1] if len(pieces) == 2 else np.concatenate(pieces)


def to_hex(hashes: npt.NDArray[np.uint64]) -> pa.Array:
    """Return every hash as a string of 16 hex digits, in the format of imagehash."""
    digits = hashes.astype(">u8").tobytes().hex().encode()
    fixed = pa.Array.from_buffers(pa.binary(16), len(hashes), [None, pa.py_buffer(digits)])
    return fixed.cast(pa.binary()).cast(pa.string())


def from_hex(digits: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return the hashes of hex strings from `to_hex`, shape (N,), uint64; the column must have no nulls."""
    hashes = np.empty(len(digits), np.uint64)
    for first in range(0, len(digits), _DIGITS_AT_ONCE):
        joined = "".join(digits.slice(first, _DIGITS_AT_ONCE).to_pylist())
        hashes[first : first + _DIGITS_AT_ONCE] = np.frombuffer(bytes.fromhex(joined), ">u8")
    return hashes
