"""The stage keys that users have in their workspaces: `python -m tests.golden_keys` writes them down.

A change of this file says that everybody computes these stages once more. It is meant where a result changes, and a
mistake where code was only moved, reformatted or explained.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from conf import load, profile_names
from conf.detectors import DETECTORS
from conf.stages import SPECS
from jobs.core.code_hash import code_hash
from jobs.stages.build import build
from tests.onnx_graphs import write_end_to_end

PATH = Path(__file__).with_name("golden_keys.json")

# Weights that these need are another download each; what their code does is held without them.
_CODE: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "embeddings": SPECS["embeddings"].code,
    **{f"annotate by {name}": detector.code for name, detector in DETECTORS.items() if name != "onnx"},
    **{
        name: SPECS[name].code
        for name in ("segment", "propagate", "ocr", "caption", "read", "logos", "match", "vote", "exposure")
    },
}
_EVERY_STAGE = "stages=[media, track, annotate, second, route, larger, escalate]"


def golden() -> dict[str, dict[str, Any]]:
    """Return the keys of every built-in profile, those of a pipeline of most stages, and the code of models."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"SKIP_VLM": "1", "XDG_CACHE_HOME": folder}),
    ):
        weights = write_end_to_end(Path(folder) / "red.onnx", names={0: "none", 1: "red"})
        other = write_end_to_end(Path(folder) / "other.onnx", batch="N", names={0: "none", 1: "red"})
        vectors = Path(folder) / "clip"
        vectors.mkdir()
        (vectors / "open_clip_config.json").write_text("{}")
        (vectors / "open_clip_model.safetensors").write_bytes(b"weights")
        given = ("annotate.detector=motion", f"embed.weights={vectors}")
        # Reading needs the weights of an extra, and so does what follows from it.
        only = {"brands": ("stages=[frames, quality, rectify]",)}
        keys = {name: _keys(name, *given, *only.get(name, ())) for name in profile_names()}
        models = (f"annotate.weights={weights}", f"route.second={other}", f"route.larger={other}")
        budgets = ("route.budget_larger=5", "route.budget_vlm=5", "escalate.model=some", "escalate.api=openai")
        keys["every stage"] = _keys("quality", _EVERY_STAGE, "annotate.detector=onnx", *models, *budgets)
    return {"keys": keys, "code": {name: code_hash(entries) for name, entries in _CODE.items()}}


def _keys(profile: str, *settings: str) -> dict[str, str]:
    return {stage.name: stage.key for stage in build(load(profile, settings=settings).config)}


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden(), indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{PATH.name} is written\n")
