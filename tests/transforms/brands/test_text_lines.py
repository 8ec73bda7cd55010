"""Lines that are found on drawn images, where they were drawn."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from transforms.brands.crops import rectified, sides
from transforms.brands.text_lines import EdgeParams, find_lines


def drawn(texts: dict[str, tuple[int, int]], light: bool) -> npt.NDArray[np.uint8]:
    """Return a grey image with texts whose lower left corners are given, 20 pixels high."""
    image = np.full((360, 640), 40 if light else 210, np.uint8)
    for text, place in texts.items():
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_DUPLEX, 0.9, 250 if light else 20, 2, cv2.LINE_AA)
    return image


@pytest.mark.parametrize("light", [True, False])
def test_lines_are_where_they_were_drawn(light: bool) -> None:
    texts = {"NORDVIG": (60, 90), "Kestrel Bank": (300, 250)}
    found = find_lines(drawn(texts, light), EdgeParams())
    assert len(found.scores) == len(texts)
    boxes = sorted((*quad.min(axis=0).tolist(), *quad.max(axis=0).tolist()) for quad in found.quads)
    for (left, top, right, bottom), (text, (x, y)) in zip(boxes, texts.items(), strict=True):
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 0.9, 2)
        np.testing.assert_allclose([left, top, right, bottom], [x, y - height, x + width, y], atol=5)


def test_signs_side_by_side_are_two_lines() -> None:
    image = np.full((120, 640), 90, np.uint8)
    for left, back, ink, text in ((20, 30, 230, "NORDVIG"), (250, 225, 30, "WELCOME")):
        cv2.rectangle(image, (left, 40), (left + 220, 84), back, -1)
        cv2.putText(image, text, (left + 24, 73), cv2.FONT_HERSHEY_DUPLEX, 1.0, ink, 2, cv2.LINE_AA)
    found = find_lines(image, EdgeParams())
    middles = sorted(float(quad[:, 0].mean()) for quad in found.quads)
    assert len(middles) == 2
    assert middles[0] < 245 < middles[1]


def test_plain_images_and_faint_noise_have_no_lines() -> None:
    noise = np.random.default_rng(0).integers(110, 130, (360, 640)).astype(np.uint8)
    assert not len(find_lines(np.full((360, 640), 128, np.uint8), EdgeParams()).scores)
    assert not len(find_lines(noise, EdgeParams()).scores)


def test_intermediates_change_no_result() -> None:
    image = drawn({"NORDVIG": (60, 90)}, True)
    seen: dict[str, tuple[int, ...]] = {}
    plain = find_lines(image, EdgeParams())
    probed = find_lines(image, EdgeParams(), lambda name, array: seen.__setitem__(name, array.shape))
    np.testing.assert_array_equal(plain.quads, probed.quads)
    assert seen["light_0"] == (360, 640)
    assert seen["dark_strokes_2"] == (90, 160)


def test_a_slanted_region_becomes_upright() -> None:
    image = np.zeros((200, 400, 3), np.uint8)
    quad = np.array([(50, 40), (350, 80), (350, 120), (50, 100)], np.float32)
    cv2.fillConvexPoly(image, quad.astype(np.int32), (255, 255, 255))
    assert sides(quad) == pytest.approx((301.3, 50.0), abs=0.5)
    crop = rectified(image, quad, 48)
    assert crop.shape[0] == 48
    # The margin is dark on all sides, and the inside is light.
    assert crop[0].max() < 60
    assert crop[24, crop.shape[1] // 4 : -crop.shape[1] // 4].min() == 255
