"""What a user says about annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from transforms.models.torch_runtime import Precision

DetectorName = Literal["motion", "onnx", "d-fine", "yolo26", "owlv2", "sam3"]


@dataclass(frozen=True)
class AnnotateParams:
    """What finds objects, on which frames, and what counts as one.

    `detector`: `motion` boxes what moves on a fixed camera, without weights and without saying what it is; `onnx` runs
    an exported detector with ONNX Runtime; `d-fine` runs D-FINE, DEIMv2 or RT-DETR with transformers; `yolo26` runs
    weights of Ultralytics, whose code and weights are under AGPL-3.0; `owlv2` and `sam3` find what `annotate.prompts`
    names, `sam3` with masks.
    `weights`: a file or folder (looked for below `$WINNOW_WEIGHTS` too), a name that `winnow models list` shows, or a
    repository of the Hugging Face hub; none takes the first of the catalogue that runs with the detector.
    `prompts`: words for what a detector with an open vocabulary is to find; they become the categories.
    `layout`: how an exported detector takes pictures and gives boxes; `auto` tells by its inputs and outputs.
    `size`: width and height of the input of an exported detector that leaves them open, or of a YOLO; 0 for those that
    it was exported, or trained, with. Where an export has a size for good, another one is refused.
    `names`: file with the names of the categories, one per line or YAML; else those in the weights, or COCO's.
    `min_score`: how sure the detector must be.
    `nms_iou`: overlap from which on two boxes of one category are one, where the detector does not see to that itself.
    `max_objects`: the most objects of a frame, the surest ones.
    `precision`: what a torch model computes in; `auto` takes half precision on a GPU, single elsewhere.
    `frames`: `kept` looks at the frames that curation keeps, `all` at every frame that decodes.
    """

    detector: DetectorName = "motion"
    weights: str | None = None
    prompts: tuple[str, ...] = ()
    layout: Literal["auto", "yolox", "d-fine", "end-to-end"] = "auto"
    size: Annotated[int, Ge(0), Le(8192)] = 0
    names: str | None = None
    min_score: Annotated[float, Ge(0), Le(1)] = 0.25
    nms_iou: Annotated[float, Ge(0), Le(1)] = 0.65
    max_objects: Annotated[int, Ge(1), Le(100_000)] = 300
    precision: Precision = "auto"
    frames: Literal["kept", "all"] = "kept"
