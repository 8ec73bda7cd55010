"""Weights of registered versions that are lost or altered: doctor reports them, and no run computes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

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
