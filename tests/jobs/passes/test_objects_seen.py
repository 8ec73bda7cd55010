from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

import schemas
from jobs.passes.objects_seen import MOST_FRAMES, MOST_OBJECTS, objects_seen


def annotated(*numbers: int) -> pa.Table:
    return pa.table({"stream_id": ["cam"] * len(numbers), "frame_idx": list(numbers)})


def objects(*rows: tuple[int, float]) -> pa.Table:
    return pa.table(
        {
            "stream_id": ["cam"] * len(rows),
            "frame_idx": [n for n, _ in rows],
            "category": ["car"] * len(rows),
            "score": pa.array([score for _, score in rows], pa.float32()),
            **{f"bbox_{edge}": pa.array([1.25] * len(rows), pa.float32()) for edge in "xywh"},
        }
    )


def seen(frames: pa.Table, found: pa.Table | None) -> list[dict[str, Any]]:
    rows = {schemas.ANNOTATED.name: frames} | ({} if found is None else {schemas.ANNOTATIONS.name: found})
    sample: list[dict[str, Any]] = json.loads(objects_seen(rows) or "null")
    return sample


def test_the_last_frames_with_objects_are_shown_with_their_boxes() -> None:
    sample = seen(annotated(*range(9)), objects((0, 0.5), (3, 0.5), (4, 0.5), (5, 0.25), (5, 0.75), (6, 0.5)))
    assert [frame["frame_idx"] for frame in sample] == [3, 4, 5, 6]
    assert len(sample) == MOST_FRAMES
    assert [each["score"] for each in sample[2]["objects"]] == [0.75, 0.25]
    assert sample[0]["objects"] == [{"category": "car", "score": 0.5, "bbox": [1.2, 1.2, 1.2, 1.2]}]


def test_a_crowded_frame_shows_its_best_objects() -> None:
    [frame] = seen(annotated(1), objects(*((1, n / 100) for n in range(80))))
    assert len(frame["objects"]) == MOST_OBJECTS
    assert frame["objects"][0]["score"] == 0.79


def test_where_nothing_was_found_the_last_frame_says_so() -> None:
    assert seen(annotated(4, 5), None) == [{"stream_id": "cam", "frame_idx": 5, "objects": []}]


def test_rows_of_other_stages_show_nothing() -> None:
    assert objects_seen({schemas.CAPTIONS.name: annotated(1)}) is None
    assert objects_seen({}) is None
