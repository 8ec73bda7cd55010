"""CVAT 1.1, written for review and read back, of images and of video: https://docs.cvat.ai/docs/other/xml_format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa
from pydantic import BaseModel, TypeAdapter, ValidationError

from transforms.formats.exports.objects import Objects
from transforms.formats.reviewing.cvat_shapes import ATTRIBUTE, NOTE, add_shape, attributes_in, shape_of, texts_of
from transforms.formats.reviewing.cvat_tracks import elements_by_frame
from transforms.formats.reviewing.shapes import (
    Returned,
    ReviewedShape,
    ReviewFile,
    ReviewFileError,
    UnsupportedError,
    explained,
)
from transforms.formats.reviewing.values import flag, whole

FRAMES = "frames.json"
"""Lists the images of a task in CVAT's order, by which `CVAT for video` numbers them."""


class TaskImage(BaseModel):
    """An image of a task: its name, and its size in pixels."""

    name: str
    width: int
    height: int


def read_image_list(data: bytes) -> list[TaskImage]:
    """Return the content of `FRAMES`. Raises `ReviewFileError`."""
    try:
        return TypeAdapter(list[TaskImage]).validate_json(data)
    except ValidationError as error:
        raise ReviewFileError(explained(error, ["picture"])) from error


def cvat_files(rows: pa.Table, objects: Objects, _root: str = "") -> dict[str, bytes]:
    """Return `annotations.xml`, to be uploaded to a task, `labels.json`, the labels that it needs, and `frames.json`.

    Each shape has the id of its object in an attribute that the labels declare, since CVAT drops undeclared ones.
    Images are named relative to `images/`, from which a task is created. Rows can have a column `tags`: lists of the
    frame's tags, as `Returned` has them, as JSON.
    """
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    task = ET.SubElement(ET.SubElement(root, "meta"), "task")
    for name, text in (("name", "winnow"), ("size", str(rows.num_rows)), ("mode", "annotation")):
        ET.SubElement(task, name).text = text
    labels = ET.SubElement(task, "labels")
    listed = rows["tags"].to_pylist() if "tags" in rows.column_names else [None] * rows.num_rows
    tags: list[list[Any]] = [json.loads(text or "[]") for text in listed]
    declared = _declared(rows, objects)
    for tag in (tag for each in tags for tag in each):
        names = declared.setdefault(_label_of(tag), [ATTRIBUTE, NOTE])
        names += [name for name in _attributes_of(tag) if name not in names]
    for category, names in declared.items():
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = category
        attributes = ET.SubElement(label, "attributes")
        for name in names:
            attribute = ET.SubElement(attributes, "attribute")
            fields = {"name": name, "mutable": "False", "input_type": "text", "default_value": "", "values": ""}
            for key, text in fields.items():
                ET.SubElement(attribute, key).text = text
    columns = ("file_name", "width", "height")
    images: list[dict[str, Any]] = []
    for row, frame in enumerate(rows.select(columns).to_pylist()):
        size = {key: frame[key] for key in ("width", "height")}
        images.append({"name": frame["file_name"].removeprefix("images/"), **size})
        numbered = {"id": row, **images[-1]}
        image = ET.SubElement(root, "image", {key: str(value) for key, value in numbered.items()})
        for tag in tags[row]:
            element = ET.SubElement(image, "tag", label=_label_of(tag), source="manual")
            for name, text in _attributes_of(tag).items():
                ET.SubElement(element, "attribute", name=name).text = text
        for each in objects.of(row):
            add_shape(image, each, frame["width"], frame["height"])
    ET.indent(root)
    text = ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"
    wanted = [
        {
            "name": category,
            "attributes": [
                {"name": name, "mutable": False, "input_type": "text", "default_value": "", "values": [""]}
                for name in names
            ],
        }
        for category, names in declared.items()
    ]
    return {
        "annotations.xml": text,
        "labels.json": json.dumps(wanted, indent=1, ensure_ascii=False).encode() + b"\n",
        FRAMES: json.dumps(sorted(images, key=lambda each: str(each["name"])), indent=1).encode() + b"\n",
    }


