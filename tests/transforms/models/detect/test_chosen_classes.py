from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from transforms.frames.image import Color
from transforms.models.detect.chosen_classes import annotate_chosen
from transforms.models.detect.detections import Bgr, Detections, FrameKey

FOUND = Detections(
    np.array([[0, 0, 9, 9], [1, 1, 5, 5], [2, 2, 4, 4]], np.float32),
    np.array([0.9, 0.8, 0.7], np.float32),
    np.array([2, 0, 2]),
    ("first", "second", "third"),
)


class Three:
    """Finds a bus, a car and another bus on every frame."""

    names = ("car", "van", "bus")
    source, model, weights_hash = "onnx", "three", "ab"

    def prepare(self, frame: Color, /) -> Color:
        return frame

    def detect(self, prepared: Sequence[Color], /) -> list[Detections]:
        return [FOUND for _ in prepared]

    def __call__(self, frames: Sequence[Bgr], keys: Sequence[FrameKey], /) -> list[Detections]:
        return [FOUND for _ in zip(frames, keys, strict=True)]


def categories(*classes: str) -> list[tuple[str, float, str]]:
    model = annotate_chosen(lambda _spec, _threads: Three(), None, classes, "key", 1)
    frames = pa.table({"stream_id": ["yard"], "frame_idx": [3], "input_id": [5], "window_id": pa.nulls(1, pa.int64())})
    picture = np.zeros((10, 10, 3), np.uint8)
    rows = model.rows(frames, model.infer([model.prepare(picture)]))
    assert rows["annotated"]["n_objects"].to_pylist() == [rows["annotations"].num_rows]
    names = ("category", "score", "mask_rle")
    columns = [rows["annotations"][name].to_pylist() for name in names]
    return [(category, round(score, 6), mask) for category, score, mask in zip(*columns, strict=True)]


def test_objects_of_other_classes_are_left_out() -> None:
    # Scores are of 32 bits.
    bus, car, other = ("bus", 0.9, "first"), ("car", 0.8, "second"), ("bus", 0.7, "third")
    assert categories("bus") == [bus, other]
    assert categories("car", "van", "bus") == [bus, car, other]
    assert categories("van") == []
