"""Pascal VOC export, one XML file per image: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa

from transforms.formats.exports.objects import Objects, clipped_box

IMAGES = "JPEGImages/"


def voc_files(rows: pa.Table, splits: Sequence[str], objects: Objects | None = None) -> dict[str, bytes]:
    """Return an XML file per image below `Annotations/`, and `ImageSets/Main/SPLIT.txt` with their names.

    `labelmap.txt` lists the categories, as CVAT and Datumaro read them.

    Images are expected below `JPEGImages/`. Box coordinates are integers counted from 1, with both edges inside the
    box, as VOC defines them. Images without objects have a file too, as negatives. Crowds are `difficult`, which scores
    leave out. `confidence` is added to each object.
    """
    there = objects or Objects.none()
    files, lists = {}, {split: [""] for split in sorted(splits)}
    columns = [rows[n].to_pylist() for n in ("file_name", "width", "height", "split", "stream_id", "frame_idx")]
    for row, (name, width, height, split, stream, number) in enumerate(zip(*columns, strict=True)):
        path = PurePosixPath(name).relative_to(IMAGES)
        identity = str(path.with_suffix(""))
        lists[split].append(identity)
        root = ET.Element("annotation")
        _add(root, "folder", str(PurePosixPath(name).parent))
        _add(root, "filename", path.name)
        source = ET.SubElement(root, "source")
        _add(source, "database", "Winnow")
        _add(source, "annotation", f"{stream} {number}")
        size = ET.SubElement(root, "size")
        for key, value in (("width", width), ("height", height), ("depth", 3)):
            _add(size, key, value)
        _add(root, "segmented", 0)
        for each in there.of(row):
            _object(root, each, width, height)
        ET.indent(root)
        files[f"Annotations/{identity}.xml"] = ET.tostring(root, encoding="utf-8") + b"\n"
    for split, names in lists.items():
        files[f"ImageSets/Main/{split}.txt"] = "".join(f"{name}\n" for name in names[1:]).encode()
    return files | {"labelmap.txt": _label_map(there.categories)}


def _label_map(categories: Sequence[str]) -> bytes:
    """Return a line for each category, with the colour that the VOC development kit gives its number."""
    lines = ["# label:color_rgb:parts:actions"]
    for number, name in enumerate(("background", *categories)):
        bits = [[number >> (3 * place + channel) & 1 for place in range(8)] for channel in range(3)]
        colour = ",".join(str(sum(bit << (7 - place) for place, bit in enumerate(channel))) for channel in bits)
        lines.append(f"{name}:{colour}::")
    return ("\n".join(lines) + "\n").encode()


def holds(each: Mapping[str, Any], width: int, height: int) -> bool:
    """Return whether an object has a pixel in whole numbers."""
    edges = _edges(each, width, height)
    return edges["xmax"] >= edges["xmin"] and edges["ymax"] >= edges["ymin"]


def _edges(each: Mapping[str, Any], width: int, height: int) -> dict[str, int]:
    left, top, right, bottom = clipped_box(each, width, height)
    return {"xmin": round(left) + 1, "ymin": round(top) + 1, "xmax": round(right), "ymax": round(bottom)}


def _object(root: ET.Element, each: dict[str, Any], width: int, height: int) -> None:
    edges = _edges(each, width, height)
    if not holds(each, width, height):
        return
    found = ET.SubElement(root, "object")
    _add(found, "name", each["category"])
    _add(found, "pose", "Unspecified")
    _add(found, "truncated", 0)
    _add(found, "difficult", int(bool(each.get("is_crowd"))))
    box = ET.SubElement(found, "bndbox")
    for name, value in edges.items():
        _add(box, name, value)
    _add(found, "confidence", f"{each['score']:.6f}")


def _add(parent: ET.Element, name: str, value: object) -> None:
    ET.SubElement(parent, name).text = str(value)
