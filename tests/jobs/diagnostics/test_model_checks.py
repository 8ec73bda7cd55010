"""Weights of registered versions that are lost or altered: doctor reports them, and no run computes with them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import schemas
from conf import load
from jobs.core.errors import UserError
from jobs.diagnostics import model_checks
from jobs.diagnostics.doctor import examine
from jobs.models import registry
from jobs.models.weight_folders import digest
from jobs.runs import registered_models
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.jobs.diagnostics.test_losses import away, replaced, says_so


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A workspace with a version of a model, whose weights are some bytes."""
    found = Store(Workspace.at(tmp_path / "ws").create().root)
    folder = tmp_path / "ws/weights/yard"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    (folder / "config.json").write_text("{}")
    about = {"name": "yard", "model_id": digest(folder), "job_id": "a", "release": "v1", "detector": "torchvision"}
    registry.register(
        found, {**about, "folder": "weights/yard", "classes": ["red"], "best_epoch": 1, "note": "the first"}
    )
    return found


def test_weights_that_are_lost_cut_or_flipped_are_reported_and_not_used(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "ws/weights/yard"
    loaded = load(settings=["stages=[frames, annotate]", "annotate.weights=models:yard@1"])

    def levels(verify: bool) -> list[str]:
        return [finding.level for finding in model_checks.versions(store, verify)]

    def used() -> object:
        return registered_models.resolved(loaded, store)

    assert levels(verify=False) == levels(verify=True) == ["ok"]
    used()
    with away(folder):
        assert levels(verify=False) == ["broken"]
        says_so(used, "weights are missing")
        found = [finding for finding in examine(str(tmp_path / "ws")) if finding.subject == "models"]
        assert [finding.found for finding in found] == [f"yard@1: its weights are missing from {folder}"]
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    flipped = bytearray(data)
    flipped[100] ^= 1
    for wrong in (b"", data[:-1], bytes(flipped)):
        with replaced(weights, wrong):
            assert levels(verify=True) == ["broken"]
            says_so(used, "not those that were registered")
    for lost in ("model.safetensors", "config.json"):
        with away(folder / lost):
            assert levels(verify=True) == ["broken"]
            with pytest.raises(UserError, match="not those that were registered"):
                used()


def test_an_onnx_file_that_is_lost_cut_or_flipped_is_reported_and_not_used(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "ws/weights/yard.onnx"
    file.write_bytes(bytes(range(200)))
    model_id = digest(tmp_path / "ws/weights/yard")
    about = {"model_id": model_id, "frames": 9, "boxes": 40, "lost": 0, "job_id": "a", "created_ns": 1}
    made = {**about, "format": "onnx", "file": "weights/yard.onnx", "sha256": digest(file), "reason": None}
    store.create_tables([schemas.MODEL_EXPORTS])
    store.upsert(schemas.MODEL_EXPORTS, pa.Table.from_pylist([made], schemas.MODEL_EXPORTS.arrow_schema), "a")
    loaded = load(settings=["stages=[frames, annotate]", "annotate.detector=onnx", "annotate.weights=models:yard@1"])

    def found(verify: bool) -> list[tuple[str, str]]:
        return [(each.level, each.found) for each in model_checks.versions(store, verify)]

    def used() -> object:
        return registered_models.resolved(loaded, store)

    assert found(verify=True) == [("ok", "1 version, all weights and 1 ONNX file there and the same")]
    used()
    with away(file):
        assert found(verify=False) == [("broken", f"yard@1: its ONNX file is missing from {file}")]
        says_so(used, "its ONNX file is missing")
    for wrong in (b"", bytes(range(199)), bytes(reversed(range(200)))):
        with replaced(file, wrong):
            # Contents are compared by `doctor --verify`, and by each run.
            assert [level for level, _ in found(verify=False)] == ["ok"]
            assert found(verify=True) == [("broken", f"yard@1: {file} is not the ONNX file that was made of it")]
            says_so(used, "not the ONNX file")
