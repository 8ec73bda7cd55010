"""Intermediates of stages are those of what the stages compute."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from transforms.brands.crop_models import RectifyParams
from transforms.brands.playing_field import FieldParams, find_field
from transforms.brands.text_lines import EdgeParams, find_lines
from transforms.curate.scenes import SceneParams
from transforms.frames.image import to_small, to_tiles
from transforms.metrics.motion import MotionParams, motion_scores
from transforms.probes import PROBES, ProbedFrame

Image = npt.NDArray[np.uint8]


def image_of(left: int = 60) -> Image:
    """Return a green frame with a sign."""
    image = np.full((360, 640, 3), (40, 120, 44), np.uint8)
    image[:150] = np.random.default_rng(0).integers(60, 80, (150, 640, 1), np.uint8)
    cv2.putText(image, "NORDVIG", (left, 120), cv2.FONT_HERSHEY_DUPLEX, 0.9, (250, 250, 250), 2, cv2.LINE_AA)
    return image


def sizes(image: Image) -> tuple[Image, Image, Image]:
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    return gray, to_small(gray), to_tiles(to_small(gray))


def shown(left: int = 60, other: int | None = None) -> ProbedFrame:
    corners = [55.0, 95.0, 190.0, 95.0, 190.0, 125.0, 55.0, 125.0]
    regions = [{"region_id": "a", "kind": "line", "corners": corners}]
    compared = None if other is None else sizes(image_of(other))[1:]
    return ProbedFrame(image_of(left), *sizes(image_of(left)), compared, regions)


def test_the_field_is_that_of_the_stage() -> None:
    given = shown()
    probed = PROBES["field"].function(given, {"field": FieldParams()})
    found = find_field(given.color, FieldParams())
    assert found is not None
    assert list(probed.images) == ["colour", "opened", "closed", "field"]
    assert (probed.images["field"] > 0).mean() == pytest.approx(found.share)
    assert probed.values == {"found": True, "share": found.share, "hue": found.hue}
    none = PROBES["field"].function(given, {"field": FieldParams(hue_low=100, hue_high=110)})
    assert none.values == {"found": False}
    assert not none.images["field"].any()


def test_lines_are_those_of_the_stage_and_drawn_where_they_are() -> None:
    given = shown()
    probed = PROBES["edges"].function(given, {"edges": EdgeParams(max_emblems=1)})
    quads = find_lines(given.gray, EdgeParams()).quads
    found = [row["corners"] for row in probed.values["lines"] if row["kind"] == "line"]
    np.testing.assert_allclose(np.reshape(found, (-1, 4, 2)), quads)
    assert sum(row["kind"] == "emblem" for row in probed.values["lines"]) == 1
    assert {"light_0", "dark_strokes_2", "energy", "found"} <= set(probed.images)
    x, y = np.round(quads[0][0]).astype(int)
    assert probed.images["found"][y, x].tolist() == [80, 255, 80]


def test_crops_are_named_by_their_kind() -> None:
    probed = PROBES["rectify"].function(shown(), {"rectify": RectifyParams()})
    assert probed.images["line_0"].shape[0] == 48
    (row,) = probed.values["crops"]
    assert row["height_px"] == pytest.approx(30)


def test_motion_scenes_and_duplicates_compare_two_frames() -> None:
    moved = shown(60, 160)
    probed = PROBES["motion"].function(moved, {"motion": MotionParams()})
    assert moved.other is not None
    scores = motion_scores(moved.tiles[None], moved.other[1][None], MotionParams())
    assert probed.values["motion"] == pytest.approx(float(scores.motion[0]))
    assert probed.images["difference"].any()
    scene = PROBES["scenes"].function(moved, {"scenes": SceneParams()})
    assert scene.values["is_another_scene"] is (scene.values["agreement"] < SceneParams().cut)
    same = PROBES["duplicates"].function(shown(60, 60), {})
    assert same.values["hamming"] == 0
    assert same.values["agreement"] == pytest.approx(1, abs=1e-5)
    assert PROBES["duplicates"].function(moved, {}).values["hamming"] > 0
    for name, section in (("motion", MotionParams()), ("scenes", SceneParams())):
        first = PROBES[name].function(shown(), {name: section})
        assert first.values == {}
        assert len(first.images) == 1
