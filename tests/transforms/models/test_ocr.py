"""Text on frames, by the real reader on text that was really written."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

import schemas
from transforms.models.ocr import OcrParams, TextReader, upright

pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
LINES = {"EXIT 24": (40, 80), "Winnow": (300, 220)}


def sign() -> npt.NDArray[np.uint8]:
    """Return an image of two lines on a grey wall."""
    picture = np.full((300, 560, 3), 170, np.uint8)
    for text, place in LINES.items():
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 1.6, (10, 10, 10), 3, cv2.LINE_AA)
    return picture


def test_text_lines_are_read() -> None:
    reader = TextReader(OcrParams(), "model", "0" * 64, "key", 1)
    blank = np.full((300, 560, 3), 170, np.uint8)
    results = reader.infer([sign(), blank, sign()])
    assert [len(each) for each in results] == [2, 0, 2]
    assert set(results[0].texts) == set(LINES)
    for text, box in zip(results[0].texts, results[0].found.boxes.tolist(), strict=True):
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.6, 3)
        x, y = LINES[text]
        np.testing.assert_allclose(box, [x, y - height, width, height], atol=16)
    assert (results[0].found.boxes == results[2].found.boxes).all()
    frames = pa.table({"stream_id": ["a"] * 3, "frame_idx": [0, 1, 2], "input_id": [7, 8, 9]})
    rows = reader.rows(frames, results)
    schemas.TEXTS.check(rows["texts"].select(schemas.TEXTS.file_schema.names).cast(schemas.TEXTS.file_schema))
    schemas.OCR.check(rows["ocr"].select(schemas.OCR.file_schema.names).cast(schemas.OCR.file_schema))
    assert rows["ocr"]["n_texts"].to_pylist() == [2, 0, 2]
    assert set(rows["texts"]["text"].to_pylist()) == set(LINES)
    assert set(rows["texts"]["category"].to_pylist()) == {"text"}


def test_the_box_of_a_slanted_line_is_axis_aligned() -> None:
    quads = np.array([[[10, 5], [60, 15], [58, 30], [8, 20]], [[-4, 2], [700, 2], [700, 9], [-4, 9]]], np.float32)
    np.testing.assert_array_equal(upright(quads, 640, 100), np.array([[8, 5, 60, 30], [0, 2, 640, 9]], np.float32))
