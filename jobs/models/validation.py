"""Validation of downloaded weights by file type, size and hash, without executing their contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

from conf.model_catalogue import Model
from jobs.core.errors import RunFailedError, UserError

# Fields of a `ModelProto`: https://onnx.ai/onnx/repo-docs/IR.html
_IR_VERSION, _GRAPH = 1, 7
_FIXED = {1: 8, 5: 4}
_VARINT, _BYTES = 0, 2
_MOST_BYTES_OF_VARINT = 10


def check_file(model: Model, file: Path, source: str) -> None:
    """Raise `UserError` unless a file from `source` has the type that the model's file suffix implies."""
    kind, is_kind = _KINDS.get(Path(model.file).suffix, ("", lambda _: True))
    if not is_kind(file):
        raise UserError(f"weights {model.name}: expected {kind}, but {source} is of another type; nothing was kept")


def check_folder(model: Model, model_type: object, source: str) -> None:
    """Raise `UserError` unless a folder from `source` states a model of the right type."""
    if model.types and model_type not in model.types:
        raise UserError(
            f"weights {model.name}: expected a model of type {' or '.join(model.types)}, but config.json of {source} "
            f"says {model_type}; nothing was kept"
        )


def check_published(model: Model, file: Path, what: str, hashed: Callable[[Path], str]) -> None:
    """Raise `RunFailedError` unless a model's weights file has the size and the hash of the catalogue, if given.

    `what` describes the file to the user; `hashed` returns its SHA-256, and is called only if the size is right.
    """
    found, size = "", file.stat().st_size
    if model.size_bytes not in {None, size}:
        found = f"{size:,} bytes, but the catalogue names {model.size_bytes:,}"
    elif model.sha256 and (sha256 := hashed(file)) != model.sha256:
        found = f"SHA-256 {sha256}, but the catalogue names {model.sha256}"
    if found:
        of = f"of revision {model.revision}"
        raise RunFailedError(f"weights {model.name}: {what} has {found}, {of}; nothing was kept")


def is_onnx(file: Path) -> bool:
    """Return whether a file is a complete ONNX graph, by its outermost fields."""
    fields = set()
    size = file.stat().st_size
    with open(file, "rb") as handle:
        while handle.tell() < size:
            tag = _varint(handle)
            field, wire = (tag >> 3, tag & 7) if tag is not None else (0, -1)
            length = _varint(handle) if wire in {_VARINT, _BYTES} else _FIXED.get(wire)
            if not field or length is None:
                return False
            fields.add((field, wire))
            handle.seek(length if wire != _VARINT else 0, 1)
        return handle.tell() == size and {(_IR_VERSION, _VARINT), (_GRAPH, _BYTES)} <= fields


def _varint(handle: IO[bytes]) -> int | None:
    value = 0
    for at in range(_MOST_BYTES_OF_VARINT):
        byte = handle.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << 7 * at
        if byte[0] < 0x80:
            return value
    return None


def is_checkpoint(file: Path) -> bool:
    """Return whether a file is an archive in the format of `torch.save`."""
    try:
        with ZipFile(file) as archive:
            return any(name.split("/")[-1] == "data.pkl" for name in archive.namelist())
    except BadZipFile:
        return False


_KINDS: Mapping[str, tuple[str, Callable[[Path], bool]]] = {
    ".onnx": ("an ONNX graph", is_onnx),
    ".pt": ("a checkpoint of torch", is_checkpoint),
}
