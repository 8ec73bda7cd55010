"""Models over the regions of frames: upright crops, and what RapidOCR reads on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le
from blake3 import blake3

import schemas
from transforms.brands.crops import HEIGHTS, as_gray, margins_of, rectified, sharpness_of, shown_of, sides
from transforms.frames.image import Color
from transforms.models.model_input import ModelInput

PACKAGES = ("rapidocr", "onnxruntime")
_QUALITY = 92


@dataclass(frozen=True)
class RectifyParams:
    """How the regions that are read become upright crops.

    `equalize`: limit of contrast for the adaptive equalization of crops; 0 leaves them as they are.
    """

    equalize: Annotated[float, Ge(0), Le(40)] = 0.0


@dataclass(frozen=True)
class ReadParams:
    """What counts as read.

    `min_score`: lowest mean score of the characters of a text; what is read with less has an empty text.
    """

    min_score: Annotated[float, Ge(0), Le(1)] = 0.3


class Cropped(NamedTuple):
    """A region of a frame: its id, its crop, its height on the frame in pixels, and how much more the crop shows."""

    region_id: str
    image: Color
    height: float
    more: tuple[float, float]


def crops_of(color: Color, regions: Sequence[Mapping[str, Any]], params: RectifyParams) -> list[Cropped]:
    """Return the crops of regions of an (H, W, 3) BGR image.

    A region has `region_id`, `kind` and `corners`: x and y of each, 8 numbers.
    """
    found = []
    for region in regions:
        quad = np.array(region["corners"], np.float32).reshape(4, 2)
        kind = region["kind"]
        crop = rectified(color, shown_of(quad, kind), HEIGHTS[kind])
        if params.equalize:
            lab = cv2.cvtColor(crop, cv2.COLOR_BGR2LAB)
            lab[..., 0] = cv2.createCLAHE(params.equalize, (4, 8)).apply(np.ascontiguousarray(lab[..., 0]))
            crop = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), np.uint8)
        found.append(Cropped(region["region_id"], crop, sides(quad)[1], margins_of(quad, kind)))
    return found


class Rectifier:
    """Makes upright crops of regions; a `transforms.models.inference.FrameModel`."""

    short_side: int | None = None

    def __init__(self, params: RectifyParams, _threads: int = 1) -> None:
        """Load nothing."""
        self._params = params

    def prepare(self, color: Color, regions: Sequence[Mapping[str, Any]] = ()) -> list[Cropped]:
        """Return the crops of a frame."""
        return crops_of(color, regions, self._params)

    def infer(self, prepared: Sequence[list[Cropped]]) -> Sequence[list[Cropped]]:
        """Return what was made ready."""
        return prepared

    def rows(self, frames: pa.Table, results: Sequence[list[Cropped]]) -> Mapping[str, pa.Table]:
        """Return rows of `crops` and `rectified`."""
        rectified_rows, own = _own(frames, [len(each) for each in results], "n_crops")
        crops = [crop for each in results for crop in each]
        grays = [as_gray(crop.image) for crop in crops]
        columns = {
            "region_id": pa.array([crop.region_id for crop in crops], pa.string()),
            "width_px": pa.array([crop.image.shape[1] for crop in crops], pa.int64()),
            "height_px": pa.array([crop.height for crop in crops], pa.float32()),
            "wide": pa.array([crop.more[0] for crop in crops], pa.float32()),
            "tall": pa.array([crop.more[1] for crop in crops], pa.float32()),
            "contrast": pa.array([float(gray.std()) for gray in grays], pa.float32()),
            "sharpness": pa.array([sharpness_of(gray) for gray in grays], pa.float32()),
            "crop_hash": pa.array([blake3(crop.image.tobytes()).hexdigest() for crop in crops], pa.string()),
            "image": pa.array([_jpeg(crop.image) for crop in crops], pa.binary()),
        }
        return {"rectified": rectified_rows, "crops": _with(own, columns, schemas.CROPS)}


class Reading(NamedTuple):
    """What was read on a region, with the mean score of its characters."""

    region_id: str
    text: str
    score: float


class CropReader:
    """Reads the regions of frames, each as one line of text; a `transforms.models.inference.FrameModel`.

    Only recognition runs: where text may be is known.
    """

    short_side: int | None = None

    def __init__(
        self, rectify: RectifyParams, params: ReadParams, model: str, weights_hash: str, threads: int = 1
    ) -> None:
        from rapidocr import RapidOCR

        self._rectify = rectify
        self._params = params
        self._names = (model, weights_hash)
        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.text_score": 0.0,
                "Global.use_cls": False,
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def prepare(self, color: Color, regions: Sequence[Mapping[str, Any]] = ()) -> list[Cropped]:
        """Return the crops of a frame."""
        return crops_of(color, regions, self._rectify)

    def infer(self, prepared: Sequence[list[Cropped]]) -> Sequence[list[Reading]]:
        """Return what is read on the crops of each frame."""
        return [[self._read(crop) for crop in each] for each in prepared]

    def _read(self, crop: Cropped) -> Reading:
        output = self._engine(crop.image, use_det=False, use_cls=False, use_rec=True)
        text = str(output.txts[0]) if output.txts else ""
        score = float(output.scores[0]) if output.txts else 0.0
        is_sure = bool(text.strip()) and score >= self._params.min_score
        return Reading(crop.region_id, text.strip() if is_sure else "", float(np.clip(score, 0, 1)))

    def rows(self, frames: pa.Table, results: Sequence[list[Reading]]) -> Mapping[str, pa.Table]:
        """Return rows of `readings` and `read_frames`."""
        read, own = _own(frames, [len(each) for each in results], "n_readings")
        readings = [reading for each in results for reading in each]
        columns = {
            "region_id": pa.array([reading.region_id for reading in readings], pa.string()),
            "text": pa.array([reading.text for reading in readings], pa.string()),
            "score": pa.array([reading.score for reading in readings], pa.float32()),
            "model": pa.array([self._names[0]] * len(readings), pa.string()),
            "weights_hash": pa.array([self._names[1]] * len(readings), pa.string()),
        }
        return {"read_frames": read, "readings": _with(own, columns, schemas.READINGS)}


def _own(frames: pa.Table, counts: Sequence[int], name: str) -> tuple[pa.Table, pa.Table]:
    """Return the rows of the frames with these counts, and each frame's keys as often as it counts."""
    ids = pc.coalesce(frames["window_id"], frames["input_id"])
    keys = pa.table({"input_id": ids, "stream_id": frames["stream_id"], "frame_idx": frames["frame_idx"]})
    repeated = keys.take(pa.array(np.repeat(np.arange(len(counts)), counts), pa.int64()))
    return keys.append_column(name, pa.array(counts, pa.int64())), repeated


def _with(keys: pa.Table, columns: Mapping[str, pa.Array], table: schemas.Table) -> pa.Table:
    for name, column in columns.items():
        keys = keys.append_column(name, column)
    return keys.select(table.file_schema.names).cast(table.file_schema)


def _jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])


def make_rectifier(given: ModelInput) -> Callable[[int], Rectifier]:
    """Return what makes the crops, given the number of its threads."""
    return partial(Rectifier, given.params["rectify"])


def make_crop_reader(given: ModelInput) -> Callable[[int], CropReader]:
    """Return what loads the reader, given the number of its threads."""
    weights = given.given_weights
    return partial(CropReader, given.params["rectify"], given.params["read"], weights.name, weights.sha256)
