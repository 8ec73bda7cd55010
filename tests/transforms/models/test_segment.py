"""Masks, compared with the library itself on a small model of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

import schemas
from tests.torch_models import colored, write_sam2
from transforms.models.inference import REQUEST
from transforms.models.segment import Masks, Segmenter, SegmenterSpec, SegmentParams

pytest.importorskip("transformers", reason="the extra `transformers` is not installed")
pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")
SIZES = [(90, 160), (120, 100), (90, 160)]
BOXES = [[[10, 20, 80, 60], [90, 5, 155, 85]], [[0, 0, 50, 120]], [[5, 5, 30 + n, 40] for n in range(20)]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam2(tmp_path_factory.mktemp("weights") / "tiny")


def objects(number: int) -> list[dict[str, Any]]:
    names = "xywh"
    return [
        {"annotation_id": f"{number}-{at}", **dict(zip(names, (x, y, r - x, b - y), strict=True))}
        for at, (x, y, r, b) in enumerate(BOXES[number])
    ]


def masks(folder: Path, at_once: int = 8) -> list[Masks]:
    segmenter = Segmenter(SegmenterSpec("Sam2Model", folder, "tiny", "0" * 64, SegmentParams()))
    ready = [segmenter.prepare(colored(at, *size), objects(at)) for at, size in enumerate(SIZES)]
    return [each for first in range(0, 3, at_once) for each in segmenter.infer(ready[first : first + at_once])]


def decoded(found: Masks, size: tuple[int, int]) -> dict[str, npt.NDArray[np.uint8]]:
    from pycocotools import mask as coded

    return {
        name: coded.decode({"size": list(size), "counts": text.encode()})
        for name, text in zip(found.ids, found.run_lengths, strict=True)
    }


def test_masks_equal_those_of_the_library(weights: Path) -> None:
    import torch
    from PIL import Image
    from transformers import Sam2Model, Sam2Processor

    model, processor = Sam2Model.from_pretrained(weights).eval(), Sam2Processor.from_pretrained(weights)
    kinds = set()
    for at, (mine, size) in enumerate(zip(masks(weights), SIZES, strict=True)):
        picture = Image.fromarray(colored(at, *size)[:, :, ::-1])
        given = processor(images=picture, input_boxes=[BOXES[at]], return_tensors="pt")
        with torch.inference_mode():
            said = model(**given, multimask_output=False)
        theirs = processor.post_process_masks(said.pred_masks, given["original_sizes"])[0][:, 0].numpy()
        found = decoded(mine, size)
        expected = {f"{at}-{n}": mask for n, mask in enumerate(theirs) if mask.any()}
        assert found.keys() == expected.keys()
        for name, mask in found.items():
            assert mask.shape == size
            # Pixels on the border of a mask may differ.
            assert (mask != expected[name]).mean() < 0.002
            kinds.add(mask.tobytes())
    assert len(kinds) > 3
    assert [each.ids for each in masks(weights, at_once=1)] == [each.ids for each in masks(weights)]


def test_rows_fit_their_tables(weights: Path) -> None:
    segmenter = Segmenter(SegmenterSpec("Sam2Model", weights, "tiny", "0" * 64, SegmentParams()))
    some = [{"stream_id": "a", "frame_idx": n, "window_id": 7 + n, "input_id": 1} for n in range(2)]
    frames = pa.Table.from_pylist(some, pa.schema([REQUEST.field(n) for n in some[0]]))
    results = [Masks((), (), np.empty(0, np.float32)), Masks(("x", "y"), ("1", "2"), np.array([0.5, 1], np.float32))]
    rows = segmenter.rows(frames, results)
    for table in (schemas.MASKS, schemas.SEGMENTED):
        table.check(rows[table.name].select(table.file_schema.names).cast(table.file_schema))
    assert rows["segmented"]["n_masks"].to_pylist() == [0, 2]
    assert rows["masks"].select(["frame_idx", "input_id", "annotation_id"]).to_pylist()[0] == {
        "frame_idx": 1,
        "input_id": 8,
        "annotation_id": "x",
    }
