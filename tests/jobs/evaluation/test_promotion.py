"""What may become champion: each clause of the rule, from rows."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import schemas
from jobs.core.errors import JobStateError, NotPromotedError, UserError
from jobs.evaluation.promotion import evidence_for, promote
from jobs.models import registry
from jobs.storage import paths
from jobs.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with two versions of the model yard."""
    found = Store(paths.place(tmp_path))
    for number in (1, 2):
        add_version(found, tmp_path, number)
    return found


def add_version(store: Store, root: Path, number: int, licence: str = "Apache-2.0") -> None:
    """Register a version with its row in `models`."""
    (root / f"weights/{number}").mkdir(parents=True)
    columns = dict.fromkeys(("name", "path", "base", "base_hash", "data", "data_content", "manifest", "params"), "")
    row = {"model_id": f"m{number}", **columns, "metrics": "{}", "licence": licence, "seconds": 1.0, "created_ns": 1}
    _add(store, schemas.MODELS, row)
    version = {"name": "yard", "model_id": f"m{number}", "job_id": f"job-{number}", "release": "v1"}
    folder = f"weights/{number}"
    more = {"detector": "torchvision", "folder": folder, "classes": ["car"], "best_epoch": 1, "note": None}
    registry.register(store, version | more)


def _add(store: Store, table: schemas.Table, row: dict[str, Any]) -> None:
    store.create_tables([table])
    store.upsert(table, pa.Table.from_pylist([row], table.arrow_schema), "test")


def measured(store: Store, number: int, ap: float = 0.7, split: str = "test") -> None:
    """Record an evaluation of a version."""
    row = {
        "evaluation_id": f"e{number}",
        "model_id": f"m{number}",
        "name": "yard",
        "version": number,
        "release": "v1",
        "split": split,
        "split_seed": 0,
        "content": "c",
        "frames": 100,
        "objects": 300,
        "units": 20,
        "ap": ap,
        "ap50": ap,
        "min_score": 0.5,
        "ms_per_frame": 10.0,
        "report": "{}",
        "environment": "{}",
        "job_id": "job",
        "created_ns": number,
    }
    _add(store, schemas.EVALUATIONS, row)


def compared(store: Store, verdict: str, car_low: float = 0.0, objects: int = 300) -> None:
    """Record a comparison of version 2 with version 1."""
    row = {
        "evaluation_id": "e2",
        "against_id": "e1",
        "verdict": verdict,
        "difference": 0.05,
        "low": 0.01,
        "high": 0.09,
        "classes": json.dumps({"car": {"objects": objects, "mean": 0.02, "low": car_low, "high": 0.1}}),
        "units": 20,
        "draws": 2000,
        "job_id": "job",
        "created_ns": 5,
    }
    _add(store, schemas.COMPARISONS, row)


def _champion(store: Store) -> int:
    return registry.current(store, "yard", "champion")


def test_without_an_evaluation_nothing_becomes_champion(store: Store) -> None:
    """The line says what to run; other aliases are free."""
    with pytest.raises(NotPromotedError, match="winnow evaluate model yard@1 --on release:v1/test") as refused:
        promote(store, "yard@1", by="ann")
    assert refused.value.exit_code == 1
    assert _champion(store) == 0
    promote(store, "yard@1", "challenger", by="ann")
    assert registry.current(store, "yard", "challenger") == 1


def test_frames_that_chose_the_best_epoch_are_no_evidence(store: Store) -> None:
    """A training measures on `val` after each epoch."""
    measured(store, 1, split="val")
    with pytest.raises(NotPromotedError, match="never measured on frames that it has not seen"):
        promote(store, "yard@1", by="ann")
    measured(store, 1)
    assert promote(store, "yard@1", by="ann")["evaluation_id"] == "e1"


def test_the_first_champion_needs_an_evaluation_alone(store: Store) -> None:
    """What it rests on is in its row."""
    measured(store, 1)
    row = promote(store, "yard@1", by="ann", reason="the first")
    assert (row["evaluation_id"], row["is_forced"], row["by"]) == ("e1", False, "ann")


@pytest.mark.parametrize(
    ("verdict", "low", "objects", "problem"),
    [
        ("better", 0.0, 300, None),
        ("better", -0.029, 300, None),
        ("better", -0.031, 300, "categories may lose over 0.03: car"),
        ("better", -0.5, 49, None),
        ("not_better", 0.0, 300, "not better for sure"),
        ("worse", 0.0, 300, "worse"),
        ("cannot_tell", 0.0, 300, "cannot tell whether it is better"),
        ("", 0.0, 300, "never compared with yard@1, the champion"),
    ],
)
def test_a_later_champion_has_to_be_better(
    store: Store, verdict: str, low: float, objects: int, problem: str | None
) -> None:
    """By the comparison with the champion that there is."""
    measured(store, 1)
    promote(store, "yard@1", by="ann")
    measured(store, 2)
    if verdict:
        compared(store, verdict, low, objects)
    if problem is None:
        assert promote(store, "yard@2", by="bob")["evaluation_id"] == "e2"
        return
    with pytest.raises(NotPromotedError, match=problem):
        promote(store, "yard@2", by="bob")
    assert _champion(store) == 1
    row = promote(store, "yard@2", by="bob", force="the old one misses vans")
    assert (row["is_forced"], row["reason"]) == (True, "the old one misses vans")


def test_a_licence_that_obliges_more_needs_a_reason(store: Store, tmp_path: Path) -> None:
    """AGPL after Apache, and a licence that is not stated."""
    for number, licence in ((3, "AGPL-3.0"), (4, "not stated")):
        add_version(store, tmp_path, number, licence)
        measured(store, number)
    measured(store, 1)
    promote(store, "yard@1", by="ann")
    texts = evidence_for(store, registry.find(store, "yard@3")).against
    assert any("AGPL-3.0, which obliges more than Apache-2.0" in text for text in texts)
    assert "its licence is not stated" in evidence_for(store, registry.find(store, "yard@4")).against


def test_missing_weights_and_an_empty_reason_are_refused(store: Store, tmp_path: Path) -> None:
    """The alias stays as it is."""
    with pytest.raises(UserError, match="expected a reason"):
        promote(store, "yard@1", by="ann", force=" ")
    (tmp_path / "weights/1").rmdir()
    with pytest.raises(UserError, match="weights are missing"):
        promote(store, "yard@1", by="ann", force="because")
    assert _champion(store) == 0


def test_of_two_who_promote_at_once_one_is_refused(store: Store) -> None:
    """Both have evidence against no champion: one wins, and there is one row."""
    measured(store, 1)
    measured(store, 2)

    def attempt(number: int) -> bool:
        try:
            promote(Store(store.root), f"yard@{number}", by=f"person {number}", expect=0)
        except (JobStateError, NotPromotedError):
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, (1, 2))) == [False, True]
    assert Store(store.root).read(schemas.ALIASES).num_rows == 1
