from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import schemas
from jobs.datasets.export_objects import nested
from jobs.datasets.tabular import render
from tests.circle_material import STREAMS, decided_as_new, frames, objects
from transforms.formats.datasets.frame_rows import read_frame_rows
from transforms.formats.exports.webdataset import shards

COLUMNS = [
    name
    for name in (*schemas.OBJECT_COLUMNS, *schemas.COLUMNS_BY_PEOPLE)
    if name not in {"annotation_id", "source", "model", "weights_hash", "score"}
]


def written(kind: str) -> list[Any]:
    """Return what an export of 600 objects holds, row by row, as its files are read."""
    if kind == "webdataset":
        found = []
        for _, data in shards(frames(), ["train"], objects(), lambda name: b""):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                texts = [archive.extractfile(entry) for entry in archive if entry.name.endswith(".json")]
                found += [json.loads(text.read()) for text in texts if text]
        return found
    data = render(nested(frames(), objects()), kind)
    if kind == "jsonl":
        return [json.loads(line) for line in data.splitlines()]
    return list(pq.read_table(io.BytesIO(data)).to_pylist())


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "webdataset"])
def test_600_objects_of_every_kind_come_back_to_the_last_bit(kind: str) -> None:
    there = objects()
    file = read_frame_rows((f"row {at}", row) for at, row in enumerate(written(kind)))
    assert (file.problems, file.unsupported, len(file.frames)) == ([], [], len(STREAMS))
    assert [frame.content_hash for frame in file.frames] == frames()["content_hash"].to_pylist()
    n = 0
    # An import knows the ids of the files.
    new = [replace(each, shapes=tuple(replace(s, annotation_id=None) for s in each.shapes)) for each in file.frames]
    for row, (frame, found) in enumerate(zip(file.frames, decided_as_new(new), strict=True)):
        assert found.problems == []
        for shape, decision, each in zip(frame.shapes, found.decisions, there.of(row), strict=True):
            n += 1
            assert shape.score == each["score"]
            said = pa.table({c: pa.array([decision.get(c)], there.rows.schema.field(c).type) for c in COLUMNS})
            assert said.to_pylist() == [{c: each[c] for c in COLUMNS}]
    assert n == 600


BOX = {"category": "car", "bbox": [1, 2, 3, 4]}
ROW = {"stream_id": "a", "frame_idx": 1, "width": 20, "height": 10, "objects": [BOX]}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            None,
            "row 1: expected a frame with its objects, as `annotations`; found none: export frames that were annotated",
        ),
        (
            {"stream_id": "a"},
            "row 1: expected a frame with its objects, as `annotations`; found none: export frames that",
        ),
        ({**ROW, "width": None}, "row 1: width: expected a valid integer, found None"),
        ({**ROW, "objects": 3}, "row 1: objects: expected a valid list, found 3"),
        ({**ROW, "objects": [{"bbox": [1, 2, 3, 4]}]}, "row 1: objects.1.category: expected a value, found none"),
        (
            {**ROW, "objects": [BOX | {"mask_rle": "nonsense~"}]},
            "row 1, object 1: expected COCO's compressed run lengths",
        ),
        (
            {**ROW, "objects": [BOX | {"polygons": [[1, 2]]}]},
            "row 1, object 1: expected x and y of at least three points",
        ),
        (
            {**ROW, "objects": [BOX | {"attributes": "[]"}]},
            "row 1, object 1: attributes: expected a JSON object, found '[]'",
        ),
        ({**ROW, "objects": [BOX | {"attributes": "{"}]}, "row 1, object 1: "),
    ],
)
def test_rows_that_are_no_frames_are_named(row: Any, problem: str) -> None:
    file = read_frame_rows([("row 1", row)])
    assert len(file.problems) == 1
    assert file.problems[0].startswith(problem)


def test_a_frame_without_objects_is_a_negative() -> None:
    (frame,) = read_frame_rows([("row 1", ROW | {"objects": [], "uri": "a/b.png"})]).frames
    assert (frame.name, frame.shapes, frame.size, frame.content_hash) == ("a/b.png", (), (20, 10), None)
