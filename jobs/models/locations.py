"""Locations and hashes of model weights. Uses the network only for what is not on this machine."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from jobs.core.errors import UserError, one_line

FOLDER = "WINNOW_WEIGHTS"
"""The environment variable that names the folder of weights."""


_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<![.-])", re.ASCII)
"""ORGANISATION/NAME, as the hub has them; its library raises for some others, and asks a server about the rest."""

_LONGEST = 300


def folder() -> Path:
    """Return the folder in which weights are searched by name: `$WINNOW_WEIGHTS`, or one in the user's cache."""
    named = os.environ.get(FOLDER)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named or Path(cache) / "winnow" / "weights").expanduser().absolute()


def places_of(named: str) -> list[Path]:
    """Return the files and folders that a name of weights refers to: by its path, and below `folder()`.

    Names that no file system takes, since they are too long or hold what it refuses, refer to none.
    """
    found = []
    with suppress(OSError, ValueError, RuntimeError):
        # RuntimeError: the home of a user that there is not.
        found = [place for place in (Path(named).expanduser(), folder() / named) if place.exists()]
    return found


def locate(key: str, named: str, files: Sequence[Sequence[str]]) -> Path:
    """Return the location of weights: a file or folder, also below `folder()`, or a repository of the Hugging Face hub.

    `key` is the setting that names them. `files` are the required files of a repository, each with its alternatives in
    order; cached ones are used, the others are downloaded. Raises `UserError` if they cannot be had, with a way to get
    them.
    """
    for place in places_of(named):
        return place.absolute()
    repository, _, revision = named.partition("@")
    if named.startswith((".", "/", "~")) or not _REPOSITORY.fullmatch(repository) or len(named) > _LONGEST:
        raise UserError(
            f"{key}={named[:_LONGEST]}: there is no such file or folder; expected a path (also below ${FOLDER}) or a "
            "repository of the Hugging Face hub, ORGANISATION/NAME"
        )
    return _from_hub(key, repository, revision or None, files)


def _from_hub(key: str, repository: str, revision: str | None, files: Sequence[Sequence[str]]) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    # The library logs each of its six tries; we report the failure once.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    found: Path | None = None
    for alternatives in files:
        cached = [try_to_load_from_cache(repository, name, revision=revision) for name in alternatives]
        here = next((path for path in cached if isinstance(path, str)), None)
        reasons = []
        for name in alternatives if here is None else ():
            try:
                here = hf_hub_download(repository, name, revision=revision)
                break
            except Exception as error:
                reasons.append(f"{type(error).__name__}: {one_line(error)}")
        if here is None:
            at = f" --revision {revision}" if revision else ""
            why = textwrap.shorten(reasons[0], 200, placeholder="…")
            raise UserError(
                f"{key}={repository}: {' or '.join(alternatives)} is not on this machine and could not be fetched "
                f"({why}); run `hf download {repository}{at} --local-dir FOLDER` on a machine with a network, copy "
                f"the folder here and set {key}=FOLDER"
            )
        found = Path(here).parent
    assert found is not None
    return found


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, as catalogues and hubs publish it. Raises `UserError` if it cannot be read."""
    try:
        with open(file, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"weights {file} cannot be read: {error.strerror or error}") from error


def fingerprint(files: Sequence[Path]) -> str:
    """Return the SHA-256 of weights: of one file, or, for several files, of the list of their hashes and names.

    The list is in the format of `sha256sum`, in order of names. Raises `UserError` if a file cannot be read.
    """
    if len(files) == 1:
        return sha256(files[0])
    listed = "".join(f"{sha256(file)}  {file.name}\n" for file in sorted(files, key=lambda file: file.name))
    return hashlib.sha256(listed.encode()).hexdigest()
