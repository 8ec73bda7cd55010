from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from tests.evidence import material, soft
from transforms.curate.curation import BLUR_LIMITS
from transforms.curate.soft_streams import stream_levels
from transforms.frames.image import shrink
from transforms.metrics.quality import Scratch, acutance, laplacian, mean_square

FLOOR = BLUR_LIMITS["acutance"].floor


@pytest.mark.realdata
def test_real_photos_out_of_focus_are_unlike_and_clips_out_of_focus_are_alike(real_data: Path) -> None:
    photos = [material.resized(photo, 640 if at % 2 else 320) for at, photo in enumerate(material.photos(real_data))]
    streams = {"photos": photos, "bedroom": soft.frames_of(real_data, "bedroom")}
    streams["car-detection"] = soft.frames_of(real_data, "car-detection")
    rows = [(name, *_measured(data)) for name, frames in streams.items() for data in soft.unfocused(frames, 0.012)]
    frames = pl.DataFrame(rows, ["stream", "sharpness", "luma_mean", "contrast"], orient="row")
    found = {name: (level, alike) for name, level, alike in stream_levels(frames, "stream", FLOOR).iter_rows()}
    assert all(level < FLOOR for level, _ in found.values())
    assert {name: alike for name, (_, alike) in found.items()} == {
        "photos": False,
        "bedroom": True,
        "car-detection": True,
    }


def _measured(data: bytes) -> tuple[float, float, float]:
    gray = shrink(np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8), 640)
    scratch = Scratch()
    second = laplacian(gray, scratch)
    return acutance(gray, second, mean_square(second), scratch), float(gray.mean()), float(gray.std())
