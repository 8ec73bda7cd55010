"""The labels of a dataset in each format: its images by name, with the objects on each."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.core.choices import LabelFormat
from jobs.core.errors import UserError
from jobs.ingest.label_import.dataset_files import IMAGES, DatasetFiles, suffix_of
from transforms.formats.datasets.datumaro import read_datumaro
from transforms.formats.datasets.frame_rows import read_frame_rows
from transforms.formats.datasets.voc import FOLDER, LABEL_MAP, read_label_map, read_voc
from transforms.formats.datasets.yolo import read_classes, read_yolo
from transforms.formats.reviewing.coco import read_review_coco
from transforms.formats.reviewing.cvat import FRAMES, read_cvat, read_image_list
from transforms.formats.reviewing.labelstudio_read import read_labelstudio
from transforms.formats.reviewing.shapes import ReviewFile, ReviewFileError

FORMATS: tuple[LabelFormat, ...] = get_args(LabelFormat)

_CLASSES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names", "labels.txt")
_LABELS, _IMAGES = "labels", "images"


def read_dataset(kind: LabelFormat, files: DatasetFiles, predicted: bool) -> ReviewFile:
    """Return what a dataset says; `predicted`: tasks of Label Studio that nobody annotated have their predictions.

    Shapes of YOLO are in shares of the image. Raises `UserError` where nothing of the dataset can be read.
    """
    found = _READERS[kind](files, predicted)
    if not found.frames and not found.problems:
        what = "; ".join([f"expected labels in format {kind}, found no image with any in it", *found.notes])
        hint = "; --as suggestion reads predictions" if kind == "labelstudio" and not predicted else ""
        raise UserError(f"{files.place}: {what}{hint}")
    return found


def _coco(files: DatasetFiles, _: bool) -> ReviewFile:
    names = files.ending(".json")
    # A dataset of COCO has captions and key points of the same images in addition to its objects.
    instances = [name for name in names if PurePosixPath(name).name.startswith("instances")]
    chosen = instances or (names if files.is_file else [n for n in names if _has(files, n, "images", "categories")])
    return _together(files, chosen, "JSON of COCO", read_review_coco)


def _datumaro(files: DatasetFiles, _: bool) -> ReviewFile:
    names = files.ending(".json")
    chosen = names if files.is_file else [name for name in names if _has(files, name, "items", "categories")]
    return _together(files, chosen, "JSON of Datumaro", read_datumaro)


def _labelstudio(files: DatasetFiles, predicted: bool) -> ReviewFile:
    names = files.ending(".json")
    chosen = [name for name in names if files.is_file or files.text(name).lstrip()[:1] == b"["]
    chosen = [name for name in chosen if PurePosixPath(name).name not in {FRAMES, "labels.json"}]
    return _together(files, chosen, "JSON of Label Studio", lambda data: read_labelstudio(data, predicted=predicted))


def _cvat(files: DatasetFiles, _: bool) -> ReviewFile:
    def read(data: bytes) -> ReviewFile:
        listed = next((name for name in files.names if PurePosixPath(name).name == FRAMES), None)
        if files.is_file and files.place.with_name(FRAMES).is_file():
            listed = FRAMES
        return read_cvat(data, read_image_list(files.text(listed)) if listed else None)

    names = [name for name in files.ending(".xml") if PurePosixPath(name).name != "labels.xml"]
    return _together(files, names, "XML of CVAT", read)


def _jsonl(files: DatasetFiles, _: bool) -> ReviewFile:
    def rows() -> Iterator[tuple[str, Any]]:
        for name in _ending(files, ".jsonl"):
            for number, line in enumerate(files.text(name).splitlines(), 1):
                if line.strip():
                    yield f"{name}, line {number}", _parsed(line)

    return read_frame_rows(rows())


def _parquet(files: DatasetFiles, _: bool) -> ReviewFile:
    def rows() -> Iterator[tuple[str, Any]]:
        for name in _ending(files, ".parquet"):
            try:
                table = pq.read_table(io.BytesIO(files.content(name)))
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{files.place}: {name} cannot be read as Parquet: {error}") from error
            for number, row in enumerate(table.to_pylist(), 1):
                yield f"{name}, row {number}", row

    return read_frame_rows(rows())


def _webdataset(files: DatasetFiles, _: bool) -> ReviewFile:
    def rows() -> Iterator[tuple[str, Any]]:
        for name in _ending(files, ".tar"):
            try:
                # Shards are not compressed; what claims to be could be of any size.
                with tarfile.open(fileobj=io.BytesIO(files.content(name)), mode="r:") as archive:
                    for entry in archive:
                        if entry.isfile() and entry.name.endswith(".json"):
                            data = archive.extractfile(entry)
                            yield f"{name}, {entry.name}", _parsed(data.read() if data else b"")
            except (tarfile.TarError, OSError, ValueError, EOFError) as error:
                raise UserError(f"{files.place}: {name} cannot be unpacked: {error}") from error

    return read_frame_rows(rows())


def _ending(files: DatasetFiles, suffix: str) -> list[str]:
    if not (names := files.ending(suffix)):
        raise UserError(f"{files.place}: expected files {suffix}, found none")
    return names


def _parsed(data: bytes) -> Any:
    """Return the content of a JSON document; None where it cannot be read."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _voc(files: DatasetFiles, _: bool) -> ReviewFile:
    names = files.ending(".xml")
    below = [name for name in names if FOLDER in name.split("/")]
    chosen = below or names
    if not chosen:
        raise UserError(f"{files.place}: expected XML files below {FOLDER}/, as Pascal VOC has them; found none")
    found = read_voc({name: files.content(name) for name in chosen})
    listed = next((name for name in files.names if PurePosixPath(name).name == LABEL_MAP), None)
    return replace(found, classes=read_label_map(files.text(listed)) if listed else [])


