"""Tracks of `CVAT for video 1.1`: which shape is on each frame, between keyframes too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from transforms.formats.reviewing.cvat_shapes import points_of
from transforms.formats.reviewing.values import finite, flag, whole

_EDGES = ("xtl", "ytl", "xbr", "ybr")


def elements_by_frame(track: ET.Element, frames: Sequence[int]) -> Iterator[tuple[int, ET.Element]]:
    """Yield the shape of a track on each of some frames, in their order, as an element of its own.

    A shape stays until the next one of the track; if that one is `outside`, nothing is there from then on. Between
    them, boxes and polygons of as many points move evenly, and boxes turn the shorter way, as in CVAT.
    Raises `ValueError` for values that are wrong or missing.
    """
    given = sorted((whole(each.get("frame"), f"{each.tag}, frame"), at, each) for at, each in enumerate(track))
    wanted = iter(sorted(frames))
    at = next(wanted, None)
    for position, (first, _, element) in enumerate(given):
        later = given[position + 1] if position + 1 < len(given) else None
        while at is not None and at < first:
            at = next(wanted, None)
        while at is not None and (later is None or at < later[0]):
            if not flag(element.get("outside"), f"{element.tag} at frame {first}, outside"):
                share = (at - first) / (later[0] - first) if later else 0.0
                yield at, _between(element, later[2], share) if later and share else element
            at = next(wanted, None)


def _between(one: ET.Element, other: ET.Element, share: float) -> ET.Element:
    found = ET.Element(one.tag, dict(one.attrib))
    found.extend(one)
    if one.tag == other.tag == "box":
        for name in _EDGES:
            first, last = (finite(each.get(name), name) for each in (one, other))
            found.set(name, repr(_mixed(first, last, share)))
        turn, next_turn = (finite(each.get("rotation", "0"), "rotation") for each in (one, other))
        found.set("rotation", repr((turn + ((next_turn - turn + 180) % 360 - 180) * share) % 360))
    elif one.tag == other.tag == "polygon":
        points, next_points = (points_of(each.get("points")) for each in (one, other))
        if len(points) == len(next_points):
            mixed = [
                f"{_mixed(x, u, share)!r},{_mixed(y, v, share)!r}"
                for (x, y), (u, v) in zip(points, next_points, strict=True)
            ]
            found.set("points", ";".join(mixed))
    return found


def _mixed(one: float, other: float, share: float) -> float:
    return one + (other - one) * share
