"""Logos without words: where they may be, and whether they are distinguished from all else."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from tests.sign_faces import Image, logo_image
from transforms.brands.crops import as_gray
from transforms.brands.emblems import find_emblems
from transforms.brands.logos import Likeness, LogoReference, few_features, likenesses, references
from transforms.brands.match import agreed
from transforms.brands.match_logos import logo_mentions
from transforms.brands.match_words import MatchParams, Mention
from transforms.brands.text_lines import EdgeParams

BACK = (60, 30, 90)


def png(image: Image) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])


def sister_image(side: int) -> Image:
    """Return a logo with the crescent of the other one, and bars in place of its stars."""
    big = np.full((400, 400, 3), BACK, np.uint8)
    cv2.circle(big, (200, 200), 185, (90, 220, 250), -1)
    cv2.circle(big, (255, 165), 135, BACK, -1)
    for at in range(3):
        cv2.rectangle(big, (190 + 50 * at, 90), (215 + 50 * at, 200), (40, 60, 220), -1)
    return np.asarray(cv2.resize(big, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def known() -> list[LogoReference]:
    rows = [{"brand": "Halvmaane", "logos": [{"name": "moon.png", "image": png(logo_image(256))}]}]
    rows += [{"brand": "Sister", "logos": [{"name": "sister.png", "image": png(sister_image(256))}]}]
    return references(rows)


KNOWN = known()


def seen(image: Image, side: int, blur: int = 1, quality: int = 90, lean: float = 0.0) -> Image:
    """Return a sign with an image `side` pixels high, out of perspective, blurred by motion, compressed."""
    sign = np.full((round(1.5 * side), round(1.8 * side), 3), BACK, np.uint8)
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    top, left = (sign.shape[0] - side) // 2, (sign.shape[1] - side) // 2
    sign[top : top + side, left : left + side] = small
    turn = np.array([[1, 0, 0], [lean, 1, -lean * sign.shape[1] / 2]], np.float64)
    sign = np.asarray(cv2.warpAffine(sign, turn, sign.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)
    sign = np.asarray(cv2.blur(sign, (blur, 1)), np.uint8)
    data = cv2.imencode(".jpg", sign, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def named(image: Image) -> list[tuple[str | None, str]]:
    found = [{**like._asdict(), "tall": like.height_share, "part": 1.0} for like in likenesses(as_gray(image), KNOWN)]
    return [(mention.brand, mention.state) for mention in logo_mentions(found, MatchParams())]


@pytest.mark.parametrize("side", [24, 40, 80])
@pytest.mark.parametrize("kind", ["plain", "blurred", "compressed", "leaning", "negative"])
def test_a_logo_is_recognized_as_a_camera_shows_it(side: int, kind: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "blurred": {"blur": max(1, side // 12)},
        "compressed": {"quality": 35 if side > 24 else 60},
        "leaning": {"lean": 0.12},
    }
    image = 255 - logo_image(256) if kind == "negative" else logo_image(256)
    assert named(seen(np.asarray(image, np.uint8), side, **changes.get(kind, {}))) == [("Halvmaane", "resolved")]


def test_what_is_another_logo_a_mirrored_one_or_none_is_not_taken_for_one() -> None:
    assert named(seen(sister_image(256), 48)) == [("Sister", "resolved")]
    assert named(seen(np.ascontiguousarray(logo_image(256)[:, ::-1]), 48)) == []
    random = np.random.default_rng(5)
    for number in range(12):
        crowd = random.integers(0, 255, (30, 40, 3), np.uint8)
        assert named(np.asarray(cv2.resize(crowd, (160, 96), interpolation=cv2.INTER_CUBIC), np.uint8)) == []
        sign = np.full((48, 200, 3), 40, np.uint8)
        cv2.putText(sign, f"SIGN {number}", (10, 34), cv2.FONT_HERSHEY_DUPLEX, 1.0, (230, 230, 230), 2, cv2.LINE_AA)
        assert named(sign) == []


def test_transparent_references_have_the_outline_of_what_is_opaque() -> None:
    mask = np.zeros((120, 120), np.uint8)
    cv2.circle(mask, (60, 60), 50, 255, -1)
    for left in (35, 60):
        cv2.rectangle(mask, (left, 30), (left + 12, 85), 0, -1)
    dark = np.dstack([np.full((120, 120, 3), 20, np.uint8), mask])
    reference = references([{"brand": "A", "logos": [{"name": "a", "image": png(dark)}]}])[0]
    assert reference.gray[2, 2] > 200
    assert reference.mask[2, 2] == 0
    assert reference.gray[32, 8] < 60
    assert few_features(png(np.full((64, 64, 3), 9, np.uint8)))
    assert few_features(b"no image")
    assert not few_features(png(logo_image(64)))


def likely(brand: str, points: int, correlation: float, begins: float = 0.2, ends: float = 0.6) -> dict[str, Any]:
    like = Likeness(brand, "a.png", points, correlation, 1.0, begins, ends, 0.5)
    return {**like._asdict(), "tall": 0.7, "part": 0.3}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([likely("A", 20, 0.9)], [("A", "resolved", None)]),
        # The next one is as much so: which of both it is stays open.
        ([likely("A", 20, 0.9), likely("B", 20, 0.85)], [("A", "unresolved", "B")]),
        ([likely("A", 20, 0.9), likely("B", 20, 0.5)], [("A", "resolved", "B")]),
        # Side by side there are two.
        ([likely("A", 20, 0.9), likely("B", 20, 0.85, 0.65, 0.95)], [("A", "resolved", None), ("B", "resolved", None)]),
        ([likely("A", 6, 0.5)], [("A", "unresolved", None)]),
        ([likely("A", 4, 0.9)], []),
        ([likely("A", 20, 0.2)], []),
        ([{**likely("A", 20, 0.9), "inside": 0.4}], []),
    ],
)
def test_when_a_likeness_is_a_mention(rows: list[dict[str, Any]], expected: list[tuple[str, str, str | None]]) -> None:
    found = logo_mentions(rows, MatchParams())
    assert [(mention.brand, mention.state, mention.runner_up) for mention in found] == expected
    assert all(mention.how == "logo" and mention.part == pytest.approx(0.3) for mention in found)


def test_text_and_logo_of_a_brand_together_are_surer_than_one() -> None:
    text = Mention("A", "name", "resolved", 0.8)
    logo = Mention("A", "logo", "resolved", 0.5, area=0.2, logo="a.png")
    (both,) = agreed([text], [logo])
    assert both.how == "name"
    assert both.score == pytest.approx(0.9)
    unclear = Mention("A", "fuzzy", "unresolved", 0.5)
    assert agreed([unclear], [logo])[0].state == "resolved"
    nothing = Mention(None, "none", "none", 0.9)
    assert agreed([nothing], [logo]) == [logo]
    assert agreed([nothing], []) == [nothing]
    other = Mention("B", "name", "resolved", 0.8)
    assert agreed([other], [logo]) == [other, logo]
    # A name that nearly is the brand's counts against it, also next to a logo.
    nearly = Mention(None, "none", "none", 0.9, runner_up="A")
    assert agreed([nearly], [logo]) == [nearly, logo]


def test_emblems_are_where_logos_were_drawn() -> None:
    image = np.full((360, 640), 90, np.uint8)
    drawn = {(80, 100): 24, (300, 60): 40, (480, 220): 60}
    for (left, top), side in drawn.items():
        cv2.rectangle(image, (left - 60, top - 3), (left + side + 60, top + side + 3), 50, -1)
        image[top : top + side, left : left + side] = as_gray(logo_image(side))
    found = find_emblems(image, EdgeParams())
    for (left, top), side in drawn.items():
        middle = np.array([left + side / 2, top + side / 2])
        near = [quad for quad in found.quads if np.linalg.norm(quad.mean(axis=0) - middle) < side / 3]
        assert near, (left, top)
        assert any(0.5 * side < np.ptp(quad[:, 1]) < 1.8 * side for quad in near)
    assert not len(find_emblems(image, EdgeParams(max_emblems=0)).scores)
    assert len(find_emblems(image, EdgeParams(max_emblems=1)).scores) == 1
    assert not len(find_emblems(np.full((360, 640), 90, np.uint8), EdgeParams()).scores)
    names: list[str] = []
    probed = find_emblems(image, EdgeParams(), lambda name, array: names.append(name))
    np.testing.assert_array_equal(probed.quads, found.quads)
    assert names[0] == "energy"
