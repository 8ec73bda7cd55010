"""A workspace with objects to look over, made by a real run, for the tests of reviews."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from jobs.storage.workspace import Workspace
from tests.helpers import go, noise
from tests.models import held_at_hand
from tests.onnx_graphs import write_end_to_end

N = 6
EMPTY = 3
HEIGHT, WIDTH = 128, 256


def box(number: int) -> tuple[int, int, int, int]:
    return 8 * number, 16, 40, 32


def picture(number: int) -> npt.NDArray[np.uint8]:
    """A texture of its own with a red rectangle, but for one."""
    frame = np.repeat(noise(number, HEIGHT, WIDTH)[:, :, None] // 2, 3, axis=2)
    if number != EMPTY:
        x, y, w, h = box(number)
        frame[y : y + h, x : x + w] = (0, 0, 255)
    return frame


def settings(folder: Path, *more: str) -> list[str]:
    stages = "stages=[quality, fingerprints, duplicates, curation, annotate, route]"
    weights = folder / "red.onnx"
    if not weights.exists():
        write_end_to_end(weights, "N", {0: "cat", 1: "red"}, "AGPL-3.0")
    return [stages, "annotate.detector=onnx", f"annotate.weights={weights}", "annotate.frames=all", *more]


def annotated(root: Path, *more: str) -> Workspace:
    """Frames 0 to 5 of the camera `yard/gate`, with a red rectangle on all but one."""
    folder = root / "data/yard/gate"
    folder.mkdir(parents=True)
    for number in range(N):
        cv2.imwrite(str(folder / f"image_{number}.png"), picture(number))
    workspace = Workspace.at(root / "tables")
    with held_at_hand():
        go(workspace, root / "data", settings=settings(root, *more))
    return workspace
