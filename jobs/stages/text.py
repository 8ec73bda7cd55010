"""The stages that put frames into words, checked before any work: text that is read, and captions."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import schemas
from conf import PipelineConfig
from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from jobs.core.stage import Stage
from jobs.models.transformers import in_folder
from jobs.models.weight_folders import digest
from transforms.frames import clip, image
from transforms.models import caption, ocr

_RAPIDOCR_LICENCE = "Apache-2.0"
_NO_MATTER = frozenset({"weights", "frames"})


def ocr_stage(config: PipelineConfig) -> Stage:
    """Return the stage that reads what is written. Raises `UserError` where the library, or its models, are missing."""
    require("ocr", *ocr.PACKAGES)
    files = _reader_files()
    name = "+".join(sorted(file.stem for file in files if "_cls_" not in file.name))
    weights = hashlib.sha256("".join(f"{file.name} {digest(file)}\n" for file in files).encode()).hexdigest()
    params = _params("ocr", config.ocr) | {"ocr.weights_hash": weights, "ocr.licence": _RAPIDOCR_LICENCE}
    code = (image.decode_color, clip.ClipFrame.color, ocr.TextReader)
    stage = Stage("ocr", "model", schemas.OCR, code, params)
    return dataclasses.replace(stage, make=partial(ocr.TextReader, config.ocr, name, weights, stage.key))


def _reader_files() -> list[Path]:
    """Return the models that come with RapidOCR, which would fetch them where they are not there."""
    spec = find_spec("rapidocr")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "models"
    files = sorted(folder.glob("*.onnx"))
    if missing := [kind for kind in ("det", "rec", "cls") if not any(f"_{kind}_" in file.name for file in files)]:
        raise UserError(
            f"ocr: {folder} lacks the models of RapidOCR ({', '.join(missing)}), which come with it; install it anew: "
            "pip install --force-reinstall rapidocr"
        )
    return files


def caption_stage(config: PipelineConfig) -> Stage:
    """Return the stage that says what frames show. Raises `UserError` with what is wrong with its weights."""
    params = config.caption
    found = in_folder("caption.weights", params.weights, params.weights, caption.KINDS)
    weights = found.weights
    spec = caption.CaptionerSpec(
        found.kind, weights.path, weights.name, weights.sha256, params, config.resources.model_batch
    )
    decisive = _params("caption", params)
    decisive |= {"caption.weights_hash": weights.sha256, "caption.licence": found.licence}
    code = (image.decode_color, clip.ClipFrame.color, caption.Captioner)
    return Stage("caption", "model", schemas.CAPTIONS, code, decisive, make=partial(caption.Captioner, spec))


def _params(section: str, values: Any) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(values) if f.name not in _NO_MATTER]
    return {f"{section}.{name}": getattr(values, name) for name in names}
