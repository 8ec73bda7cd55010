"""Identity of shapes: which object of a frame a shape of an annotation tool is, by its ids and its place."""

from __future__ import annotations

from collections.abc import Sequence

from transforms.formats.reviewing.known_frames import Known, Object, extent_of, extent_of_object, has_same_geometry
from transforms.formats.reviewing.shapes import Box, ReviewedShape, overlap

_LEAST_OVERLAP = 0.5
"""Overlap (IoU) from which a shape without an id is an object of its category."""

_RELABELLED_OVERLAP = 0.8
"""Overlap (IoU) from which it is an object of another category, which was relabelled."""

_SAME_SIZE_PX = 0.5
"""How far width and height of an object that was only moved may differ, by the rounding of tools."""


def identified(frame: Known, shapes: Sequence[ReviewedShape]) -> list[str | None]:
    """Return for each shape the id of the object of this frame that it is, or None for a new one.

    The id that a tool has kept with a shape counts if there is such an object on the frame, and both overlap. Then
    shapes that are where an object is are this object. Then the number of an annotation counts, which tools that
    renumber give to other objects: only if both are of one kind (box, turned box or area), and either they overlap by
    half, or no other object overlaps more. What remains is matched by overlap. At last a kept id counts without any
    overlap for a shape of the same kind, category and size: a thin bar that was moved by more than its width. No object
    is found twice.
    """
    return _Identification(frame, shapes).run()


class _Identification:
    def __init__(self, frame: Known, shapes: Sequence[ReviewedShape]) -> None:
        self._frame, self._shapes = frame, shapes
        self._names: list[str | None] = [None] * len(shapes)
        self._free = dict(frame.versions)
        self._extents = [extent_of(shape, frame) for shape in shapes]
        self._known = {name: [extent_of_object(each) for each in versions] for name, versions in frame.versions.items()}

    def run(self) -> list[str | None]:
        self._by_kept_id()
        self._by_place()
        self._by_number()
        self._by_overlap()
        self._by_kept_id_and_size()
        return self._names

    def _claim(self, at: int, name: str) -> None:
        self._names[at] = name
        del self._free[name]

    def _open(self) -> list[int]:
        return [at for at, name in enumerate(self._names) if name is None]

    def _overlap(self, at: int, name: str) -> float:
        return max(overlap(self._extents[at], box) for box in self._known[name])

    def _is_in_place(self, at: int, name: str) -> bool:
        shape = self._shapes[at]
        return any(has_same_geometry(shape, each, self._frame) for each in self._frame.versions[name])

    def _by_kept_id(self) -> None:
        named = [(at, name) for at in self._open() if (name := self._shapes[at].annotation_id) in self._free]
        twice = {name for _, name in named if sum(name == other for _, other in named) > 1}
        # Of several with one id, the one that is where the object was keeps it.
        named.sort(key=lambda pair: pair[1] in twice and not self._is_in_place(pair[0], pair[1] or ""))
        for at, name in named:
            if name is not None and name in self._free and self._overlap(at, name) > 0:
                self._claim(at, name)

    def _by_place(self) -> None:
        for is_relabelled in (False, True):
            for at in self._open():
                near = [name for name in self._free if self._overlap(at, name) >= _RELABELLED_OVERLAP]
                for name in near:
                    if (is_relabelled or self._has_category(at, name)) and self._is_in_place(at, name):
                        self._claim(at, name)
                        break

    def _by_number(self) -> None:
        for at in self._open():
            name = self._shapes[at].numbered_id
            if name is None or name not in self._free or not self._is_of_kind(at, name):
                continue
            own = self._overlap(at, name)
            most = max(self._overlap(at, other) for other in self._free)
            if own >= _LEAST_OVERLAP or own == most > 0:
                self._claim(at, name)

    def _by_overlap(self) -> None:
        pairs = [
            (self._has_category(at, name), self._overlap(at, name), at, name)
            for at in self._open()
            for name in self._free
            if self._is_of_kind(at, name)
        ]
        for is_alike, shared, at, name in sorted(pairs, key=lambda pair: (not pair[0], -pair[1], *pair[2:])):
            if shared < (_LEAST_OVERLAP if is_alike else _RELABELLED_OVERLAP):
                continue
            if self._names[at] is None and name in self._free:
                self._claim(at, name)

    def _by_kept_id_and_size(self) -> None:
        for at in self._open():
            name = self._shapes[at].annotation_id
            if name not in self._free or not self._is_of_kind(at, name) or not self._has_category(at, name):
                continue
            # Numbers that tools change are no such ids, and a copy of an object that is still there finds it taken.
            if any(_have_same_size(self._extents[at], box) for box in self._known[name]):
                self._claim(at, name)

    def _has_category(self, at: int, name: str) -> bool:
        return any(each["category"] == self._shapes[at].category for each in self._frame.versions[name])

    def _is_of_kind(self, at: int, name: str) -> bool:
        shape = self._shapes[at]
        kind = "area" if shape.has_area else "turned" if shape.rotation else "box"
        kinds = {kind, "box"} if shape.repeats_box else {kind}
        return any(_kind_of(each) in kinds for each in self._frame.versions[name])


def _have_same_size(one: Box, other: Box) -> bool:
    return all(abs(a - b) <= _SAME_SIZE_PX for a, b in zip(one[2:], other[2:], strict=True))


def _kind_of(base: Object) -> str:
    return "area" if base["mask_rle"] is not None else "turned" if base.get("rotation") else "box"
