"""A workspace that several tests look at and damage copies of, and a catalogue for weights of their own."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from conf.model_catalogue import catalogue
from jobs.datasets import release
from jobs.engine.ray_engine import Engine
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import copy_stream, go, write_noise_stream


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """A workspace with a release, and two runs of one camera, `cam` next to it; to be read only."""
    place = tmp_path_factory.mktemp("healthy")
    workspace = Workspace.at(place / "tables")
    cam = write_noise_stream(place / "cam", range(6))
    go(workspace, cam)
    release.create(Store(workspace.root), "first")
    write_noise_stream(cam, range(6, 9), start=6)
    go(workspace, cam)
    return workspace.folder


@pytest.fixture
def tables(healthy: Path, tmp_path: Path) -> Path:
    """Return a copy of that workspace."""
    return copy_stream(healthy, tmp_path / "tables")


@pytest.fixture
def older_tables(tables: Path) -> Path:
    """Return that copy as it was before workspaces and jobs recorded what was written to the tables."""
    shutil.rmtree(tables / "written")
    for record in tables.glob("jobs/*/*.json"):
        values = json.loads(record.read_text())
        values["data"].pop("tables", None)
        record.write_text(json.dumps(values))
    return tables


@pytest.fixture
def unpinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the catalogue name no hashes, so that files of a test's own go by its names."""
    for name, model in catalogue().items():
        monkeypatch.setitem(catalogue(), name, dataclasses.replace(model, sha256=None, size_bytes=None))