def _yolo(files: DatasetFiles, _: bool) -> ReviewFile:
    if files.is_file:
        raise UserError(
            f"{files.place}: expected the folder of a YOLO dataset, with data.yaml or classes.txt; found a file"
        )
    shallow = sorted(files.names, key=lambda name: (name.count("/"), name))
    listed = [name for name in shallow if PurePosixPath(name).name in _CLASSES]
    listed += [name for name in shallow if name.endswith((".yaml", ".yml")) and "/" not in name]
    if not listed:
        raise UserError(f"{files.place}: expected data.yaml or classes.txt, which name the classes; found neither")
    try:
        classes = read_classes(files.content(listed[0]), listed[0])
    except ReviewFileError as error:
        raise UserError([f"{files.place}: {text}" for text in error.problems]) from error
    return read_yolo(_yolo_images(files), classes)


def _yolo_images(files: DatasetFiles) -> dict[str, tuple[str, bytes | None]]:
    """Return each image with its label file; labels without an image mean one of their name."""
    texts = [name for name in files.ending(".txt") if PurePosixPath(name).name not in _CLASSES]
    in_folder = [name for name in texts if _LABELS in name.split("/")]
    labels = {str(PurePosixPath(name).with_suffix("")): name for name in in_folder or texts}
    found: dict[str, tuple[str, bytes | None]] = {}
    for image in (name for name in files.names if suffix_of(name) in IMAGES):
        label = labels.pop(_label_of(image), None) or labels.pop(str(PurePosixPath(image).with_suffix("")), None)
        found[image] = (label or image, files.content(label) if label else None)
    # Lists of images, which YOLO datasets have as well, are no labels of one.
    has_images = bool(found)
    for stem, label in labels.items():
        if label in in_folder or not has_images:
            found[_image_of(stem)] = (label, files.content(label))
    return found


def _label_of(image: str) -> str:
    """Return where Ultralytics has the labels of an image, without suffix: the last `images` is `labels`."""
    parts = list(PurePosixPath(image).with_suffix("").parts)
    if _IMAGES in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index(_IMAGES)] = _LABELS
    return "/".join(parts)


def _image_of(stem: str) -> str:
    parts = stem.split("/")
    if _LABELS in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index(_LABELS)] = _IMAGES
    return "/".join(parts)


def _has(files: DatasetFiles, name: str, *keys: str) -> bool:
    try:
        found = json.loads(files.text(name))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(key in found for key in keys)


def _together(files: DatasetFiles, names: list[str], expected: str, read: Callable[[bytes], ReviewFile]) -> ReviewFile:
    """Return the labels and messages of several files; messages have the name of their file where there are others."""
    if not names:
        raise UserError(f"{files.place}: expected {expected}, found none")
    whole = ReviewFile()
    problems: list[str] = []
    for name in names:
        prefix = f"{name}: " if len(names) > 1 else ""
        try:
            found = read(files.text(name))
        except ReviewFileError as error:
            problems += [f"{files.place}: {prefix}{text}" for text in error.problems]
            continue
        whole.frames += found.frames
        whole.classes += [name for name in found.classes if name not in whole.classes]
        whole.problems += [prefix + text for text in found.problems]
        whole.unsupported += [prefix + text for text in found.unsupported]
        whole.notes += [prefix + text for text in found.notes]
    if problems:
        raise UserError(problems)
    return whole


_READERS: Mapping[LabelFormat, Callable[[DatasetFiles, bool], Any]] = {
    "coco": _coco,
    "yolo": _yolo,
    "yolo-segment": _yolo,
    "yolo-obb": _yolo,
    "voc": _voc,
    "datumaro": _datumaro,
    "labelstudio": _labelstudio,
    "cvat": _cvat,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "webdataset": _webdataset,
}
