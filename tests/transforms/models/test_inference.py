"""Models that remember see the frames of a sequence one by one; what cannot be read ends its sequence and no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers import write_pictures
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import Color, ImageParams
from transforms.models.inference import REQUEST, Inferred, StatefulModel, infer_stateful

N = 12
BEGINS = (0, 6)
OBJECT = {"annotation_id": "x", "category": "cat", "score": 1.0, "x": 0.0, "y": 0.0, "w": 1.0, "h": 1.0}


class Sums:
    """A stateful model that sums up the grey values of a sequence's frames."""

    def __init__(self, refuses: int = -1) -> None:
        self._refuses = refuses

    def prepare(self, color: Color, objects: Sequence[Mapping[str, Any]] = ()) -> tuple[int, int]:
        return int(color[0, 0, 0]), len(objects)

    def start(self, first: tuple[int, int], number: int) -> list[int]:
        assert first[1] == 1
        return [number, first[0]]

    def step(self, state: list[int], frame: tuple[int, int], wanted: bool) -> tuple[int, int] | None:
        if frame[0] == self._refuses:
            raise MemoryError("too many")
        state[1] += frame[0]
        return (state[0], state[1]) if wanted else None

    def rows(self, frames: pa.Table, results: Sequence[tuple[int, int]]) -> Mapping[str, pa.Table]:
        return {"sums": pa.table({"frame_idx": frames["frame_idx"], "said": [list(each) for each in results]})}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write frames of a uniform grey that is their number."""
    return write_pictures(tmp_path / "cam", [np.full((24, 32), number, np.uint8) for number in range(N)])


def block(folder: Path, unwanted: tuple[int, ...] = ()) -> pa.Table:
    rows = []
    with Clips() as clips:
        for number in range(N):
            uri = str(folder / f"image_{number}.png")
            content = open_frame(uri, None, ImageParams(), clips).content()
            row = {"block": 0, "stream_id": "cam", "frame_idx": number, "uri": uri, "input_id": content}
            begins = number in BEGINS
            row |= {"follows": not begins, "wanted": not begins and number not in unwanted, "window_id": number}
            rows.append(row | {"width": 32, "height": 24, "replaces": False, "objects": [OBJECT] if begins else None})
    return pa.Table.from_pylist(rows, REQUEST)


def looked(rows: pa.Table, model: Sums, **more: Any) -> tuple[dict[int, list[int]], Inferred]:
    assert isinstance(model, StatefulModel)
    found = infer_stateful(rows, model, ("sums",), ImageParams(), 2, **more)
    table = found.rows.get("sums")
    return dict(zip(*table.to_pydict().values(), strict=True)) if table else {}, found


def test_results_depend_only_on_the_sequence(folder: Path) -> None:
    said, found = looked(block(folder), Sums())
    assert said == {n: [begin, sum(range(begin, n + 1))] for begin in BEGINS for n in range(begin + 1, begin + 6)}
    # Unwanted frames are still processed, so that the others have the same results.
    few, of_few = looked(block(folder, unwanted=(1, 2, 9)), Sums())
    assert few == {n: value for n, value in said.items() if n not in (1, 2, 9)}
    assert (found.n_frames, of_few.n_frames, of_few.n_read, of_few.faults) == (10, 7, N, [])


def test_an_unreadable_frame_gives_faults_for_the_rest_of_its_sequence(folder: Path) -> None:
    rows = block(folder)
    (folder / "image_3.png").write_bytes((folder / "image_4.png").read_bytes())
    said, found = looked(rows, Sums())
    assert list(said) == [1, 2, 7, 8, 9, 10, 11]
    assert [(f["frame_idx"], f["error_type"]) for f in found.faults] == [(n, "ContentChangedError") for n in (3, 4, 5)]
    assert found.n_frames == len(said) + len(found.faults)
    # The first frame of a sequence has no row of its own, but the others cannot be computed without it.
    (folder / "image_6.png").unlink()
    said, found = looked(rows, Sums())
    assert list(said) == [1, 2]
    assert [f["frame_idx"] for f in found.faults] == [3, 4, 5, 7, 8, 9, 10, 11]


def test_errors_of_the_model_are_faults_of_the_frame(folder: Path) -> None:
    said, found = looked(block(folder), Sums(refuses=10))
    assert 9 in said
    assert [(f["frame_idx"], f["error"]) for f in found.faults] == [(10, "too many"), (11, "too many")]


def test_inference_ends_when_the_callback_returns_false(folder: Path) -> None:
    asked = iter([True] * 4 + [False])
    said, found = looked(block(folder), Sums(), go_on=lambda: next(asked))
    assert list(said) == [1, 2, 3]
    assert (found.n_frames, found.faults) == (3, [])
