from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.onnx_graphs import write_dfine, write_end_to_end, write_yolox
from transforms.models.detect.category_names import COCO
from transforms.models.detect.detections import Detections, Thresholds
from transforms.models.detect.layouts import Dfine, EndToEnd, Yolox
from transforms.models.detect.onnx import OnnxDetector, OnnxParams
from transforms.models.inference import ModelError

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")
LIMITS = Thresholds(min_score=0.25, nms_iou=0.65, max_objects=300)


def picture(width: int, height: int, *box: int) -> npt.NDArray[np.uint8]:
    """Return a grey BGR image with a red rectangle: x, y, width, height."""
    frame = np.full((height, width, 3), 90, np.uint8)
    x, y, w, h = box or (0, 0, 0, 0)
    frame[y : y + h, x : x + w] = (0, 0, 255)
    return frame


def only(found: Detections) -> tuple[list[float], float, int]:
    assert len(found) == 1
    return found.boxes[0].tolist(), round(float(found.scores[0]), 4), int(found.labels[0])


@pytest.mark.parametrize("batch", [1, 2, "N"])
def test_boxes_of_an_end_to_end_graph_are_in_pixels_of_the_frame(tmp_path: Path, batch: int | str) -> None:
    path = write_end_to_end(tmp_path / "e.onnx", batch, {0: "cat", 1: "red thing"})
    detector = OnnxDetector(path, OnnxParams(LIMITS, batch=4))
    assert isinstance(detector.layout, EndToEnd)
    assert detector.batch == (4 if batch == "N" else batch)
    assert (detector.names, detector.model) == (("cat", "red thing"), "e")
    # 256x128 goes into 64x64 at a quarter, with 16 rows of grey above and below.
    frames = [picture(256, 128, 40, 20, 80, 60), picture(128, 256, 20, 40, 60, 80), picture(64, 64)]
    first, second, none = detector(frames, [])
    assert only(first) == ([40, 20, 80, 60], 0.9, 1)
    assert only(second) == ([20, 40, 60, 80], 0.9, 1)
    assert len(none) == 0


def test_results_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    detector = OnnxDetector(write_end_to_end(tmp_path / "e.onnx", "N"), OnnxParams(LIMITS, batch=3))
    frames = [picture(200 + 8 * n, 120, 10 * n, 8, 50, 40) for n in range(7)]
    together = detector(frames, [])
    for frame, found in zip(frames, together, strict=True):
        assert only(detector([frame], [])[0]) == only(found)


def test_boxes_of_a_dfine_graph_are_in_pixels_of_the_frame(tmp_path: Path) -> None:
    detector = OnnxDetector(write_dfine(tmp_path / "d.onnx"), OnnxParams(LIMITS, batch=2))
    assert isinstance(detector.layout, Dfine)
    # Reduced by 4 horizontally and by 2 vertically.
    first, second = detector([picture(256, 128, 40, 20, 80, 60), picture(128, 128, 64, 64, 64, 64)], [])
    box, score, label = only(first)
    np.testing.assert_allclose(box, [40, 20, 80, 60], atol=4)
    assert (score, detector.names[label]) == (0.9, "car")
    np.testing.assert_allclose(only(second)[0], [64, 64, 64, 64], atol=2)


def test_too_few_names_are_an_error(tmp_path: Path) -> None:
    detector = OnnxDetector(write_end_to_end(tmp_path / "e.onnx"), OnnxParams(LIMITS, names=("one",)))
    with pytest.raises(ModelError, match="found an object of class 1, counted from 0, but there are 1 names"):
        detector([picture(64, 64, 8, 8, 16, 16)], [])


@pytest.mark.parametrize("n", [2, 4])
def test_an_onnx_model_needs_a_name_for_each_class(tmp_path: Path, n: int) -> None:
    path = write_yolox(tmp_path / "y.onnx", 3)
    assert OnnxDetector(path, OnnxParams(LIMITS, names=("a", "b", "c"))).names == ("a", "b", "c")
    with pytest.raises(ModelError, match=rf"expected 3 names, .*; annotate\.names has {n}; set annotate\.names"):
        OnnxDetector(path, OnnxParams(LIMITS, names=tuple("abcd"[:n])))
    with pytest.raises(ModelError, match=r"expected 3 names, .* nobody names them, and COCO has 80"):
        OnnxDetector(path, OnnxParams(LIMITS))
    # Metadata count where the outputs do not show the number of classes.
    named = write_end_to_end(tmp_path / "e.onnx", 1, {0: "cat", 1: "red", 2: "dog"})
    with pytest.raises(ModelError, match=rf"expected 3 names, .* annotate\.names has {n}"):
        OnnxDetector(named, OnnxParams(LIMITS, names=tuple("abcd"[:n])))


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"x\.onnx is no ONNX model"):
        OnnxDetector(tmp_path / "x.onnx", OnnxParams(LIMITS))


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "kind"), [("yolox_nano", Yolox), ("deimv2_atto_coco_int8", Dfine)])
def test_published_files_find_the_giraffe(real_data: Path, name: str, kind: type) -> None:
    weights = real_data / f"weights/{name}.onnx"
    detector = OnnxDetector(weights, OnnxParams(LIMITS))
    assert isinstance(detector.layout, kind)
    assert detector.names == COCO
    frame = cv2.imread(str(real_data / "detection/coco128/images/000000000025.jpg"))
    assert frame is not None
    found = detector([frame.astype(np.uint8)], [])[0]
    assert COCO[found.labels[0]] == "giraffe"
    x, y, w, h = found.boxes[0]
    # Labelled (COCO, CC BY 4.0): from 385, 61 to 601, 357.
    labelled = np.array([385.5, 60.0, 600.5, 357.2])
    assert np.abs(np.array([x, y, x + w, y + h]) - labelled).max() < 50
