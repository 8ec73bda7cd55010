"""Pascal VOC, read: one XML file per image, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

from transforms.formats.reviewing.shapes import Returned, ReviewedShape, ReviewFile, kept_attributes
from transforms.formats.reviewing.values import finite

FOLDER = "Annotations"
LABEL_MAP = "labelmap.txt"
"""Lists the classes of a dataset in their order, as CVAT and Datumaro write it."""
_NOTHING = {"pose": {"unspecified", ""}, "truncated": {"0", ""}, "occluded": {"0", ""}, "difficult": {"0", ""}}
"""Fields of objects, with the values that say nothing."""

_OTHER_SHAPES = {
    "part": "parts of an object",
    "polygon": "polygon",
    "robndbox": "robndbox, a turned box",
    "segm": "segm, a mask",
    "point": "point",
    "keypoints": "keypoints",
}
"""Elements of objects that some programs write, and that are not read."""


def read_voc(files: Mapping[str, bytes]) -> ReviewFile:
    """Return a frame for each XML file, which are given by their paths.

    An image is named by the path of its file below `Annotations`, with the suffix of the `filename` in it. Edges of
    boxes are counted from 1 and inside the box, as VOC defines them. `truncated`, `difficult`, `occluded` and `pose`
    become attributes, as do those that CVAT lists; in files of Winnow, `difficult` means a crowd. `confidence` is the
    score. Other shapes are named in `unsupported`.
    """
    file = ReviewFile()
    for path, data in sorted(files.items()):
        try:
            root = ET.fromstring(data)  # noqa: S314 - expat expands no entity that a file declares beyond its limits
        # An encoding that Python does not know, or that the parser cannot read.
        except (ET.ParseError, LookupError, ValueError) as error:
            file.problems.append(f"{path}: expected XML: {error}")
            continue
        if root.tag != "annotation":
            file.problems.append(f"{path}: expected an element `annotation`, found `{root.tag}`")
            continue
        try:
            size = _size(root)
        except ValueError as error:
            file.problems.append(f"{path}, {error}")
            continue
        is_ours = root.findtext("source/database") == "Winnow"
        shapes = tuple(_shapes(root, path, is_ours, file))
        file.frames.append(Returned(path, _name(path, root.findtext("filename") or ""), shapes, size))
    return file


def read_label_map(data: bytes) -> list[str]:
    """Return the classes of a `labelmap.txt`, a line for each, as name, colour, parts and actions; no background."""
    lines = data.decode("utf-8-sig", "replace").splitlines()
    names = (line.rsplit(":", 3)[0].strip() for line in lines if line.strip() and not line.startswith("#"))
    return [name for name in dict.fromkeys(names) if name and name != "background"]


def _name(path: str, file_name: str) -> str:
    parts = PurePosixPath(path).parts
    below = parts[len(parts) - parts[::-1].index(FOLDER) :] if FOLDER in parts else parts
    return str(PurePosixPath(*below).with_suffix("")) + PurePosixPath(file_name).suffix


def _size(root: ET.Element) -> tuple[int, int] | None:
    """Return width and height; None where the file does not say, or says zero, as some programs write."""
    texts = {name: root.findtext(f"size/{name}") for name in ("width", "height")}
    if None in texts.values():
        return None
    width, height = (int(finite(text or "0", f"size, {name}")) for name, text in texts.items())
    return (width, height) if width > 0 and height > 0 else None


def _shapes(root: ET.Element, path: str, is_ours: bool, file: ReviewFile) -> Iterable[ReviewedShape]:
    for number, element in enumerate(root.iterfind("object"), 1):
        place = f"object {number}"
        others = [text for name, text in _OTHER_SHAPES.items() if element.find(name) is not None]
        file.unsupported += [f"{path}, {place}: {text}" for text in others]
        if others and element.find("bndbox") is None:
            continue
        try:
            yield _shape(element, place, is_ours)
        except ValueError as error:
            file.problems.append(f"{path}, {place}: {error}")


def _shape(element: ET.Element, place: str, is_ours: bool) -> ReviewedShape:
    category = (element.findtext("name") or "").strip()
    if not category:
        raise ValueError("name: expected a class, found nothing")
    left, top, right, bottom = (
        finite(element.findtext(f"bndbox/{name}"), f"bndbox, {name}") for name in ("xmin", "ymin", "xmax", "ymax")
    )
    said = {name: (element.findtext(name) or "").strip() for name in _NOTHING}
    is_crowd = is_ours and said.pop("difficult") == "1"
    kept = {name: text for name, text in said.items() if text.casefold() not in _NOTHING[name]}
    attributes: dict[str, Any] = {name: True if text == "1" else text for name, text in kept.items()}
    listed = {
        (each.findtext("name") or "").strip(): (each.findtext("value") or "").strip()
        for each in element.iterfind("attributes/attribute")
    }
    rotation = finite(listed.pop("rotation", "0"), "attribute rotation") % 360
    listed.pop("", None)
    attributes |= {name: text for name, text in kept_attributes(listed).items() if name not in attributes}
    score = element.findtext("confidence")
    return ReviewedShape(
        category,
        (left - 1, top - 1, right - left + 1, bottom - top + 1),
        rotation=rotation,
        is_crowd=is_crowd or None,
        attributes=attributes,
        place=place,
        score=None if score is None else finite(score, "confidence"),
    )
