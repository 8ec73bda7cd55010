"""Parameters of object detection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from transforms.models.torch_runtime import Precision

DetectorName = Literal["motion", "onnx", "d-fine", "torchvision", "yolo26", "owlv2", "sam3"]


@dataclass(frozen=True)
class AnnotateParams:
    """Which detector runs, on which frames, and which detections are kept.

    `detector`: `motion` boxes what moves in front of a fixed camera, without weights and classes; `onnx` runs an
    exported detector with ONNX Runtime; `d-fine` runs D-FINE, DEIMv2, RT-DETR or RF-DETR with transformers;
    `torchvision` runs detectors of torchvision that `winnow train` has trained; `yolo26` runs weights of Ultralytics,
    whose code and weights are under AGPL-3.0; `owlv2` and `sam3` find what `annotate.prompts` names, `sam3` with masks.
    `weights`: a file or folder (also searched below `$WINNOW_WEIGHTS`), a name that `winnow models list` shows, a
    trained model as `models:NAME@ALIAS` or `models:NAME@VERSION`, which decides the detector too, or a repository of
    the Hugging Face hub; none takes the first of the catalogue that runs with the detector.
    `prompts`: phrases that name what an open-vocabulary detector is to find; they become the categories.
    `layout`: input and output convention of an exported detector; `auto` detects it from its inputs and outputs.
    `size`: width and height of the input, for an exported detector in which they are dynamic, or for a YOLO; 0 for the
    size of the export or the training. A size other than a fixed one of an export is refused.
    `names`: file with the category names, one per line or YAML; else those in the weights, or COCO's.
    `classes`: only objects of these classes are recorded, by their names as the detector has them; none for all.
    `min_score`: lowest score of a detection.
    `nms_iou`: intersection over union above which two boxes of one category are merged, for detectors that need
    suppression.
    `max_objects`: the most objects of a frame, those of the highest scores.
    `precision`: floating-point format of a torch model; `auto` takes half precision on a GPU, single otherwise.
    `frames`: `kept` runs on the frames that curation keeps, `all` on every frame that decodes.
    """

    detector: DetectorName = "motion"
    weights: str | None = None
    prompts: tuple[str, ...] = ()
    layout: Literal["auto", "yolox", "d-fine", "end-to-end"] = "auto"
    size: Annotated[int, Ge(0), Le(8192)] = 0
    names: str | None = None
    classes: tuple[str, ...] = ()
    min_score: Annotated[float, Ge(0), Le(1)] = 0.25
    nms_iou: Annotated[float, Ge(0), Le(1)] = 0.65
    max_objects: Annotated[int, Ge(1), Le(100_000)] = 300
    precision: Precision = "auto"
    frames: Literal["kept", "all"] = "kept"
