from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import schemas
from transforms.models.detect.detections import Detections, FrameKey, annotated_rows, annotation_ids, annotation_rows

KEYS = [FrameKey("a", 3, 11), FrameKey("a", 4, 12), FrameKey("b", 3, -5)]


class Fixed:
    names: tuple[str, ...] = ("cat", "dog")
    source, model = "onnx", "m"
    weights_hash: str | None = None

    def __call__(self, frames: object, keys: object, /) -> list[Detections]:
        raise NotImplementedError


def detections(*boxes: tuple[float, ...]) -> Detections:
    given = np.array(boxes, np.float32).reshape(-1, 6)
    return Detections(given[:, :4], given[:, 4], given[:, 5].astype(np.int64))


FOUND = [detections((1, 2, 3, 4, 0.9, 0), (5, 6, 7, 8, 0.5, 1)), detections(), detections((1, 2, 3, 4, 0.9, 0))]


def test_rows_fit_their_tables() -> None:
    rows = annotation_rows(Fixed(), "key", KEYS, FOUND)
    schemas.ANNOTATIONS.check(rows)
    assert rows.column_names == schemas.ANNOTATIONS.file_schema.names
    assert rows.select(["stream_id", "frame_idx", "category", "bbox_w", "input_id"]).to_pylist()[1:] == [
        {"stream_id": "a", "frame_idx": 3, "category": "dog", "bbox_w": 7.0, "input_id": 11},
        {"stream_id": "b", "frame_idx": 3, "category": "cat", "bbox_w": 3.0, "input_id": -5},
    ]
    annotated_ = annotated_rows(KEYS, FOUND)
    schemas.ANNOTATED.check(annotated_)
    assert annotated_["n_objects"].to_pylist() == [2, 0, 1]
    nothing = annotation_rows(Fixed(), "key", KEYS[1:2], FOUND[1:2])
    schemas.ANNOTATIONS.check(nothing)
    assert nothing.num_rows == annotation_rows(Fixed(), "key", [], []).num_rows == 0


def ids(stage: str = "key", stream: str = "a", number: int = 1, content: int = 7, category: str = "cat") -> str:
    one = np.array([number]), np.array([content])
    box = np.array([[1, 2, 3, 4]], np.float32)
    return str(annotation_ids(stage, pa.array([stream]), *one, pa.array([category]), box)[0])


def test_ids_depend_on_stage_frame_category_and_box() -> None:
    others = [
        ids("other"),
        ids(stream="b"),
        ids(number=2),
        ids(content=8),
        ids(category="dog"),
        ids(category="\x1fcat"),
    ]
    assert len({ids(), *others}) == 7
    # Ids are stored in tables: they must not change between versions.
    assert ids() == "d0115e5aed3bc500195044898cf1ac8f"


@given(st.permutations(range(6)), st.floats(-0.01, 0.01))
def test_ids_do_not_depend_on_order_or_rounding(order: list[int], jitter: float) -> None:
    boxes = np.array([[10 * n, 5, 20, 20] for n in range(6)], np.float32)
    cats, ones = pa.array(["cat"] * 6), np.ones(6, np.int64)
    before = annotation_ids("key", cats, ones, ones, cats, boxes).to_pylist()
    after = annotation_ids("key", cats, ones, ones, cats, boxes[order] + np.float32(jitter)).to_pylist()
    assert after == [before[n] for n in order]


def test_equal_objects_have_different_ids() -> None:
    boxes = np.ones((3, 4), np.float32)
    found = annotation_ids(
        "key", pa.array(["a"] * 3), np.ones(3, np.int64), np.ones(3, np.int64), pa.array(["x"] * 3), boxes
    )
    assert len(set(found.to_pylist())) == 3
