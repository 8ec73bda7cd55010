"""What a user says about annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le


@dataclass(frozen=True)
class AnnotateParams:
    """What finds objects, on which frames, and what counts as one.

    `detector`: `onnx` runs an exported detector with ONNX Runtime; `motion` boxes what moves on a fixed camera, without
    weights and without saying what it is.
    `weights`: a file (looked for below `$WINNOW_WEIGHTS` too), or a name that `winnow models list` shows.
    `layout`: how an exported detector takes pictures and gives boxes; `auto` tells by its inputs and outputs.
    `size`: width and height of the input of an exported detector that leaves them open; 0 for one that does not.
    `names`: file with the names of the categories, one per line or YAML; else those in the weights, or COCO's.
    `min_score`: how sure the detector must be.
    `nms_iou`: overlap from which on two boxes of one category are one, where the detector does not see to that itself.
    `max_objects`: the most objects of a frame, the surest ones.
    `frames`: `kept` looks at the frames that curation keeps, `all` at every frame that decodes.
    """

    detector: Literal["motion", "onnx"] = "motion"
    weights: str | None = None
    layout: Literal["auto", "yolox", "d-fine", "end-to-end"] = "auto"
    size: Annotated[int, Ge(0), Le(8192)] = 0
    names: str | None = None
    min_score: Annotated[float, Ge(0), Le(1)] = 0.25
    nms_iou: Annotated[float, Ge(0), Le(1)] = 0.65
    max_objects: Annotated[int, Ge(1), Le(100_000)] = 300
    frames: Literal["kept", "all"] = "kept"
