"""Declarations of the detectors that the stage `annotate` can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conf.stage_spec import Params
from transforms.frames import clip_frame, image
from transforms.models.detect.annotator import Annotator, MotionAnnotator, annotate_exported
from transforms.models.detect.params import DetectorName
from transforms.models.detect.pretrained import KINDS, PretrainedDetector
from transforms.models.detect.prompted import OWL_KINDS, SAM3_KINDS, Owl, Sam3
from transforms.models.detect.torchvision_models import KINDS as TORCHVISION_KINDS
from transforms.models.detect.torchvision_models import TorchvisionDetector
from transforms.models.detect.ultralytics_models import YoloDetector

_SEES = (image.decode_color, clip_frame.ClipFrame.color)
_OF_TORCH = Params("annotate", only=("detector", "min_score", "max_objects", "precision"))


@dataclass(frozen=True)
class DetectorSpec:
    """The declaration of a detector.

    `params` and `code` are those of its stage, besides the weights and the categories; `loads` is its class, where it
    is one of torch. `kinds`: types of model in a folder as transformers writes it, with their classes. `prompted`:
    `annotate.prompts` says what it is to find. `context_setting` names the key for the frames that it looks back at.
    """

    params: tuple[Params, ...]
    code: tuple[Callable[..., Any], ...]
    loads: Callable[..., Any] | None = None
    kinds: Mapping[str, str] | None = None
    prompted: bool = False
    context_setting: str = ""


DETECTORS: Mapping[DetectorName, DetectorSpec] = {
    "motion": DetectorSpec(
        params=(Params("annotate", only=("detector", "min_score", "max_objects")), Params("moving")),
        code=(*_SEES, MotionAnnotator),
        context_setting="moving.history",
    ),
    "onnx": DetectorSpec(
        params=(Params("annotate", only=("detector", "layout", "size", "min_score", "nms_iou", "max_objects")),),
        code=(*_SEES, Annotator, annotate_exported),
    ),
    "d-fine": DetectorSpec(
        params=(_OF_TORCH,),
        code=(*_SEES, Annotator, PretrainedDetector),
        loads=PretrainedDetector,
        kinds=KINDS,
    ),
    "torchvision": DetectorSpec(
        params=(_OF_TORCH,),
        code=(*_SEES, Annotator, TorchvisionDetector),
        loads=TorchvisionDetector,
        kinds=TORCHVISION_KINDS,
    ),
    "yolo26": DetectorSpec(
        params=(Params("annotate", only=("detector", "size", "min_score", "nms_iou", "max_objects", "precision")),),
        code=(*_SEES, Annotator, YoloDetector),
        loads=YoloDetector,
    ),
    "owlv2": DetectorSpec(
        params=(_OF_TORCH,), code=(*_SEES, Annotator, Owl), loads=Owl, kinds=OWL_KINDS, prompted=True
    ),
    "sam3": DetectorSpec(
        params=(_OF_TORCH,), code=(*_SEES, Annotator, Sam3), loads=Sam3, kinds=SAM3_KINDS, prompted=True
    ),
}
