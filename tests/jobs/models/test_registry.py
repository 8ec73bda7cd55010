"""The registry: versions, aliases whose every change stays, and two who change one at once."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest

import schemas
from conf.loader import load
from jobs.core.errors import JobStateError, UserError
from jobs.models import registry
from jobs.models.weight_folders import digest
from jobs.runs.registered_models import resolved
from jobs.storage import paths
from jobs.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with three versions of the model yard."""
    found = Store(paths.place(tmp_path))
    for number in (1, 2, 3):
        registry.register(found, _row(f"job-{number}"))
    return found


def _row(job_id: str, name: str = "yard") -> dict[str, Any]:
    return {
        "name": name,
        "model_id": f"hash of {job_id}",
        "job_id": job_id,
        "release": "v1",
        "detector": "torchvision",
        "folder": f"weights/{job_id}",
        "classes": ["car"],
        "best_epoch": 1,
        "note": None,
    }


def test_versions_are_numbered_by_name(store: Store) -> None:
    """Another name begins with 1; the same training has one version, however often it is registered."""
    assert registry.register(store, _row("job-9", "gate")) == 1
    assert registry.register(store, _row("job-2")) == 2
    assert [row["version"] for row in registry.versions(store, "yard")] == [1, 2, 3]


def test_of_two_who_promote_at_once_one_is_refused(store: Store) -> None:
    """Both expect what is there now: one change is made, the other one is refused, and there is one row."""

    def promote(version: int) -> str:
        mine = Store(store.root)
        try:
            registry.set_alias(mine, "yard", version, "champion", by=f"person {version}", expect=0)
        except JobStateError as error:
            return str(error)
        return "made"

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(promote, (2, 3)), key=len)
    assert answers[0] == "made"
    assert "expected none" in answers[1]
    assert Store(store.root).read(schemas.ALIASES).num_rows == 1


def test_history_answers_who_was_champion_when(store: Store) -> None:
    """Each change stays, a rollback is one too, and each moment has one champion."""
    registry.set_alias(store, "yard", 1, "champion", by="ann")
    registry.set_alias(store, "yard", 3, "champion", by="bob", reason="finds bicycles", expect=1)
    back = registry.roll_back(store, "yard", "champion", by="ann")
    changes = registry.history(store, "yard", "champion")
    assert [(c["version"], c["previous"], c["by"]) for c in changes] == [(1, None, "ann"), (3, 1, "bob"), (1, 3, "ann")]
    assert back["reason"] == "rollback"
    assert registry.find(store, "models:yard@champion").version == 1
    at = changes[1]["at_ns"]
    assert [c["version"] for c in changes if c["at_ns"] <= at][-1] == 3


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("models:yard@9", "yard has the versions 1, 2, 3"),
        ("models:gate@1", "there is no model 'gate'; trained ones: yard"),
        ("models:yard@best", "no version of yard is best yet"),
        ("yard", "expected models:NAME@VERSION"),
    ],
)
def test_what_is_not_there_is_named(store: Store, reference: str, said: str) -> None:
    """Each message has what would be right."""
    with pytest.raises(UserError, match=said):
        registry.find(store, reference)


def test_the_first_version_cannot_be_rolled_back(store: Store) -> None:
    """There was none before."""
    registry.set_alias(store, "yard", 1, "champion", by="ann")
    with pytest.raises(UserError, match="no version before"):
        registry.roll_back(store, "yard", "champion", by="ann")


@pytest.mark.parametrize(
    ("promoted", "back"), [((1, 2, 3), (2, 1)), ((1, 2, 3, 2), (1,)), ((3, 1, 3, 2), (3,)), ((1, 2, 1), ())]
)
def test_each_rollback_goes_one_version_further_back(
    store: Store, promoted: tuple[int, ...], back: tuple[int, ...]
) -> None:
    """What was taken away does not come back by itself."""
    for version in promoted:
        registry.set_alias(store, "yard", version, "champion", by="ann")
    found = [registry.roll_back(store, "yard", "champion", by="ann")["version"] for _ in back]
    assert tuple(found) == back
    with pytest.raises(UserError, match="no version before"):
        registry.roll_back(store, "yard", "champion", by="ann")


def test_an_alias_is_a_word(store: Store) -> None:
    """A number would be taken for a version."""
    with pytest.raises(UserError, match="expected a word"):
        registry.set_alias(store, "yard", 1, "7", by="ann")


def test_a_clock_that_is_set_back_changes_no_order_of_an_alias(store: Store) -> None:
    """The number of a change says which was the last, so that it can be taken back."""
    now = time.time_ns()
    for version, hours in ((1, 0), (2, 1), (3, -1)):
        with mock.patch("time.time_ns", return_value=now + hours * 3600 * 10**9):
            registry.set_alias(store, "yard", version, "champion", by="ada")
            registry.set_alias(store, "yard", version, "other", by="ada")
    assert [row["version"] for row in registry.history(store, "yard", "champion")] == [1, 2, 3]
    both = [(row["version"], row["alias"]) for row in registry.history(store, "yard")]
    assert [version for version, alias in both if alias == "other"] == [1, 2, 3]
    assert registry.roll_back(store, "yard", "champion", by="ada")["version"] == 2


@pytest.mark.parametrize("which", ["9" * 5000, "\u0663" * 400, "0", "4"])
def test_a_version_that_is_not_there_is_refused_in_a_line(store: Store, which: str) -> None:
    with pytest.raises(UserError, match="yard has the versions 1, 2, 3"):
        registry.find(store, f"models:yard@{which}")


def test_the_onnx_file_of_a_version_is_found_or_why_there_is_none(store: Store) -> None:
    """A configuration with the detector onnx names the file, by its hash."""
    place = store.root.on_disk()
    assert place is not None
    (place / "weights").mkdir()
    (place / "weights/job-1.onnx").write_bytes(b"graph")
    columns = {"frames": 9, "boxes": 40, "lost": 0, "overlap": 1.0, "scores": 0.0, "job_id": "j", "created_ns": 1}
    made = {"file": "weights/job-1.onnx", "sha256": digest(place / "weights/job-1.onnx"), "reason": None}
    none = {"file": None, "sha256": None, "reason": "2 of 40 boxes have no partner"}
    rows = [{"model_id": f"hash of job-{n}", "format": "onnx", **columns, **each} for n, each in ((1, made), (2, none))]
    store.create_tables([schemas.MODEL_EXPORTS])
    store.upsert(schemas.MODEL_EXPORTS, pa.Table.from_pylist(rows, schemas.MODEL_EXPORTS.arrow_schema), "j")
    loaded = load(settings=["annotate.weights=models:yard@1", "annotate.detector=onnx"])
    found = resolved(loaded, store).config.annotate
    assert (found.weights, found.detector) == (str(place / "weights/job-1.onnx"), "onnx")
    (place / "weights/job-1.onnx").write_bytes(b"another")
    with pytest.raises(UserError, match="not the ONNX file"):
        resolved(loaded, store)
    for version, why in ((2, "2 of 40 boxes have no partner"), (3, "it was trained without")):
        loaded = load(settings=[f"annotate.weights=models:yard@{version}", "annotate.detector=onnx"])
        with pytest.raises(UserError, match=why):
            resolved(loaded, store)
