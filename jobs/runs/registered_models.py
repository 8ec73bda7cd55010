"""Models that a configuration names by their place in the registry, resolved once, at the start of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conf import PipelineConfig
from conf.loader import Loaded
from conf.stage_spec import setting
from conf.stages import STAGES
from jobs.core.errors import UserError
from jobs.models.registry import PREFIX, find, onnx_file, weights_problem
from jobs.storage.store import Store


def resolved(loaded: Loaded, store: Store) -> Loaded:
    """Return a configuration with the folder of each model that it names as `models:NAME@…`, and its detector.

    Where the detector that is set is `onnx`, that is the ONNX file of the model.

    A run keeps what it found at its start: an alias that changes meanwhile changes the next run. Raises `UserError`
    with all that are not there.
    """
    config = loaded.config
    problems: list[str] = []
    for weights, detector in _settings():
        named = setting(config, weights)
        if not isinstance(named, str) or not named.startswith(PREFIX):
            continue
        as_onnx = setting(config, detector) == "onnx"
        try:
            found = find(store, named)
            place = onnx_file(store, found) if as_onnx else found.folder
        except UserError as error:
            problems += [f"{weights}={problem}" for problem in error.problems]
            continue
        if not as_onnx and (problem := weights_problem(found)):
            problems.append(f"{weights}={named}: {problem}; bring them back from a backup")
        config = _with(_with(config, weights, str(place)), detector, "onnx" if as_onnx else found.detector)
    if problems:
        raise UserError(problems)
    return replace(loaded, config=config)


def as_before(loaded: Loaded, before: Mapping[str, Any]) -> Loaded:
    """Return a configuration with the models that an attempt before has found, whose configuration is `before`."""
    config = loaded.config
    for weights, detector in _settings():
        if str(setting(config, weights)).startswith(PREFIX):
            for key in (weights, detector):
                section, name = key.split(".")
                config = _with(config, key, before[section][name])
    return replace(loaded, config=config)


def _settings() -> list[tuple[str, str]]:
    """Return the settings that name weights of a detector, each with the one that names the detector."""
    others = [spec.model.other for spec in STAGES if spec.model and spec.model.other]
    return [("annotate.weights", "annotate.detector"), *others]


def _with(config: PipelineConfig, key: str, value: Any) -> PipelineConfig:
    section, name = key.split(".")
    changed: Any = {section: replace(getattr(config, section), **{name: value})}
    return replace(config, **changed)
