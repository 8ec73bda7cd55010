from __future__ import annotations

import numpy as np
import pytest

from transforms.formats.reviewing.label_studio_brush import decoded_brush, encoded_brush


def test_brushes_round_trip() -> None:
    rng = np.random.default_rng(3)
    for share in (0.0, 0.1, 0.5, 1.0):
        mask = (rng.random((21, 34)) < share).astype(np.uint8)
        assert np.array_equal(decoded_brush(encoded_brush(mask), 34, 21), mask)
    large = np.zeros((300, 400), np.uint8)
    large[100:200, 50:] = 1
    assert np.array_equal(decoded_brush(encoded_brush(large), 400, 300), large)


def test_blocks_of_single_values_are_read() -> None:
    bits = f"{8:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    # A block of four values, then one value for four.
    bits += "0" + "00" + f"{3:03b}" + "".join(f"{v:08b}" for v in (0, 0, 0, 255)) + "1" + "00" + f"{3:03b}" + f"{0:08b}"
    numbers = [int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8)]
    assert decoded_brush(numbers, 2, 1).tolist() == [[1, 0]]


@pytest.mark.parametrize("numbers", [[], [0], [300], [0, 0, 0, 12], [255] * 40])
def test_other_numbers_are_refused(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match="rle: "):
        decoded_brush(numbers, 3, 1)


def test_an_absurd_size_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(ValueError, match="fewer than 536870912 pixels, found 200000x200000"):
        decoded_brush([0] * 40, 200_000, 200_000)
