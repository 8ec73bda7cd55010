"""Where the weights of models lie, and which they are. Asks the network only for what is not on this machine."""

from __future__ import annotations

import hashlib
import logging
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

from jobs.core.errors import UserError, one_line

FOLDER = "WINNOW_WEIGHTS"
"""The environment's name for the folder of weights."""


def folder() -> Path:
    """Return `$WINNOW_WEIGHTS`, or the user's cache: where weights are looked for by name."""
    named = os.environ.get(FOLDER)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named or Path(cache) / "winnow" / "weights").expanduser().absolute()


def locate(key: str, named: str, files: Sequence[Sequence[str]]) -> Path:
    """Return where weights lie: a file or folder, below `folder()` too, or a repository of the Hugging Face hub.

    `key` is the setting that names them. `files` are what is needed of a repository, each with its alternatives in
    order; what an earlier run fetched serves, the rest is fetched. Raises `UserError` where there is nothing, saying
    how to get it.
    """
    for place in (Path(named).expanduser(), folder() / named):
        if place.exists():
            return place.absolute()
    repository, _, revision = named.partition("@")
    if named.startswith((".", "/", "~")) or repository.count("/") != 1:
        raise UserError(
            f"{key}={named}: there is no such file or folder; expected a path (also below ${FOLDER}) or a repository "
            "of the Hugging Face hub, ORGANISATION/NAME"
        )
    return _from_hub(key, repository, revision or None, files)


def _from_hub(key: str, repository: str, revision: str | None, files: Sequence[Sequence[str]]) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    # It tries six times, and says so each time; once, in our words, will do.
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
                f"({why}); where there is a network, `hf download {repository}{at} --local-dir FOLDER` gets it: bring "
                f"the folder here and set {key}=FOLDER"
            )
        found = Path(here).parent
    assert found is not None
    return found


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, as catalogues and hubs publish it. Raises `UserError` where it cannot be read."""
    try:
        with open(file, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"weights {file} cannot be read: {error.strerror or error}") from error


def fingerprint(files: Sequence[Path]) -> str:
    """Return the SHA-256 of weights: of one file, or where they are several, of a list of their own and their names.

    Such a list is what `sha256sum` prints, the files in order of their names. Raises `UserError` where they cannot be
    read.
    """
    if len(files) == 1:
        return sha256(files[0])
    listed = "".join(f"{sha256(file)}  {file.name}\n" for file in sorted(files, key=lambda file: file.name))
    return hashlib.sha256(listed.encode()).hexdigest()
