"""Weights in folders of the transformers library: files, hash, download and checks."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from conf.model_catalogue import Model
from jobs.core.errors import RunFailedError, UserError, one_line
from jobs.models.downloads import OnNote
from jobs.models.hub_downloads import fetch_repository
from jobs.models.locations import fingerprint, sha256
from jobs.models.validation import check_folder, check_published
from jobs.storage import spare_files

PART = "part"
"""Suffix of what is being downloaded."""

_CONFIG = "config.json"
_FETCHED = f".cache/huggingface/download/{_CONFIG}.metadata"
_SAFE = (".safetensors", ".safetensors.index.json")
_PICKLED = (".bin", ".bin.index.json")
_SMALL = (".json", ".txt", ".model", ".jinja")
_ABOUT = ("README.md", "LICENSE*")
# The files from which the library reads weights: the first of these that exists.
_WEIGHTS = (
    ("model.safetensors",),
    ("model-*.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin",),
    ("pytorch_model-*.bin", "pytorch_model.bin.index.json"),
)


def files(folder: Path) -> list[Path]:
    """Return the files of a folder that affect the model; pickled weights only if there are no others."""
    there = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    weights = [p for p in there if p.name.endswith(_SAFE)] or [p for p in there if p.name.endswith(_PICKLED)]
    return sorted([*weights, *(p for p in there if _is_small(p.name))])


def _is_small(name: str) -> bool:
    return name.endswith(_SMALL) and not name.endswith((*_SAFE, *_PICKLED))


def wanted(names: Sequence[str]) -> list[str]:
    """Return the files of a repository to download: its weights once, in one format, and the small files."""
    there = [name for name in names if "/" not in name and not name.startswith(".")]

    def like(patterns: Sequence[str]) -> list[str]:
        return [name for name in there if any(fnmatch(name, pattern) for pattern in patterns)]

    weights = next(filter(None, map(like, _WEIGHTS)), [])
    return sorted([*weights, *filter(_is_small, there), *like(_ABOUT)])


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or the fingerprint of a folder. Raises `UserError` if it cannot be read."""
    if not path.is_dir():
        return sha256(path)
    try:
        found = files(path)
    except OSError as error:
        raise UserError(f"weights {path} cannot be read: {error.strerror or error}") from error
    return fingerprint(found)


def config_of(folder: Path) -> dict[str, Any]:
    """Return the config of a folder. Raises `UserError` if the folder is incomplete."""
    try:
        found = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"weights {folder}: expected {_CONFIG} in it, as transformers writes it: {one_line(error)}"
        ) from (error)
    weights = _weights_in(folder)
    if not isinstance(found, dict) or not weights:
        raise UserError(f"weights {folder}: expected {_CONFIG} and weights in it (model.safetensors), found no weights")
    for file in weights:
        if file.name.endswith(_SAFE[0]):
            _look_into(file)
    return dict(found)


def _weights_in(folder: Path) -> list[Path]:
    return [file for file in files(folder) if file.name.endswith((_SAFE[0], _PICKLED[0]))]


def _look_into(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        # Opening compares the file's length with its header.
        with safe_open(str(file), "numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"weights {file}: incomplete: {one_line(error)}; pull or copy them again") from error


def licence_in(folder: Path) -> str | None:
    """Return the licence that the model card of a folder states, or None."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.match(r"---\n.*?^license:\s*[\"']?([\w.+-]+)", card, re.DOTALL | re.MULTILINE)
    return found[1] if found else None


@contextmanager
def brought(model: Model, source: str | None, place: Path, revision: str, on_note: OnNote) -> Iterator[Path]:
    """Download or copy a model's folder into a temporary one below `place`, from the hub or the folder `source`.

    What a download that was killed left is deleted first. Raises `UserError` and `RunFailedError` if it is incomplete,
    or does not match the catalogue.
    """
    spare_files.clear(place, model.file, PART)
    temporary = place / spare_files.spare_name(model.file, PART)
    try:
        place.mkdir(parents=True, exist_ok=True)
        if source is None:
            _from_hub(model, temporary, revision, on_note)
        else:
            _from_folder(Path(source).expanduser(), temporary)
        check_folder(model, config_of(temporary).get("model_type"), source or model.source)
        _check_weights(model, _weights_in(temporary), source or model.source)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_weights(model: Model, weights: Sequence[Path], source: str) -> None:
    """Raise `RunFailedError` unless the weights are the one file that the catalogue names, if it names one."""
    if model.sha256 is None:
        return
    if len(weights) != 1:
        names = ", ".join(file.name for file in weights)
        raise RunFailedError(
            f"weights {model.name}: the catalogue names one file of weights, but {source} has {len(weights)} "
            f"({names}); nothing was kept"
        )
    check_published(model, weights[0], f"{weights[0].name} of {source}", sha256)


def put_in_place(temporary: Path, target: Path) -> None:
    """Replace a folder by another one."""
    previous = temporary.with_suffix(".old")
    if target.exists():
        os.replace(target, previous)
    os.replace(temporary, target)
    shutil.rmtree(previous, ignore_errors=True)


def _from_folder(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise UserError(f"--from {source}: expected a folder, as `hf download` makes it; found none")
    target.mkdir()
    for file in [*files(source), *(file for pattern in _ABOUT for file in source.glob(pattern))]:
        shutil.copyfile(file, target / file.name)


def revision_in(folder: Path) -> str | None:
    """Return the commit from which a folder was downloaded, as the hub's library records it, or None."""
    try:
        return (folder / _FETCHED).read_text(encoding="utf-8").split()[0]
    except (OSError, ValueError, IndexError):
        return None


def _from_hub(model: Model, target: Path, revision: str, on_note: OnNote) -> None:
    repository = model.repository or ""
    try:
        fetch_repository(repository, revision, wanted, model.size_bytes, target, on_note)
    except RunFailedError as error:
        raise RunFailedError([f"{model.source} cannot be fetched: {problem}" for problem in error.problems]) from error
    except Exception as error:
        raise RunFailedError(
            f"{model.source} cannot be fetched: {type(error).__name__}: {one_line(error)[:200]}; without a network, "
            f"run `hf download {repository} --revision {revision} --local-dir FOLDER` elsewhere, copy the folder here "
            f"and run: winnow models pull {model.name} --from FOLDER"
        ) from error
