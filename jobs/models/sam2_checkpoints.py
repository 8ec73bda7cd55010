"""Checkpoints of the package `sam2` that a configuration names, checked before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conf.model_catalogue import catalogue
from jobs.core.errors import UserError
from jobs.core.optional_packages import missing
from jobs.models.locations import fingerprint
from jobs.models.weights_store import Weights, resolve
from transforms.models.inference import ModelError
from transforms.models.sam2_package import PACKAGES, configuration_of

EXTRA = "sam2"


def checkpoint(key: str, named: str, default: str) -> Weights:
    """Return the checkpoint that the setting `key` names: a file, or a name of the catalogue.

    `default`, the folder of transformers that is the default of the setting, means the first checkpoint of the
    catalogue. A configuration next to the file is part of the hash. Raises `UserError`.
    """
    if problems := missing(EXTRA, *PACKAGES):
        raise UserError(problems)
    names = [model.name for model in catalogue().values() if model.extra == EXTRA]
    wanted = names[0] if named == default else named
    place = Path(wanted).expanduser()
    if place.is_dir() or (wanted in catalogue() and wanted not in names):
        raise UserError(
            f"{key}={named}: expected a checkpoint of SAM 2 as its makers publish it, a file NAME.pt or one of "
            f"{', '.join(names)}; found a folder or a model of another kind"
        )
    found = resolve(wanted)
    try:
        configuration = configuration_of(found.path)
    except ModelError as error:
        raise UserError(f"{key}={named}: {error}") from error
    if configuration == found.path.with_suffix(".yaml"):
        return replace(found, sha256=fingerprint([found.path, configuration]))
    return found
