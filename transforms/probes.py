"""Named intermediates of stages on one frame: what a stage saw on its way to its row.

Each function runs the stage's own kernels, and returns arrays by name with the values that follow from them. None is
called in a run, so that no result depends on any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from transforms.brands.crop_models import RectifyParams, crops_of
from transforms.brands.crops import sharpness_of
from transforms.brands.emblems import find_emblems
from transforms.brands.playing_field import FieldParams, find_field
from transforms.brands.text_lines import EdgeParams, Lines, find_lines
from transforms.curate.duplicates.hamming import agreements
from transforms.curate.scenes import SceneParams
from transforms.frames.image import Color, Gray
from transforms.metrics.hashing import LAYOUT_SIDE, layouts, phash
from transforms.metrics.motion import MotionParams, motion_scores


@dataclass(frozen=True)
class ProbedFrame:
    """A frame as stages see it: colour (H, W, 3), and luma at the sizes of `transforms.frames.frame_image.Pixels`.

    `other` is luma of the frame that it is compared with: `small` and `tiles`; None where there is none. `regions` are
    those that are read on it, as `transforms.brands.crop_models.crops_of` takes them.
    """

    color: Color
    gray: Gray
    small: Gray
    tiles: Gray
    other: tuple[Gray, Gray] | None = None
    regions: Sequence[Mapping[str, Any]] = ()


@dataclass
class Intermediates:
    """Intermediates of a stage on a frame: images by name, uint8 of shape (H, W) or (H, W, 3), and values."""

    images: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def take(self, name: str, array: npt.NDArray[Any]) -> None:
        """Note an intermediate; a `Probe`."""
        self.images[name] = np.asarray(array, np.uint8).copy()


Sections = Mapping[str, Any]
"""Parameters by the name of their section of the configuration."""


def probe_field(shown: ProbedFrame, sections: Sections) -> Intermediates:
    """Return the masks on the way to the playing field."""
    params: FieldParams = sections["field"]
    probed = Intermediates()
    found = find_field(shown.color, params, probed.take)
    probed.values = {"found": found is not None, **({"share": found.share, "hue": found.hue} if found else {})}
    return probed


def probe_edges(shown: ProbedFrame, sections: Sections) -> Intermediates:
    """Return strokes and edges on the way to lines and emblems, and these, drawn on the frame."""
    params: EdgeParams = sections["edges"]
    probed = Intermediates()
    found = {
        "line": find_lines(shown.gray, params, probed.take),
        "emblem": find_emblems(shown.gray, params, probed.take),
    }
    drawn = np.repeat(shown.gray[..., None], 3, axis=2)
    for kind, colour in (("emblem", (0, 160, 255)), ("line", (80, 255, 80))):
        cv2.polylines(drawn, [np.round(quad).astype(np.int32) for quad in found[kind].quads], True, colour)
    probed.take("found", drawn)
    scale = shown.color.shape[1] / shown.gray.shape[1]
    probed.values = {"lines": [row for kind in found for row in _listed(found[kind], kind, scale)]}
    return probed


def _listed(lines: Lines, kind: str, scale: float) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "score": float(score), "corners": (quad * scale).ravel().tolist()}
        for quad, score in zip(lines.quads, lines.scores, strict=True)
    ]


def probe_rectify(shown: ProbedFrame, sections: Sections) -> Intermediates:
    """Return the crops of the regions that are read on the frame."""
    params: RectifyParams = sections["rectify"]
    probed = Intermediates()
    crops = crops_of(shown.color, shown.regions, params)
    rows = []
    for number, (crop, region) in enumerate(zip(crops, shown.regions, strict=True)):
        name = f"{region['kind']}_{number}"
        probed.take(name, crop.image)
        gray = np.asarray(cv2.cvtColor(crop.image, cv2.COLOR_BGR2GRAY), np.uint8)
        rows.append(
            {"name": name, "region_id": crop.region_id, "height_px": crop.height, "sharpness": sharpness_of(gray)}
        )
    probed.values = {"crops": rows}
    return probed


def probe_motion(shown: ProbedFrame, sections: Sections) -> Intermediates:
    """Return the tiles of the frame, those of the one before, and how much each changed."""
    params: MotionParams = sections["motion"]
    probed = Intermediates()
    probed.take("tiles", shown.tiles)
    if shown.other is None:
        return probed
    before = shown.other[1]
    probed.take("tiles_before", before)
    probed.take("difference", cv2.absdiff(shown.tiles, before))
    scores = motion_scores(shown.tiles[None], before[None], params)
    probed.values = {name: float(values[0]) for name, values in scores._asdict().items()}
    return probed


def probe_scenes(shown: ProbedFrame, sections: Sections) -> Intermediates:
    """Return the layouts of the frame and of the one before, and whether they agree."""
    params: SceneParams = sections["scenes"]
    probed = _layouts(shown)
    if shown.other is not None:
        probed.values |= {"cut": params.cut, "is_another_scene": probed.values["agreement"] < params.cut}
    return probed


def probe_duplicates(shown: ProbedFrame, sections: Sections) -> Intermediates:  # noqa: ARG001 - no parameter decides a measure
    """Return the layouts of the frame and of the one that represents its group, and in how many bits they differ."""
    probed = _layouts(shown)
    if shown.other is not None:
        one, two = phash([shown.small, shown.other[0]])
        probed.values["hamming"] = int(np.bitwise_count(one ^ two))
    return probed


def _layouts(shown: ProbedFrame) -> Intermediates:
    probed = Intermediates()
    pair = [shown.tiles] if shown.other is None else [shown.tiles, shown.other[1]]
    cells = np.concatenate([layouts(tiles[None]) for tiles in pair])
    for name, each in zip(("layout", "layout_of_other"), cells, strict=False):
        probed.take(name, each.reshape(LAYOUT_SIDE, LAYOUT_SIDE))
    if len(cells) > 1:
        probed.take("difference", cv2.absdiff(cells[0], cells[1]).reshape(LAYOUT_SIDE, LAYOUT_SIDE))
        first, second = np.zeros(1, np.int64), np.ones(1, np.int64)
        probed.values = {"agreement": float(agreements(cells, first, second)[0])}
    return probed


@dataclass(frozen=True)
class StageProbe:
    """How a stage is probed.

    The function, the section of its parameters, the frame that it is compared with, and whether it sees regions.
    """

    function: Callable[[ProbedFrame, Sections], Intermediates]
    section: str
    other: Literal["before", "representative"] | None = None
    with_regions: bool = False


PROBES: Mapping[str, StageProbe] = {
    "field": StageProbe(probe_field, "field"),
    "edges": StageProbe(probe_edges, "edges"),
    "rectify": StageProbe(probe_rectify, "rectify", with_regions=True),
    "motion": StageProbe(probe_motion, "motion", "before"),
    "scenes": StageProbe(probe_scenes, "scenes", "before"),
    "duplicates": StageProbe(probe_duplicates, "duplicates", "representative"),
}
"""The stages that can be probed."""
