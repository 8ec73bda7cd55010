"""Propagation of detected boxes from an annotated frame to later frames, by SAM 2 video of transformers.

The result for a frame depends only on the annotated frame with its boxes and on the images since then. The state keeps
only the few frames to which the model refers back, however far the objects are propagated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le

import schemas
from transforms.frames.image import Color
from transforms.models.detect.detections import annotation_ids
from transforms.models.detect.pretrained import Ready, made_ready, on_device
from transforms.models.model_input import ModelInput
from transforms.models.torch_runtime import Device, Precision, load_pretrained, load_processor

KINDS = {"sam2_video": "Sam2VideoModel"}
"""The class for each model type that a folder's `config.json` may name; type `sam2` has no memory."""

PACKAGES = ("pycocotools",)

_OBJECTS_AT_ONCE = 16
"""Number of objects per session, whose memories are encoded together, each at the size of the model's input."""

_BOX = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")


@dataclass(frozen=True)
class PropagateParams:
    """How objects are propagated from annotated frames to later ones.

    `propagator`: `sam2_video` runs SAM 2 with its memory of earlier frames, with transformers, `sam2-package` with the
    package of its makers.
    `weights`: a folder as transformers writes it (also searched below `$WINNOW_WEIGHTS`), a name that `winnow models
    list` shows, or a repository of the Hugging Face hub; for `sam2-package` as `segment.weights`.
    `precision`: floating-point format of the model; `auto` takes half precision on a GPU, single otherwise.
    `reach`: the most frames over which objects are propagated; the next annotated frame, a cut or a gap ends it
    earlier.
    `min_presence`: lowest probability that an object is visible; below 0.5 the model gives no mask.
    """

    propagator: Literal["sam2_video", "sam2-package"] = "sam2_video"
    weights: str = "sam2-tiny"
    precision: Precision = "auto"
    reach: Annotated[int, Ge(1), Le(1024)] = 32
    min_presence: Annotated[float, Ge(0.5), Le(1)] = 0.5


@dataclass(frozen=True)
class PropagatorSpec:
    """A model that is not loaded yet."""

    kind: str
    folder: Path
    model: str
    weights_hash: str
    params: PropagateParams


class Origin(NamedTuple):
    """A preprocessed frame and its objects: rows with `annotation_id`, `category`, `score`, x, y, w, h (pixels)."""

    ready: Ready
    objects: tuple[Mapping[str, Any], ...]


class Carried(NamedTuple):
    """The objects propagated to a frame: number of the origin frame, and origin, box and mask of each visible object.

    `boxes`: left, top, width, height in pixels of the full frame, shape (N, 4), float32; `scores`: the detector's score
    times the probability that the object is visible, 0..1, shape (N,), float32; `run_lengths`: COCO's, over the full
    frame.
    """

    origin_idx: int
    origins: tuple[Mapping[str, Any], ...]
    boxes: np.ndarray[Any, np.dtype[np.float32]]
    scores: np.ndarray[Any, np.dtype[np.float32]]
    run_lengths: tuple[str, ...]


@dataclass
class PropagationState:
    """The state since the annotated frame: sessions of the library, each for some of its objects.

    `at` is the number of frames since then.
    """

    origin_idx: int
    objects: tuple[Mapping[str, Any], ...]
    sessions: list[Any]
    at: int = 0


