from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from transforms.models.detect.detections import Thresholds
from transforms.models.detect.layouts import Dfine, EndToEnd, LayoutName, Port, UnknownLayoutError, Yolox, recognise

LIMITS = Thresholds(min_score=0.3, nms_iou=0.65, max_objects=300)
IMAGES = Port("images", (1, 3, 64, 64), "tensor(float)")
SIZES = Port("orig_target_sizes", (None, 2), "tensor(int64)")


def port(*shape: int | None, name: str = "output") -> Port:
    return Port(name, shape, "tensor(float)")


@pytest.mark.parametrize(
    ("inputs", "outputs", "kind"),
    [
        # 8x8, 4x4 and 2x2 cells.
        ([IMAGES], [port(1, 84, 85)], Yolox),
        ([IMAGES], [port(1, 84, 6)], Yolox),
        ([IMAGES], [port(1, 300, 6)], EndToEnd),
        ([IMAGES], [port(None, None, 6)], EndToEnd),
        ([IMAGES], [port(None, None, 85)], Yolox),
        ([IMAGES, SIZES], [port(None, None, name=n) for n in ("labels", "boxes", "scores")], Dfine),
    ],
)
def test_output_conventions_of_detectors_are_recognised(inputs: list[Port], outputs: list[Port], kind: type) -> None:
    assert isinstance(recognise(inputs, outputs, LIMITS), kind)


def test_a_convention_can_be_forced() -> None:
    assert isinstance(recognise([IMAGES], [port(1, 84, 6)], LIMITS, forced="end-to-end"), EndToEnd)
    with pytest.raises(UnknownLayoutError, match="expected two inputs"):
        recognise([IMAGES], [port(1, 84, 6)], LIMITS, forced="d-fine")


@pytest.mark.parametrize(
    ("name", "output", "said"),
    [
        ("end-to-end", port(1, 84, 85), r"\(batch, rows, 6\), .*found .*\(1, 84, 85\)"),
        ("yolox", port(1, 300, 6), r"\(batch, 84, 5 \+ classes\), .*found .*\(1, 300, 6\)"),
        ("yolox", port(1, 84, 5), r"\(batch, 84, 5 \+ classes\), .*found .*\(1, 84, 5\)"),
    ],
)
def test_a_convention_cannot_be_forced_on_outputs_of_another_shape(name: LayoutName, output: Port, said: str) -> None:
    with pytest.raises(UnknownLayoutError, match=said):
        recognise([IMAGES], [output], LIMITS, forced=name)


def test_the_number_of_classes_is_read_from_the_output() -> None:
    shapes = [(1, 84, 85), (1, 84, 6), (None, None, 85), (1, 300, 6)]
    assert [recognise([IMAGES], [port(*shape)], LIMITS).classes for shape in shapes] == [80, 1, 80, None]


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ([IMAGES], [port(1, 84, 5)], r"found inputs images \(1, 3, 64, 64\), outputs output \(1, 84, 5\)"),
        ([IMAGES], [port(1, 1000)], "name it with annotate.layout"),
        ([port(1, 3, None, None)], [port(1, 300, 6)], "has a dynamic size; set annotate.size"),
    ],
)
def test_unknown_graphs_are_refused(inputs: list[Port], outputs: list[Port], said: str) -> None:
    with pytest.raises(UnknownLayoutError, match=said):
        recognise(inputs, outputs, LIMITS)


def test_a_size_other_than_the_fixed_one_is_refused() -> None:
    for image in (IMAGES, port(1, 3, 64, None, name="images")):
        recognise([image], [port(1, 300, 6)], LIMITS, (64, 64))
        with pytest.raises(UnknownLayoutError, match=r"fixed size of (64|\?)x64 .* annotate.size is 32x32"):
            recognise([image], [port(1, 300, 6)], LIMITS, (32, 32))


def yolox_row(
    cx: float, cy: float, w: float, h: float, stride: int, sure: float, classes: list[float]
) -> npt.NDArray[np.float32]:
    """Return YOLOX's row for a box, given by centre and size in pixels, in the cell of its centre."""
    cell = np.floor([cx / stride, cy / stride])
    place = np.array([cx, cy]) / stride - cell
    return np.array([*place, *np.log(np.array([w, h]) / stride), sure, *classes], np.float32)


def test_yolox_rows_are_decoded() -> None:
    layout = recognise([IMAGES], [port(1, 84, 8)], LIMITS)
    rows = np.zeros((1, 84, 8), np.float32)
    # Cell (3, 2) of the 8x8 cells of 8 pixels; and cell (1, 0) of the 2x2 cells of 32, after 64 and 16 others.
    rows[0, 2 * 8 + 3] = yolox_row(28, 20, 16, 8, 8, 0.9, [0.1, 0.8, 0])
    rows[0, 64 + 16 + 1] = yolox_row(40, 10, 20, 60, 32, 0.8, [0.5, 0, 0])
    # The same object with a lower score; another class in the same place; and one below the threshold.
    rows[0, 2 * 8 + 4] = yolox_row(33, 20, 16, 8, 8, 0.9, [0, 0, 0.7])
    rows[0, 2 * 8 + 2] = yolox_row(23.9, 20, 16, 8, 8, 0.5, [0, 0.9, 0])
    rows[0, 0] = yolox_row(4, 4, 4, 4, 8, 0.5, [0.5, 0, 0])
    frame = np.zeros((32, 64, 3), np.uint8)
    found = layout.read({"output": rows}, 0, layout.prepare(frame))
    np.testing.assert_allclose(found.scores, [0.72, 0.63, 0.45, 0.4], atol=1e-6)
    assert found.labels.tolist() == [1, 2, 1, 0]
    # The last is clipped at the top and bottom of the frame, which is 64x32.
    expected = np.array([[20, 16, 16, 8], [25, 16, 16, 8], [15.9, 16, 16, 8], [30, 0, 20, 32]])
    np.testing.assert_allclose(found.boxes, expected, atol=1e-4)


def test_the_highest_scores_are_kept_above_the_limit() -> None:
    layout = recognise([IMAGES], [port(1, 300, 6)], Thresholds(0.1, 0.65, max_objects=2))
    rows = np.zeros((1, 300, 6), np.float32)
    for at, score in enumerate((0.5, 0.9, 0.7)):
        rows[0, at] = [10 * at, 0, 10 * at + 5, 5, score, at]
    found = layout.read({"output": rows}, 0, layout.prepare(np.zeros((64, 64, 3), np.uint8)))
    assert found.labels.tolist() == [1, 2]
