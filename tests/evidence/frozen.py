"""Streams of a camera whose feed freezes for a while, written by several encoders; still scenes all along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from tests.evidence.material import Picture
from tests.helpers import write_clip

LIVE, STUCK, BACK = 260, 360, 140
"""Frames before the feed freezes, of the freeze, and after it."""

_SIZE = (640, 360)
_BETTER = {"preset": "medium"}


def _clip(codec: str, gop: int, **options: str) -> Callable[[Path, list[Picture]], Path]:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    return lambda place, frames: write_clip(
        place.with_suffix(".mkv"), frames, codec=codec, pixels=pixels, gop=gop, options_too=options
    )


def _files(quality: Callable[[int], int], written: bool) -> Callable[[Path, list[Picture]], Path]:
    def write(place: Path, frames: list[Picture]) -> Path:
        place.mkdir()
        for number, frame in enumerate(frames):
            data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality(number)])[1].tobytes()
            # A comment with the time, as cameras put one into each file.
            comment = f"{number:06}".encode()
            stamp = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment if written else b""
            (place / f"frame_{number}.jpg").write_bytes(data[:2] + stamp + data[2:])
        return place

    return write


ENCODERS: dict[str, Callable[[Path, list[Picture]], Path]] = {
    "JPEG files, equal bytes": _files(lambda _: 85, written=False),
    "JPEG files, the time in each": _files(lambda _: 85, written=True),
    "JPEG files, one of 12 qualities each": _files(lambda number: 74 + number * 7 % 12, written=True),
    "JPEG files, quality drifting from 60 to 98": _files(lambda number: 60 + number // 20, written=True),
    "Motion JPEG": _clip("mjpeg", 1, qmin="3", qmax="3"),
    "MPEG-4, 1.5 Mbit/s": _clip("mpeg4", 25, b="1500000"),
    "H.264, CRF 18": _clip("libx264", 50, crf="18", **_BETTER),
    "H.264, CRF 23": _clip("libx264", 50, crf="23", **_BETTER),
    "H.264, CRF 23, a keyframe a second": _clip("libx264", 25, crf="23", **_BETTER),
    "H.264, CRF 30": _clip("libx264", 50, crf="30", **_BETTER),
    "H.264, CRF 23, keyframes 10 s apart": _clip("libx264", 250, crf="23", **_BETTER),
    "H.264, 400 kbit/s": _clip("libx264", 50, b="400000", **_BETTER),
    "H.265, CRF 26": _clip("libx265", 50, crf="26", **{"x265-params": "log-level=none"}),
}


def scenes(photos: list[Picture]) -> Iterator[tuple[float, Picture]]:
    """Yield a few photos in grey, one of them as at dusk, and the noise that a camera gives them."""
    for noise, share, photo in ((0.5, 1.0, photos[0]), (1.5, 1.0, photos[1]), (1.5, 0.3, photos[2])):
        grey = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), _SIZE, interpolation=cv2.INTER_AREA)
        yield noise, (grey * share).astype(np.uint8)


def filmed(scene: Picture, noise: float, seed: int) -> list[Picture]:
    """Return a scene as a sensor gives it: each frame has noise of its own, but those of the freeze."""
    rng = np.random.default_rng(seed)

    def look() -> Picture:
        grain = rng.standard_normal(scene.shape, np.float32)
        return np.clip(np.rint(scene + np.float32(noise) * grain), 0, 255).astype(np.uint8)

    stuck = look()
    return [*(look() for _ in range(LIVE)), *[stuck] * STUCK, *(look() for _ in range(BACK))]
