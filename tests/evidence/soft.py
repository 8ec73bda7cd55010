"""Streams that are soft as a whole: of unlike scenes, of one scene, and with a few frames out of focus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.evidence import material

CLIPS = (
    "car-detection",
    "bottle-detection",
    "one-by-one-person-detection",
    "01_dog",
    "03_blocks",
    "05_default_juggle",
    "solidWhiteRight",
    "bedroom",
)
UNFOCUSED = 0.012
_EVERY = 8


def frames_of(data: Path, clip: str) -> list[material.Picture]:
    """Return every eighth image of a clip, at most 640 pixels long."""
    if clip == "bedroom":
        paths = sorted((data / "sequences/bedroom").glob("*.jpg"))[::_EVERY]
        return [np.asarray(cv2.imread(str(path)), np.uint8) for path in paths]
    video = cv2.VideoCapture(str(data / f"sequences/{clip}.mp4"))
    found: list[material.Picture] = []
    number = 0
    while video.grab():
        if number % _EVERY == 0:
            found.append(material.resized(np.asarray(video.retrieve()[1], np.uint8), 640))
        number += 1
    return found


def unfocused(pictures: Sequence[material.Picture], share: float, every: int = 1) -> Iterator[bytes]:
    """Yield images, every nth of them out of focus by a share of its width."""
    for number, picture in enumerate(pictures):
        extent = share * max(picture.shape[:2])
        lens = cv2.filter2D(picture, -1, material.disk(extent)) if number % every == every - 1 else picture
        yield material.as_filmed(lens, number)