def _declared(rows: pa.Table, objects: Objects) -> dict[str, list[str]]:
    """Return the names of the attributes that each label declares."""
    own: dict[str, set[str]] = {category: set() for category in objects.categories}
    for row in range(rows.num_rows):
        for each in objects.of(row):
            own[each["category"]].update(texts_of(each))
    return {category: [ATTRIBUTE, NOTE, *sorted(names)] for category, names in own.items()}


def read_cvat(data: bytes, images: Sequence[TaskImage] | None = None) -> ReviewFile:
    """Return all frames of a file; an image without shapes is a frame without objects.

    `images` are those of the task in its order; `CVAT for video` has none of its own, and every frame
    of its task or job is returned. Raises `ReviewFileError` if it is no such file.
    """
    try:
        root = ET.fromstring(data)  # noqa: S314 - expat expands no entity that a file declares beyond its limits
    # An encoding that Python does not know, or that the parser cannot read.
    except (ET.ParseError, LookupError, ValueError) as error:
        raise ReviewFileError([f"expected XML: {error}"]) from error
    if root.tag != "annotations" or root.findtext("version") != "1.1":
        raise ReviewFileError(["expected annotations of version 1.1, as `CVAT for images 1.1` has them"])
    is_video = root.find("track") is not None
    if is_video or (root.find("image") is None and _of_meta(root, "mode") == "interpolation"):
        file = _Video(root, images).file()
    else:
        file = _Images(root).file()
    named = (each.text or "" for kind in _KINDS for each in root.iterfind(f"meta/{kind}/labels/label/name"))
    file.classes = list(dict.fromkeys(named))
    return file


_KINDS = ("task", "job", "project")
_PEOPLE = tuple(f"{kind}/{who}/username" for who in ("assignee", "owner") for kind in _KINDS)


def _who_and_when(root: ET.Element, file: ReviewFile) -> tuple[str | None, int | None]:
    who = next((root.findtext(f"meta/{place}") for place in _PEOPLE if root.findtext(f"meta/{place}")), None)
    return who, file.time_of(_of_meta(root, "updated") or root.findtext("meta/dumped"), "meta, updated")


def _of_meta(root: ET.Element, name: str) -> str | None:
    places = (*(f"{kind}/{name}" for kind in _KINDS), name)
    return next((text for place in places if (text := root.findtext(f"meta/{place}"))), None)


def _number_of_meta(root: ET.Element, name: str, otherwise: int) -> int:
    """Return a number from 0 on of the task; `otherwise` where it has none. Raises `ValueError`."""
    text = _of_meta(root, name)
    return otherwise if text is None else whole(text, name.replace("/", ", "), 0)


class _Images:
    def __init__(self, root: ET.Element) -> None:
        self._root = root
        self._file = ReviewFile()

    def file(self) -> ReviewFile:
        who, when = _who_and_when(self._root, self._file)
        for number, image in enumerate(self._root.iterfind("image"), 1):
            place = f"image {image.get('id', number)}"
            try:
                width, height = (whole(image.get(side), side, 1) for side in ("width", "height"))
            except ValueError as error:
                self._file.problems.append(f"{place}, {error}")
                continue
            if not (name := image.get("name")):
                self._file.problems.append(f"{place}, name: expected the name of an image, found none")
                continue
            shapes = tuple(self._shapes(image, place, width, height))
            tags = tuple(_tag(element) for element in image.iterfind("tag"))
            self._file.frames.append(Returned(place, name, shapes, (width, height), who, when, tags=tags))
        return self._file

    def _shapes(self, image: ET.Element, place: str, width: int, height: int) -> Iterator[ReviewedShape]:
        for at, element in enumerate(image, 1):
            if element.tag != "tag":
                inner = f"{element.tag} {at}{_id_in(element)}"
                yield from _read(self._file, element, (width, height), element.get("label"), place, inner)


