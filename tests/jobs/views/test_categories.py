from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

import schemas
from jobs.datasets import release
from jobs.datasets.export import ExportRequest, export
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import snapshot_spec
from jobs.views.categories import categories_of, register
from jobs.views.view import View
from tests.helpers import go
from tests.jobs.review.material import annotated, settings


@pytest.fixture
def store(workspace: Workspace) -> Store:
    store = Store(workspace.create().root)
    store.create_tables()
    return store


def numbers(store: Store) -> dict[str, int]:
    rows = pl.DataFrame(Store(store.root).read(schemas.CATEGORIES)).sort("number")
    assert rows["number"].to_list() == list(range(rows.height))
    return dict(rows.select("category", "number").rows())


def known(store: Store) -> tuple[str, ...]:
    return categories_of(View(store, snapshot_spec.pinned(store)))


def test_a_category_number_is_given_once(store: Store) -> None:
    register(store, ["moving"], "motion", "a")
    before = snapshot_spec.pinned(store)
    register(store, ["zebra", "moving", "cat", "zebra"], "onnx", "b")
    version = store.open(schemas.CATEGORIES).version
    register(store, ["cat"], "review", "c")
    assert numbers(store) == {"moving": 0, "zebra": 1, "cat": 2}
    assert known(store) == ("moving", "zebra", "cat")
    # What was pinned stays as it was, and nothing new is no commit.
    assert categories_of(View(store, before)) == ("moving",)
    assert Store(store.root).open(schemas.CATEGORIES).version == version
    assert set(store.read(schemas.CATEGORIES)["origin"].to_pylist()) == {"motion", "onnx"}


def test_writers_at_once_give_one_numbering(store: Store) -> None:
    def write(writer: int) -> None:
        own = Store(store.root)
        for at in range(4):
            register(own, [f"shared {at}", f"{writer} {at}"], str(writer), "job")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert len(numbers(store)) == 4 + 16


def label_names(workspace: Workspace, out: Path, release_: str | None = None) -> list[str]:
    export(workspace, ExportRequest("coco", place(out), release=release_, everything=True))
    document = json.loads((out / "annotations/instances_default.json").read_text())
    return [c["name"] for c in sorted(document["categories"], key=lambda c: c["id"])]


@pytest.mark.usefixtures("models_at_hand")
def test_numbers_outlast_other_detectors_and_reviews(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")
    workspace = Workspace.at(tmp_path / "tables")
    made = annotated(tmp_path / "made")
    data = tmp_path / "made/data"
    go(workspace, data, settings=["stages=[frames, annotate]", "annotate.detector=motion", "annotate.frames=all"])
    assert label_names(workspace, tmp_path / "1") == ["moving"]
    store = Store(workspace.root)
    release.create(store, "first")
    export(workspace, ExportRequest("coco", place(tmp_path / "then"), release="first", everything=True))
    go(workspace, data, settings=settings(tmp_path / "made"))
    assert label_names(workspace, tmp_path / "2") == ["moving", "cat", "red"]
    assert label_names(workspace, tmp_path / "3", "first") == ["moving"]
    for name in ("manifest.json", "annotations/instances_default.json"):
        assert (tmp_path / "then" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()
    # Without the table of numbers: as before, and these are the first numbers of a new one.
    shutil.rmtree(made.folder / "categories")
    shutil.rmtree(made.folder / "written")
    assert label_names(made, tmp_path / "4") == ["cat", "red"]
    go(made, data, settings=["stages=[frames, annotate]", "annotate.detector=motion", "annotate.frames=all"])
    assert numbers(Store(made.root)) == {"cat": 0, "red": 1, "moving": 2}
