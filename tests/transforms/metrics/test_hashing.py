from __future__ import annotations

from pathlib import Path
from unittest import mock

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.helpers import noise
from transforms.frames.image import Gray, ImageParams, decode_gray, read_header, to_small
from transforms.metrics import hashing
from transforms.metrics.hashing import (
    area_matrix,
    from_hex,
    lanczos_matrix,
    layout_array,
    layout_column,
    layouts,
    phash,
    phash_of_squares,
    to_hash_squares,
    to_hex,
)
from transforms.synthetic import Sample, encode


def reference(square: Gray) -> int:
    """Return imagehash's hash of a 32x32 image, which it then does not resize."""
    return int(str(imagehash.phash(Image.fromarray(square))), 16)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["noise", "smooth", "dark"]))
def test_hash_of_a_32x32_image_equals_imagehash(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    square = rng.integers(0, 256 if kind != "dark" else 9, (32, 32), dtype=np.uint8)
    if kind == "smooth":
        square = np.asarray(Image.fromarray(noise(seed % 1000)).resize((32, 32)))
    assert int(phash_of_squares(square[None])[0]) == reference(square)


def test_flat_images_of_any_tone_have_the_same_hash() -> None:
    flat = [np.full((90, 160), tone, np.uint8) for tone in (1, 90, 255)]
    assert set(phash(flat).tolist()) == {1 << 63}


def test_hex_is_in_the_format_of_imagehash() -> None:
    square = np.asarray(Image.fromarray(noise(3)).resize((32, 32)))
    assert to_hex(phash_of_squares(square[None])).to_pylist() == [str(imagehash.phash(Image.fromarray(square)))]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_hex_round_trip(words: list[int]) -> None:
    array = np.array(words, np.uint64)
    printed = to_hex(array)
    assert printed.to_pylist() == [f"{w:016x}" for w in words]
    assert from_hex(printed).tolist() == words
    with mock.patch.object(hashing, "_DIGITS_AT_ONCE", 3):
        assert from_hex(printed).tolist() == words


def test_lanczos_weights_sum_to_one_and_are_the_identity_at_equal_size() -> None:
    assert np.allclose(lanczos_matrix(160, 32).sum(axis=1), 1)
    assert np.allclose(lanczos_matrix(32, 32), np.eye(32), atol=1e-6)


def test_hash_squares_equal_pillow_within_rounding() -> None:
    pictures = np.stack([noise(seed) for seed in range(8)])
    ours = to_hash_squares(pictures).astype(int)
    pillow = np.stack([np.asarray(Image.fromarray(p).resize((32, 32), Image.Resampling.LANCZOS)) for p in pictures])
    assert np.abs(ours - pillow).max() <= 2


def test_images_of_several_sizes_hash_as_they_do_alone() -> None:
    pictures = [noise(1), noise(2, 120, 160), noise(3), noise(4, 160, 90)] * 6
    assert phash(pictures).tolist() == [int(phash([p])[0]) for p in pictures]


def distances(files: list[bytes]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return by how many bits our hashes of reduced images differ from imagehash's of the full images."""
    import io

    small = [to_small(decode_gray(data, read_header(data), ImageParams())) for data in files]
    theirs = [int(str(imagehash.phash(Image.open(io.BytesIO(data)))), 16) for data in files]
    return np.bitwise_count(phash(small) ^ np.array(theirs, np.uint64))


def test_hashes_are_near_imagehash_on_synthetic_frames() -> None:
    sample = Sample(1280, 720)
    found = distances([encode(sample.picture(i), 88) for i in range(0, 400, 13) if sample.kinds[i] == "moving"])
    assert (found <= 2).mean() >= 0.99


@pytest.mark.realdata
def test_hashes_are_near_imagehash_on_real_frames(real_data: Path) -> None:
    files = [*sorted((real_data / "sequences/bedroom").glob("*.jpg"))]
    files += sorted((real_data / "detection/coco128").rglob("*.jpg"))
    found = distances([path.read_bytes() for path in files])
    assert len(found) > 300
    assert (found <= 2).mean() >= 0.99


def test_layouts_are_the_means_of_cells() -> None:
    pictures = np.random.default_rng(4).integers(0, 256, (3, 16, 24), dtype=np.uint8)
    means = pictures.reshape(3, 8, 2, 8, 3).mean(axis=(2, 4)).reshape(3, 64)
    np.testing.assert_allclose(layouts(pictures), means, atol=0.501)


def test_tiles_on_a_cell_border_count_in_both_cells() -> None:
    # 9 tiles in 8 cells: a cell is one tile and an eighth.
    np.testing.assert_allclose(area_matrix(9, 8)[0], [8 / 9, 1 / 9, 0, 0, 0, 0, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(area_matrix(36, 8).sum(axis=1), 1, rtol=1e-6)


def test_layout_columns_round_trip() -> None:
    cells = np.random.default_rng(4).integers(0, 256, (10, 64), dtype=np.uint8)
    column = pa.chunked_array([layout_column(cells[:4]), layout_column(cells[4:]).slice(1)])
    np.testing.assert_array_equal(layout_array(column), cells[[0, 1, 2, 3, 5, 6, 7, 8, 9]])
    np.testing.assert_array_equal(layout_array(column.slice(2, 3)), cells[[2, 3, 5]])
    assert layout_array(column.slice(0, 0)).shape == (0, 64)