class _Video:
    def __init__(self, root: ET.Element, images: Sequence[TaskImage] | None) -> None:
        self._root = root
        self._file = ReviewFile()
        if images is None:
            raise ReviewFileError(
                [f"`CVAT for video 1.1` names no images; name the {FRAMES} of the exported folder with --frames"]
            )
        self._images = images
        try:
            size = [_number_of_meta(root, f"original_size/{name}", 0) for name in ("width", "height")]
            first = _number_of_meta(root, "start_frame", 0)
            last = _number_of_meta(root, "stop_frame", len(images) - 1)
            step = whole((_of_meta(root, "frame_filter") or "step=1").removeprefix("step="), "frame_filter, step", 1)
        except ValueError as error:
            raise ReviewFileError([f"meta, {error}"]) from error
        self._size_of_all = (size[0], size[1]) if all(size) else None
        self._frames = range(first, last + 1, step)
        if first < 0 or last >= len(images):
            raise ReviewFileError(
                [f"expected frames 0 to {len(images) - 1}, as {FRAMES} has them, found {first} to {last}"]
            )

    def _size(self, frame: int) -> tuple[int, int]:
        picture = self._images[frame]
        return self._size_of_all or (picture.width, picture.height)

    def file(self) -> ReviewFile:
        who, when = _who_and_when(self._root, self._file)
        shapes: dict[int, list[ReviewedShape]] = {frame: [] for frame in self._frames}
        for at, track in enumerate(self._root.iterfind("track")):
            name = track.get("id", str(at))
            n_problems, n_unsupported = len(self._file.problems), len(self._file.unsupported)
            try:
                self._check_frames(track)
                for frame, element in elements_by_frame(track, self._frames):
                    inner = f"{element.tag} at frame {frame}"
                    found = _read(self._file, element, self._size(frame), track.get("label"), f"track {name}", inner)
                    placed = f"track {name}, {inner}"
                    shapes[frame] += [replace(shape, track=name, place=placed) for shape in found]
            except ValueError as error:
                self._file.problems.append(f"track {name}: {error}")
            _shorten(self._file.problems, n_problems)
            _shorten(self._file.unsupported, n_unsupported)
        tags: dict[int, list[Any]] = {}
        for element in self._root.iterfind("tag"):
            try:
                tags.setdefault(whole(element.get("frame", "0"), "frame", 0), []).append(_tag(element))
            except ValueError as error:
                self._file.problems.append(f"tag {element.get('label')!r}, {error}")
        self._file.frames = [
            Returned(
                f"frame {frame}",
                self._images[frame].name,
                tuple(found),
                self._size(frame),
                who,
                when,
                tags=tuple(tags.get(frame, ())),
            )
            for frame, found in shapes.items()
        ]
        return self._file

    def _check_frames(self, track: ET.Element) -> None:
        """Raise `ValueError` for a shape on a frame that there is not: its images are not those of this task."""
        for each in track:
            frame = whole(each.get("frame"), f"{each.tag}, frame")
            is_outside = flag(each.get("outside"), f"{each.tag} at frame {frame}, outside")
            if not is_outside and not 0 <= frame < len(self._images):
                raise ValueError(
                    f"expected frames 0 to {len(self._images) - 1}, as {FRAMES} has them, found {each.tag} at {frame}"
                )


def _shorten(lines: list[str], start: int) -> None:
    """Leave one line of those from `start` on, which are about frame after frame of one track."""
    if (more := len(lines) - start - 1) > 0:
        lines[start:] = [f"{lines[start]}; so it is on {more:,} more of its frames"]


def _read(
    file: ReviewFile, element: ET.Element, size: tuple[int, int], label: str | None, place: str, inner: str
) -> list[ReviewedShape]:
    """Return an element as a shape, if it is one; else add a line to the file's problems."""
    try:
        if not label:
            raise ValueError("label: expected the name of a label, found none")
        return [shape_of(element, *size, label, inner)]
    except UnsupportedError as error:
        file.unsupported.append(f"{place}, {inner}: {error}")
    except ValueError as error:
        file.problems.append(f"{place}, {inner}: {error}")
    return []


def _id_in(element: ET.Element) -> str:
    kept = attributes_in(element).get(ATTRIBUTE)
    return f" (id {kept})" if kept else ""


def _tag(element: ET.Element) -> Any:
    """Return a tag of a whole frame: its label, or a dictionary of it where it has attributes."""
    values = {name: value for name, value in attributes_in(element).items() if value is not None}
    label = element.get("label", "")
    return {"label": label, "attributes": values} if values else label


def _label_of(tag: Any) -> str:
    return str(tag["label"] if isinstance(tag, dict) else tag)


def _attributes_of(tag: Any) -> dict[str, str]:
    return dict(tag["attributes"]) if isinstance(tag, dict) else {}