class Propagator:
    """Propagates objects frame by frame; a `transforms.models.inference.StatefulModel`.

    Several sequences may be processed at a time, each with its own state; the model runs on one at a time.
    """

    def __init__(self, spec: PropagatorSpec, stage_key: str, threads: int = 1) -> None:
        """Load the model, with this number of threads. Raises `ModelError` for a folder that does not contain it."""
        self._spec = spec
        self._stage_key = stage_key
        self._device = Device(spec.params.precision, threads)
        self._processor = load_processor("Sam2VideoProcessor", spec.folder)
        self._model = load_pretrained(spec.kind, spec.folder, self._device)
        self._turn = Lock()

    def prepare(self, color: Color, objects: Sequence[Mapping[str, Any]] = ()) -> Origin:
        """Preprocess an image, with its objects if these are to be propagated."""
        return Origin(made_ready(color, self._processor.image_processor, self._device), tuple(objects))

    def start(self, first: Origin, number: int) -> PropagationState:
        """Return the state after the annotated frame of this number."""
        state = PropagationState(number, first.objects, [])
        for at in range(0, len(first.objects), _OBJECTS_AT_ONCE):
            some = first.objects[at : at + _OBJECTS_AT_ONCE]
            session = self._processor.init_video_session(inference_device=self._device.name, dtype=self._device.dtype)
            if state.sessions:
                # All sessions share the encoding of a frame.
                session.cache = state.sessions[0].cache
            self._processor.add_inputs_to_inference_session(
                session,
                frame_idx=0,
                obj_ids=list(range(len(some))),
                input_boxes=[[[o["x"], o["y"], o["x"] + o["w"], o["y"] + o["h"]] for o in some]],
                original_size=first.ready.size,
            )
            state.sessions.append(session)
        self._infer(state, first.ready)
        return state

    def step(self, state: PropagationState, frame: Origin, wanted: bool) -> Carried | None:
        """Process the next frame; return the objects propagated to it if it is wanted."""
        state.at += 1
        outputs = self._infer(state, frame.ready)
        return self._carried(state, outputs, frame.ready.size) if wanted else None

    def _infer(self, state: PropagationState, ready: Ready) -> list[Any]:
        with self._turn, self._device.torch.inference_mode():
            planes = on_device([ready], self._processor.image_processor, self._device, 1)[0]
            outputs = []
            for session in state.sessions:
                outputs.append(self._model(inference_session=session, frame=planes, frame_idx=state.at))
                forget(session, state.at, self._model.config)
        return outputs

    def _carried(self, state: PropagationState, outputs: Sequence[Any], size: tuple[int, int]) -> Carried:
        from pycocotools import mask as coded

        origins: list[Mapping[str, Any]] = []
        boxes: list[Any] = []
        scores: list[float] = []
        texts: list[str] = []
        least = self._spec.params.min_presence
        for number, output in enumerate(outputs):
            there = output.object_score_logits.float().sigmoid().reshape(-1).cpu().numpy()
            whole = self._processor.post_process_masks([output.pred_masks.float()], [list(size)])[0]
            pictures = whole[:, 0].to(self._device.torch.uint8).cpu().numpy()
            for at, (picture, presence) in enumerate(zip(pictures, there.tolist(), strict=True)):
                if presence < least or not picture.any():
                    continue
                origin = state.objects[number * _OBJECTS_AT_ONCE + at]
                code = coded.encode(np.asfortranarray(picture))
                origins.append(origin)
                boxes.append(coded.toBbox(code))
                scores.append(origin["score"] * presence)
                texts.append(code["counts"].decode())
        placed = np.array(boxes, np.float32).reshape(-1, 4)
        sure = np.clip(np.array(scores, np.float32), 0, 1)
        return Carried(state.origin_idx, tuple(origins), placed, sure, tuple(texts))

    def rows(self, frames: pa.Table, results: Sequence[Carried]) -> Mapping[str, pa.Table]:
        """Return the rows of `propagations` and `propagated`."""
        counts = np.array([len(each.origins) for each in results], np.int64)
        propagated = pa.table(
            {"input_id": frames["window_id"], "stream_id": frames["stream_id"], "frame_idx": frames["frame_idx"]}
        )
        found = propagated.take(pa.array(np.repeat(np.arange(len(results)), counts)))
        n = found.num_rows
        origins = [origin for each in results for origin in each.origins]
        boxes = np.concatenate([*(each.boxes for each in results), np.empty((0, 4), np.float32)])
        categories = pa.array([origin["category"] for origin in origins], pa.string())
        numbers, inputs = (found[name].to_numpy() for name in ("frame_idx", "input_id"))
        streams = pc.cast(found["stream_id"], pa.string()).combine_chunks()
        columns = {
            "annotation_id": annotation_ids(self._stage_key, streams, numbers, inputs, categories, boxes),
            "category": categories,
            "score": np.concatenate([*(each.scores for each in results), np.empty(0, np.float32)]),
            **dict(zip(_BOX, boxes.T, strict=True)),
            "mask_rle": pa.array([text for each in results for text in each.run_lengths], pa.string()),
            "track_id": pa.nulls(n, pa.int64()),
            "text": pa.nulls(n, pa.string()),
            "source": pa.array([self._spec.params.propagator] * n, pa.string()),
            "model": pa.array([self._spec.model] * n, pa.string()),
            "weights_hash": pa.array([self._spec.weights_hash] * n, pa.string()),
            "origin_id": pa.array([origin["annotation_id"] for origin in origins], pa.string()),
        }
        for name, column in columns.items():
            found = found.append_column(name, pa.array(column))
        of_frames = {
            "n_propagated": counts,
            "origin_idx": np.array([each.origin_idx for each in results], np.int64),
            "content_id": frames["input_id"],
        }
        for name, column in of_frames.items():
            propagated = propagated.append_column(
                name, column if isinstance(column, pa.ChunkedArray) else pa.array(column)
            )
        return {"propagations": found.select(schemas.PROPAGATIONS.file_schema.names), "propagated": propagated}


def forget(session: Any, at: int, config: Any) -> None:
    """Remove from a session what it no longer needs after frame `at`, counted from the origin.

    The library keeps the masks of every frame, at the size of the model's input, and the memory of each, but reads only
    the memories of the last `num_maskmem` - 1 frames, and the object pointers of the last
    `max_object_pointers_in_encoder` - 1. The memory of the first frame is kept.
    """
    session.processed_frames.pop(at, None)
    last = at + 2 - max(config.num_maskmem, config.max_object_pointers_in_encoder)
    for number, outputs in session.output_dict_per_obj.items():
        session.frames_tracked_per_obj[number].clear()
        later = outputs["non_cond_frame_outputs"]
        for past in [past for past in later if past < last]:
            del later[past]
        for frames in outputs.values():
            for name in ("high_res_masks", "pred_masks"):
                if at in frames:
                    frames[at].pop(name, None)
        for past, output in later.items():
            if past < at + 2 - config.num_maskmem:
                output.pop("maskmem_features", None)
                output.pop("maskmem_pos_enc", None)


def make_propagator(given: ModelInput) -> Callable[[int], Propagator]:
    """Return what loads the model, given the number of its threads."""
    weights, params = given.given_weights, given.params["propagate"]
    spec = PropagatorSpec(weights.kind, weights.path, weights.name, weights.sha256, params)
    return partial(Propagator, spec, given.stage_key)
