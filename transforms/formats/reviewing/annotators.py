"""Combination of the annotations of one image by several people into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transforms.formats.outlines import turned_corners
from transforms.formats.reviewing.annotator_policy import Policy
from transforms.formats.reviewing.shapes import Box, ReviewedShape, box_around, overlap

_LEAST_OVERLAP = 0.5
"""Overlap (IoU) from which shapes of one category by two people are one object."""


@dataclass(frozen=True)
class Opinion:
    """What one person annotated; of several, the one of the highest `order` is the latest."""

    reviewer: str | None
    order: tuple[bool, int]
    shapes: tuple[ReviewedShape, ...]


def combined(opinions: Sequence[Opinion], policy: Policy) -> tuple[tuple[ReviewedShape, ...], list[str]]:
    """Return the shapes that count, and the people whose work they are.

    `latest`: those of the latest person. `consensus`: those that more than half of the people have, as the latest of
    them has it. `all`: those that anyone has, once each.
    """
    ordered = sorted(opinions, key=lambda each: each.order, reverse=True)
    if policy == "latest" or len(ordered) == 1:
        return ordered[0].shapes, [ordered[0].reviewer] if ordered[0].reviewer else []
    people = sorted({each.reviewer for each in ordered if each.reviewer})
    taken: list[set[int]] = [set() for _ in ordered]
    found = []
    for first, opinion in enumerate(ordered):
        for at, shape in enumerate(opinion.shapes):
            if at in taken[first]:
                continue
            n = 1
            for other in range(first + 1, len(ordered)):
                match = _counterpart(shape, ordered[other].shapes, taken[other])
                if match is not None:
                    taken[other].add(match)
                    n += 1
            if policy == "all" or 2 * n > len(ordered):
                found.append(shape)
    return tuple(found), people


def _counterpart(shape: ReviewedShape, others: Sequence[ReviewedShape], taken: set[int]) -> int | None:
    overlaps = [
        (overlap(_extent(shape), _extent(other)), -at)
        for at, other in enumerate(others)
        if at not in taken and other.category == shape.category
    ]
    most, at = max(overlaps, default=(0.0, 0))
    return -at if most >= _LEAST_OVERLAP else None


def _extent(shape: ReviewedShape) -> Box:
    if shape.rings or shape.mask_rle is not None or not shape.rotation:
        return shape.box
    points = turned_corners(shape.box, shape.rotation)
    return box_around([tuple((float(x), float(y)) for x, y in points)])
