"""Reading of review files, plain or in a `.zip`, with their companion files."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jobs.core.archives import UNPACKING_ERRORS
from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from transforms.formats.reviewing.annotator_policy import Policy
from transforms.formats.reviewing.coco import read_review_coco
from transforms.formats.reviewing.cvat import FRAMES, TaskImage, read_cvat, read_image_list
from transforms.formats.reviewing.labelstudio_read import read_labelstudio
from transforms.formats.reviewing.shapes import ReviewFile, ReviewFileError

IDS = "ids.json"

_BOM = b"\xef\xbb\xbf"
_BY_START = {b"<": "cvat", b"[": "labelstudio", b"{": "coco"}
_SUFFIXES = {".xml", ".json"}
_OTHERS = {"manifest.json", "labels.json", "labels.xml"}
"""What `winnow review export` puts next to the annotations."""

_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class FileRequest:
    """A file to read, and how.

    `format` None is found out from the content. `ids` is the file with the object that each number of a COCO file
    refers to, `frames` that with the images of a CVAT task; they are searched next to the file by default.
    """

    file: Path
    format: str | None = None
    ids: Path | None = None
    frames: Path | None = None
    reviewer: str | None = None
    policy: Policy | None = None


@dataclass(frozen=True)
class _Content:
    data: bytes
    beside: dict[str, bytes]


def read_file(request: FileRequest) -> tuple[str, ReviewFile]:
    """Return the format and content of a file. Raises `UserError` where none of it can be read."""
    content = _content(request.file)
    data = content.data.removeprefix(_BOM)
    kind = request.format or _BY_START.get(data.lstrip()[:1])
    if kind is None:
        raise UserError(f"{request.file}: expected JSON of Label Studio or COCO, or XML of CVAT; found neither")
    try:
        if kind == "labelstudio":
            file = read_labelstudio(data, request.reviewer, request.policy)
        elif kind == "cvat":
            file = read_cvat(data, _images(request, content))
        else:
            file = read_review_coco(data, _ids(request, content))
    except ReviewFileError as error:
        raise UserError([f"{request.file}: {text}" for text in error.problems]) from error
    if any(shape.has_area for frame in file.frames for shape in frame.shapes):
        require("annotate", "pycocotools")
    return kind, file


def _content(file: Path) -> _Content:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    if not zipfile.is_zipfile(io.BytesIO(data)):
        beside = {name: file.with_name(name) for name in (IDS, FRAMES)}
        return _Content(data, {name: path.read_bytes() for name, path in beside.items() if path.is_file()})
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [each for each in archive.infolist() if _may_be_annotations(each.filename)]
            if sum(each.file_size for each in entries) > _MOST_BYTES:
                raise UserError(f"{file}: expected at most {_MOST_BYTES >> 30} GiB of annotations in it, found more")
            named = {each.filename: archive.read(each) for each in entries}
    except UNPACKING_ERRORS as error:
        raise UserError(f"{file} cannot be unpacked: {error}") from error
    beside_ = {PurePosixPath(name).name: found for name, found in named.items()}
    others = {name: beside_.pop(name) for name in (IDS, FRAMES) if name in beside_}
    candidates = sorted(name for name in named if PurePosixPath(name).name not in others)
    if len(candidates) != 1:
        found = ", ".join(candidates[:5]) or "none"
        raise UserError(f"{file}: expected one file of annotations in it, .xml or .json, found {found}; unpack it")
    outside = {name: file.with_name(name) for name in (IDS, FRAMES)}
    given = {name: path.read_bytes() for name, path in outside.items() if path.is_file()}
    return _Content(named[candidates[0]], given | others)


def _may_be_annotations(name: str) -> bool:
    path = PurePosixPath(name)
    # macOS puts a shadow of each file into archives.
    is_shadow = path.parts[:1] == ("__MACOSX",)
    return path.suffix in _SUFFIXES and path.name not in _OTHERS and not is_shadow


def _beside(path: Path | None, name: str, content: _Content) -> bytes | None:
    if path is None:
        return content.beside.get(name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{name} {path} cannot be read: {error.strerror or error}") from error


def _images(request: FileRequest, content: _Content) -> list[TaskImage] | None:
    data = _beside(request.frames, FRAMES, content)
    return None if data is None else read_image_list(data)


def _ids(request: FileRequest, content: _Content) -> dict[str, str]:
    """Return the object id of each number, from the named file, or from `ids.json` next to the imported one."""
    data = _beside(request.ids, IDS, content)
    place = f"ids {request.ids or request.file.with_name(IDS)}"
    try:
        found = {} if data is None else json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"{place}: expected an object of ids, as `winnow review export` writes it")
    return found
