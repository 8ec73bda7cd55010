"""Labelled streams made of real photos: blurred, darkened and edited by known amounts, and written by a camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from transforms.frames.image import shrink

Picture = npt.NDArray[np.uint8]
Row = dict[str, Any]

NOISE, QUALITY = 2.0, 80
"""Standard deviation of the noise, in luma, and quality of the JPEG that every camera adds."""


def photos(folder: Path) -> list[Picture]:
    """Return the photos below a folder of test material, each (H, W, 3) uint8."""
    paths = [*folder.glob("detection/coco128/images/*.jpg"), *folder.glob("duplicates/imagededup/base_images/*.jpg")]
    return [picture for path in sorted(paths) if (picture := cv2.imread(str(path))) is not None]


def disk(radius: float) -> npt.NDArray[np.float32]:
    """Return the kernel of a lens out of focus: a disk of this radius in pixels."""
    side = int(np.ceil(radius)) * 2 + 1
    y, x = np.mgrid[:side, :side] - side // 2
    inside = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return (inside / inside.sum()).astype(np.float32)


def streak(length: float, angle: float) -> npt.NDArray[np.float32]:
    """Return the kernel of a camera that moves in a straight line, `length` in pixels, `angle` in radians."""
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for at in np.linspace(-length / 2, length / 2, max(9, int(4 * length) + 1)):
        kernel[round(reach + at * np.sin(angle)), round(reach + at * np.cos(angle))] += 1
    return kernel / kernel.sum()


def as_filmed(picture: Picture, seed: int, noise: float = NOISE) -> bytes:
    """Return an image as a camera writes it."""
    grain = np.random.default_rng(seed).normal(0, noise, picture.shape)
    taken = np.clip(picture + grain, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", taken, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def resized(picture: Picture, long_side: int) -> Picture:
    """Return a colour image at most `long_side` pixels long."""
    return np.dstack([shrink(np.ascontiguousarray(picture[..., c]), long_side) for c in range(3)])


def stream(folder: Path, files: Iterator[bytes]) -> Path:
    """Write files as frames 0, 1, 2, … of a stream."""
    folder.mkdir(parents=True)
    for number, data in enumerate(files):
        (folder / f"frame_{number}.jpg").write_bytes(data)
    return folder


def blurred(pictures: list[Picture], share: float, moving: bool) -> Iterator[bytes]:
    """Yield every photo sharp and then blurred, by a share of its width; every second one at half the size."""
    for number, picture in enumerate(pictures):
        small = resized(picture, 640 if number % 2 else 320)
        extent = share * max(small.shape[:2])
        kernel = streak(extent, number * 2.4) if moving else disk(extent)
        yield as_filmed(small, number)
        yield as_filmed(cv2.filter2D(small, -1, kernel), number + 10_000)


def exposed(pictures: list[Picture]) -> Iterator[bytes]:
    """Yield every photo by day, at dusk (a mean luma of 55), and at night (14, with a lamp that saturates)."""
    for number, picture in enumerate(pictures):
        day = resized(picture, 640).astype(np.float32)
        yield as_filmed(day.astype(np.uint8), number)
        yield as_filmed((day * min(1.0, 55 / day.mean())).astype(np.uint8), number + 10_000)
        night = day * (14 / day.mean())
        height, width = night.shape[:2]
        cv2.circle(night, (width // 3, height // 4), width // 40, (220.0, 240.0, 250.0), -1)
        yield as_filmed(np.clip(night, 0, 255).astype(np.uint8), number + 20_000)


def _logo(picture: Picture, seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    height, width = picture.shape[:2]
    h, w = int(height * 0.12), int(width * 0.16)
    y, x = int(rng.integers(0, 2)) * (height - h), int(rng.integers(0, 2)) * (width - w)
    marked = picture.copy()
    marked[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    cv2.putText(marked, "LOGO", (x + 4, y + h * 2 // 3), cv2.FONT_HERSHEY_SIMPLEX, w / 110, (255, 255, 255), 2)
    return marked


LOGO_AREAS = (0.015, 0.03, 0.05, 0.08, 0.12)
LOGO_KINDS = ("black", "white", "coloured", "photo")


def with_logos(pictures: list[Picture]) -> Iterator[bytes]:
    """Yield every photo, and then it with a patch of each area and, of that, each kind, in a corner.

    The patch has the shape of the photo, without anything in it, or is a small copy of another photo.
    """
    for number, picture in enumerate(pictures):
        yield as_filmed(picture, number, noise=0)
        height, width = picture.shape[:2]
        rng = np.random.default_rng(number)
        other = pictures[(number + 17) % len(pictures)]
        for area in LOGO_AREAS:
            h, w = int(height * area**0.5), int(width * area**0.5)
            copy = np.asarray(cv2.resize(other, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
            for patch in (np.zeros(3), np.full(3, 255), rng.integers(0, 256, 3), copy):
                y, x = int(rng.integers(0, 2)) * (height - h), int(rng.integers(0, 2)) * (width - w)
                marked = picture.copy()
                marked[y : y + h, x : x + w] = patch
                yield as_filmed(marked, number, noise=0)


def _recoded(picture: Picture, quality: int) -> Picture:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _scaled(picture: Picture, factor: float) -> Picture:
    size = (int(picture.shape[1] * factor), int(picture.shape[0] * factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _toned(picture: Picture, gain: float, offset: float) -> Picture:
    return np.asarray(cv2.convertScaleAbs(picture, alpha=gain, beta=offset), np.uint8)


def _grey(picture: Picture) -> Picture:
    return np.repeat(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2).astype(np.uint8)


def _cropped(picture: Picture, share: float) -> Picture:
    y, x = int(picture.shape[0] * share), int(picture.shape[1] * share)
    return picture[y:-y, x:-x]


EDITS: dict[str, Callable[[Picture, int], Picture]] = {
    "half the size": lambda p, _: _scaled(p, 0.5),
    "a quarter of the size": lambda p, _: _scaled(p, 0.25),
    "JPEG at quality 20": lambda p, _: _recoded(p, 20),
    "brighter by 40": lambda p, _: _toned(p, 1, 40),
    "darker, 0.6 times": lambda p, _: _toned(p, 0.6, 0),
    "less contrast, 0.7 times": lambda p, _: _toned(p, 0.7, 38),
    "small blur": lambda p, _: np.asarray(cv2.GaussianBlur(p, (0, 0), 2), np.uint8),
    "grey": lambda p, _: _grey(p),
    "logo in a corner": _logo,
    "cropped by 3 %": lambda p, _: _cropped(p, 0.03),
    "mirrored": lambda p, _: np.ascontiguousarray(p[:, ::-1]),
}
NOT_THE_SAME = frozenset({"mirrored"})


def edited(pictures: list[Picture]) -> Iterator[bytes]:
    """Yield every photo, and then each of `EDITS` of it."""
    for number, picture in enumerate(pictures):
        yield as_filmed(picture, number, noise=0)
        for edit in EDITS.values():
            yield as_filmed(edit(picture, number), number, noise=0)
