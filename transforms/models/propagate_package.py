"""Propagation of detected boxes to later frames, by the video predictor of the package `sam2`.

The predictor is given one frame after the other, where it would read a whole clip, and of what it keeps of earlier
frames only that to which it refers back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from transforms.frames.image import Color
from transforms.models.detect.pretrained import Ready
from transforms.models.model_input import ModelInput
from transforms.models.propagate import Carried, Origin, PropagationState, Propagator, PropagatorSpec
from transforms.models.sam2_package import configuration_of, load_model, precision_of, square
from transforms.models.torch_runtime import Device

_OBJECTS_AT_ONCE = 16
"""Number of objects per session, whose masks are brought to the size of the frame together."""
_ENDLESS = 1 << 30
"""Number of frames that the predictor expects: it is given one after the other, as long as there are any."""


class PackagePropagator(Propagator):
    """Propagates objects frame by frame; results are those of `SAM2VideoPredictor` on the whole sequence.

    A sequence shorter than the number of frames whose object pointers are remembered (16 as published) is treated as
    the beginning of a longer one: the predictor itself scales the ages of pointers by the length of such a sequence.
    """

    def __init__(self, spec: PropagatorSpec, stage_key: str, threads: int = 1) -> None:
        """Load the model, with this number of threads. Raises `ModelError` for a file that does not contain it."""
        self._spec = spec
        self._stage_key = stage_key
        self._device = Device(spec.params.precision, threads)
        self._model = load_model(spec.folder, configuration_of(spec.folder), self._device, video=True)
        self._turn = Lock()

    def prepare(self, color: Color, objects: Sequence[Mapping[str, Any]] = ()) -> Origin:
        """Preprocess an image, with its objects if these are to be propagated."""
        ready = Ready(square(color, self._model.image_size), (color.shape[0], color.shape[1]))
        return Origin(ready, tuple(objects))

    def start(self, first: Origin, number: int) -> PropagationState:
        """Return the state after the annotated frame of this number."""
        state = PropagationState(number, first.objects, [])
        with self._turn, self._device.torch.inference_mode(), precision_of(self._device):
            for at in range(0, len(first.objects), _OBJECTS_AT_ONCE):
                session = self._session(first.ready.size)
                self._show(state, session, first.ready)
                for number_in, o in enumerate(first.objects[at : at + _OBJECTS_AT_ONCE]):
                    box = [o["x"], o["y"], o["x"] + o["w"], o["y"] + o["h"]]
                    self._model.add_new_points_or_box(session, frame_idx=0, obj_id=number_in, box=box)
                self._model.propagate_in_video_preflight(session)
                forget(session, 0, self._model)
                state.sessions.append(session)
        return state

    def step(self, state: PropagationState, frame: Origin, wanted: bool) -> Carried | None:
        """Process the next frame; return the objects propagated to it if it is wanted."""
        state.at += 1
        found = []
        with self._turn, self._device.torch.inference_mode(), precision_of(self._device):
            for session in state.sessions:
                self._show(state, session, frame.ready)
                ((_, _, masks),) = self._model.propagate_in_video(session, state.at, max_frame_num_to_track=0)
                if wanted:
                    found.append(((masks[:, 0] > 0).cpu().numpy(), self._presence(session, state.at)))
                forget(session, state.at, self._model)
        return self._carried_by(state, found) if wanted else None

    def _session(self, size: tuple[int, int]) -> dict[str, Any]:
        """Return the state that `SAM2VideoPredictor.init_state` makes of a clip, without frames."""
        by_object = ("point_inputs_per_obj", "mask_inputs_per_obj", "output_dict_per_obj", "temp_output_dict_per_obj")
        return {
            **{name: {} for name in (*by_object, "frames_tracked_per_obj", "images", "cached_features", "constants")},
            "obj_id_to_idx": OrderedDict(),
            "obj_idx_to_id": OrderedDict(),
            "obj_ids": [],
            "num_frames": _ENDLESS,
            "video_height": size[0],
            "video_width": size[1],
            "device": self._model.device,
            "storage_device": self._model.device,
            "offload_video_to_cpu": False,
            "offload_state_to_cpu": False,
        }

    def _show(self, state: PropagationState, session: dict[str, Any], ready: Ready) -> None:
        """Give a session the frame at which the state is; all sessions share its encoding."""
        session["images"] = {state.at: ready.planes}
        if state.sessions and session is not state.sessions[0]:
            session["cached_features"] = state.sessions[0]["cached_features"]

    def _presence(self, session: dict[str, Any], at: int) -> list[float]:
        """Return the probability that each object is visible on a frame."""
        outputs = [each["non_cond_frame_outputs"][at] for each in session["output_dict_per_obj"].values()]
        return [float(output["object_score_logits"].float().sigmoid()) for output in outputs]

    def _carried_by(self, state: PropagationState, found: Sequence[tuple[Any, list[float]]]) -> Carried:
        from pycocotools import mask as coded

        origins: list[Mapping[str, Any]] = []
        boxes: list[Any] = []
        scores: list[float] = []
        texts: list[str] = []
        masks = [(mask, presence) for some, there in found for mask, presence in zip(some, there, strict=True)]
        for origin, (mask, presence) in zip(state.objects, masks, strict=True):
            if presence < self._spec.params.min_presence or not mask.any():
                continue
            code = coded.encode(np.asfortranarray(mask, np.uint8))
            origins.append(origin)
            boxes.append(coded.toBbox(code))
            scores.append(origin["score"] * presence)
            texts.append(code["counts"].decode())
        placed = np.array(boxes, np.float32).reshape(-1, 4)
        sure = np.clip(np.array(scores, np.float32), 0, 1)
        return Carried(state.origin_idx, tuple(origins), placed, sure, tuple(texts))


def forget(session: dict[str, Any], at: int, model: Any) -> None:
    """Remove from a session what the predictor no longer needs after frame `at`, counted from the origin.

    It keeps masks and memories of every frame, but reads only the memories of the last `num_maskmem` - 1 frames (times
    the stride at which it takes them), and the object pointers of the last `max_obj_ptrs_in_encoder` - 1. What belongs
    to the first frame is kept.
    """
    session["images"] = {}
    memories = model.num_maskmem * model.memory_temporal_stride_for_eval
    last = at + 2 - max(memories, model.max_obj_ptrs_in_encoder)
    for number, outputs in session["output_dict_per_obj"].items():
        session["frames_tracked_per_obj"][number].clear()
        later = outputs["non_cond_frame_outputs"]
        for past in [past for past in later if past < last]:
            del later[past]
        for past, output in later.items():
            output["pred_masks"] = None
            if past < at + 2 - memories:
                output["maskmem_features"] = output["maskmem_pos_enc"] = None


def make_package_propagator(given: ModelInput) -> Callable[[int], PackagePropagator]:
    """Return what loads the model, given the number of its threads."""
    weights, params = given.given_weights, given.params["propagate"]
    spec = PropagatorSpec(weights.kind, weights.path, weights.name, weights.sha256, params)
    return partial(PackagePropagator, spec, given.stage_key)
