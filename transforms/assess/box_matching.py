"""Boxes found matched with labelled ones by the rules of COCO's evaluation, at its ten overlaps and four sizes.

The rules: https://cocodataset.org/#detection-eval. Matches are kept by image, so that figures of parts of the images,
and of random draws of them, need no second matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

OVERLAPS = np.linspace(0.5, 0.95, 10)
SIZES = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""Areas in square pixels, both ends inclusive: all, small, medium, large."""

MOST = 100
"""Boxes of an image and a category that count, those of the highest scores."""

_ALMOST_ONE = 1 - 1e-10

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelledBoxes:
    """Labelled objects of an image: left, top, width, height in pixels (N, 4); category (N,) int64; crowd (N,) bool."""

    boxes: Floats
    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FoundBoxes:
    """Boxes found on an image: left, top, width, height in pixels (N, 4); scores 0..1 (N,); category (N,) int64."""

    boxes: Floats
    scores: Floats
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class CategoryMatches:
    """The boxes found of one category, D in all images, in order of image and then of descending score.

    `image`, `scores`, `rank` (within the image and category, from 0): (D,). `right`, `ignored`: whether a box is
    matched, and whether it does not count, by size and overlap, (4, 10, D). `objects`: how many labelled objects each
    of I images has, by size, (4, I).
    """

    image: npt.NDArray[np.int64]
    scores: Floats
    rank: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    objects: npt.NDArray[np.int64]


def matches(truth: Sequence[LabelledBoxes], found: Sequence[FoundBoxes], n_categories: int) -> list[CategoryMatches]:
    """Return the matches of each category, 0 to `n_categories` - 1, of I images."""
    return [_of_category(truth, found, category) for category in range(n_categories)]


def overlaps(found: Floats, labelled: Floats, crowd: npt.NDArray[np.bool_]) -> Floats:
    """Return the intersection over union of N found and M labelled boxes, (N, M); of crowds over the found box."""
    low = np.maximum(found[:, None, :2], labelled[None, :, :2])
    high = np.minimum(found[:, None, :2] + found[:, None, 2:], labelled[None, :, :2] + labelled[None, :, 2:])
    sides = np.maximum(high - low, 0)
    inside: Floats = sides[..., 0] * sides[..., 1]
    own = found[:, 2] * found[:, 3]
    theirs = labelled[:, 2] * labelled[:, 3]
    union = np.where(crowd[None, :], own[:, None], own[:, None] + theirs[None, :] - inside)
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def _of_category(truth: Sequence[LabelledBoxes], found: Sequence[FoundBoxes], category: int) -> CategoryMatches:
    images, scores, ranks = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0, np.int64)]
    right, ignored = [np.empty((len(SIZES), len(OVERLAPS), 0), np.bool_)], [np.empty((4, len(OVERLAPS), 0), np.bool_)]
    objects = np.zeros((len(SIZES), len(truth)), np.int64)
    for at, (labelled, some) in enumerate(zip(truth, found, strict=True)):
        theirs, mine = labelled.labels == category, some.labels == category
        order = np.argsort(-some.scores[mine], kind="stable")[:MOST]
        boxes = some.boxes[mine][order]
        crowd = labelled.crowd[theirs]
        areas = labelled.boxes[theirs][:, 2] * labelled.boxes[theirs][:, 3]
        shared = overlaps(boxes, labelled.boxes[theirs], crowd)
        out = [(areas < low) | (areas > high) | crowd for low, high in SIZES]
        objects[:, at] = [(~each).sum() for each in out]
        if not len(boxes):
            continue
        own = boxes[:, 2] * boxes[:, 3]
        pairs = [_matched(shared, crowd, each) for each in out]
        right.append(np.stack([hit for hit, _ in pairs]))
        # A box that matches nothing counts as an error of its own size alone.
        lost = [
            skipped | (~hit & ((own < low) | (own > high)))
            for (hit, skipped), (low, high) in zip(pairs, SIZES, strict=True)
        ]
        ignored.append(np.stack(lost))
        images.append(np.full(len(boxes), at, np.int64))
        scores.append(some.scores[mine][order])
        ranks.append(np.arange(len(boxes), dtype=np.int64))
    return CategoryMatches(
        np.concatenate(images),
        np.concatenate(scores),
        np.concatenate(ranks),
        np.concatenate(right, axis=2),
        np.concatenate(ignored, axis=2),
        objects,
    )


def _matched(
    shared: Floats, crowd: npt.NDArray[np.bool_], out: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return for N boxes by descending score whether each is matched, and with what does not count, (10, N) each.

    A box takes the free object that it overlaps most, one that counts before one that does not.
    """
    n = len(shared)
    hit, skipped = np.zeros((len(OVERLAPS), n), np.bool_), np.zeros((len(OVERLAPS), n), np.bool_)
    if not shared.size:
        return hit, skipped
    likely = np.flatnonzero(shared.max(axis=1) >= OVERLAPS[0])
    order = np.argsort(out, kind="stable")
    shared, crowd, out = shared[:, order], crowd[order], out[order]
    last = shared.shape[1] - 1
    for level, least in enumerate(OVERLAPS):
        taken = np.zeros(last + 1, np.bool_)
        for at in likely:
            near = (shared[at] >= min(least, _ALMOST_ONE)) & (~taken | crowd)
            if (near & ~out).any():
                near &= ~out
            if not near.any():
                continue
            # Of equal overlaps COCO takes the last.
            best = last - int(np.argmax(np.where(near, shared[at], -1.0)[::-1]))
            taken[best] = True
            hit[level, at], skipped[level, at] = True, out[best]
    return hit, skipped
