"""The generated broadcast, and whether the places of its signs are found."""

from __future__ import annotations

import cv2
import numpy as np

from tests.broadcast import HOMONYM, LOGO, Broadcast, Seen
from transforms.brands.text_lines import EdgeParams, FloatArray, find_lines


def is_found(seen: Seen, quads: FloatArray) -> bool:
    """Return whether the middle of a name is within a line."""
    x, y = seen.quad.mean(axis=0)
    return any(cv2.pointPolygonTest(quad, (float(x), float(y)), measureDist=False) >= 0 for quad in quads)


def test_signs_of_a_broadcast_are_found() -> None:
    made = Broadcast(1, fps=3, seconds=6.0)
    names, found = set(), []
    for image in made.frames():
        small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (640, 360), interpolation=cv2.INTER_AREA)
        lines = find_lines(np.asarray(small, np.uint8), EdgeParams())
        for seen in made.truth.seen[-1]:
            names.add(seen.brand)
            if seen.height >= 20 and seen.share >= 0.95 and seen.brand != LOGO:
                found.append(is_found(seen, lines.quads * 2))
    assert len(made.truth.cuts) == 6
    assert {HOMONYM, LOGO, "NORDVIG"} <= names
    assert len(found) > 40
    assert np.mean(found) >= 0.9
    again = Broadcast(1, fps=3, seconds=6.0)
    assert np.array_equal(next(again.frames()), next(Broadcast(1, fps=3, seconds=6.0).frames()))
    assert made.truth.seconds("NORDVIG").any()
