"""Resolves the weights of model stages before any work: one function for each way that a stage can declare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from conf import PipelineConfig
from conf.stage_spec import StageSpec
from jobs.core.errors import UserError
from jobs.models import embedder
from jobs.models.sam2_checkpoints import checkpoint
from jobs.models.transformers import in_folder
from jobs.models.weight_folders import digest
from transforms.models.model_input import ModelWeights

Found = tuple[ModelWeights | None, dict[str, Any]]
"""Weights, and the parameters of the stage that say which these are."""

_RAPIDOCR_LICENCE = "Apache-2.0"


def _nothing(_spec: StageSpec, _config: PipelineConfig) -> Found:
    """Resolve no weights: the model has none."""
    return None, {}


def _from_folder(spec: StageSpec, config: PipelineConfig) -> Found:
    """Resolve `SECTION.weights`: a folder as transformers writes it, or where one can be had from."""
    assert spec.model is not None
    section = spec.model.section
    named = getattr(config, section).weights
    found = in_folder(f"{section}.weights", named, spec.model.kinds)
    weights = ModelWeights(found.weights.path, found.weights.name, found.weights.sha256, found.kind)
    return weights, _said(section, weights.sha256, found.licence)


def _from_open_clip(spec: StageSpec, config: PipelineConfig) -> Found:
    """Resolve the weights of the embedder, of which no licence is known."""
    assert spec.model is not None
    source, weights_hash = embedder.weights_of(config)
    return ModelWeights(source, source.name, weights_hash), {f"{spec.model.section}.weights_hash": weights_hash}


def _from_rapidocr(spec: StageSpec, _config: PipelineConfig) -> Found:
    """Resolve the models that come with RapidOCR."""
    assert spec.model is not None
    files = _reader_files()
    name = "+".join(sorted(file.stem for file in files if "_cls_" not in file.name))
    weights_hash = hashlib.sha256("".join(f"{file.name} {digest(file)}\n" for file in files).encode()).hexdigest()
    weights = ModelWeights(files[0].parent, name, weights_hash)
    return weights, _said(spec.model.section, weights_hash, _RAPIDOCR_LICENCE)


def _from_sam2_package(spec: StageSpec, config: PipelineConfig) -> Found:
    """Resolve `SECTION.weights`: a checkpoint as the makers of SAM 2 publish it."""
    assert spec.model is not None
    values = getattr(config, spec.model.section)
    found = checkpoint(f"{spec.model.section}.weights", values.weights, type(values)().weights)
    licence = found.model.licence if found.model else None
    return ModelWeights(found.path, found.name, found.sha256), _said(spec.model.section, found.sha256, licence)


SOURCES: Mapping[str, Callable[[StageSpec, PipelineConfig], Found]] = {
    "none": _nothing,
    "folder": _from_folder,
    "open_clip": _from_open_clip,
    "rapidocr": _from_rapidocr,
    "sam2_package": _from_sam2_package,
}
"""The ways in which weights are resolved, by what stages declare. Each raises `UserError` with what is wrong."""


def _said(section: str, weights_hash: str, licence: str | None) -> dict[str, Any]:
    return {f"{section}.weights_hash": weights_hash, f"{section}.licence": licence}


def _reader_files() -> list[Path]:
    """Return the models that come with RapidOCR, which would fetch them where they are not there."""
    spec = find_spec("rapidocr")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "models"
    files = sorted(folder.glob("*.onnx"))
    if missing := [kind for kind in ("det", "rec", "cls") if not any(f"_{kind}_" in file.name for file in files)]:
        raise UserError(
            f"ocr: {folder} lacks the models of RapidOCR ({', '.join(missing)}), which come with it; reinstall it: "
            "pip install --force-reinstall rapidocr"
        )
    return files
