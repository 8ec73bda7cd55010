from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import schemas
from jobs.core.errors import UserError
from jobs.review.decisions import ImageKey, Row, frame_rows, record_decisions
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace

GATE: ImageKey = ("gate", 0, "a" * 64)
YARD: ImageKey = ("gate", 1, "b" * 64)
NOTHING_NEW = {"frames": 1, "approve": 0, "correct": 0, "reject": 0, "add": 0, "unchanged": 0, "older": 0}


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """A workspace whose current version holds two frames of one stream, written without a run."""
    workspace = Workspace.at(tmp_path / "tables").create()
    store = Store(workspace.root)
    store.create_tables(schemas.ALL)
    frames = [
        {
            "stage_key": "k",
            "input_id": number,
            "stream_id": stream,
            "frame_idx": number,
            "content_hash": content,
            "width": 64,
            "height": 48,
            "status": "ok",
            "uri": f"/data/{stream}/{number}.png",
            "size_bytes": 1,
            "mtime_ns": 1,
            "stat_id": number,
        }
        for stream, number, content in (GATE, YARD)
    ]
    head = {"stream_id": "gate", "stage": "frames", "stage_key": "k", "job_id": "j", "moved_ns": 1}
    store.upsert(schemas.FRAMES, pa.Table.from_pylist(frames, schemas.FRAMES.arrow_schema), "j")
    store.upsert(schemas.HEADS, pa.Table.from_pylist([head], schemas.HEADS.arrow_schema), "j")
    return workspace


def decision(annotation_id: str, word: str = "add", category: str = "cat") -> Row:
    edges = {"bbox_x": 1.0, "bbox_y": 2.0, "bbox_w": 3.0, "bbox_h": 4.1}
    return {"annotation_id": annotation_id, "decision": word, "category": category, "score": 1.0, **edges, "odd": 1}


def kept(place: Workspace) -> list[tuple[Any, ...]]:
    found = Store(place.root).read(schemas.REVIEWS).to_pylist()
    return sorted((r["frame_idx"], r["decision"], r["category"], r["note"], r["reviewed_ns"]) for r in found)


def record(place: Workspace, rows: list[Row], **more: Any) -> dict[str, int]:
    return record_decisions(place, rows, "the page", **{"categories": {"cat", "dog"}, **more})


def test_decisions_are_written_once(place: Workspace) -> None:
    rows = frame_rows(GATE, [decision("one"), decision("two", "reject", "bird")], "ada", 5, "looks odd", "round 1")
    assert record(place, rows) == NOTHING_NEW | {"add": 1, "reject": 1}
    expected = [(0, "add", "cat", "round 1", 5), (0, "reject", "bird", "round 1", 5), (0, "seen", None, "looks odd", 5)]
    assert kept(place) == expected
    later = frame_rows(GATE, [decision("two", "reject", "bird"), decision("one")], "ada", 9, "looks odd", "round 1")
    assert record(place, later) == NOTHING_NEW | {"unchanged": 1}
    assert kept(place) == expected
    # What is rejected needs no number in exports.
    assert Store(place.root).read(schemas.CATEGORIES)["category"].to_pylist() == ["cat"]


def test_a_frame_is_replaced_as_a_whole_unless_the_table_knows_something_newer(place: Workspace) -> None:
    record(place, frame_rows(GATE, [decision("one"), decision("two")], "ada", 5))
    corrected = frame_rows(GATE, [decision("one", "correct", "dog")], "bob", 7)
    assert record(place, corrected + frame_rows(YARD, [], "bob", 7)) == NOTHING_NEW | {"frames": 2, "correct": 1}
    expected = [(0, "correct", "dog", None, 7), (0, "seen", None, None, 7), (1, "seen", None, None, 7)]
    assert kept(place) == expected
    assert record(place, frame_rows(GATE, [decision("one")], "ada", 6)) == NOTHING_NEW | {"older": 1}
    assert kept(place) == expected


def test_a_dry_run_counts_and_writes_nothing(place: Workspace) -> None:
    assert record(place, frame_rows(GATE, [decision("one")], "ada"), dry_run=True)["add"] == 1
    assert kept(place) == []


def test_recording_no_reviews_changes_nothing(place: Workspace) -> None:
    assert record(place, []) == NOTHING_NEW | {"frames": 0}


def test_all_problems_are_reported_and_nothing_is_written(place: Workspace) -> None:
    rows = frame_rows(GATE, [decision("one", "maybe"), decision("two", category="unicorn")], "ada")
    gone = frame_rows(("gate", 1, "c" * 64), [], "ada")
    unseen = frame_rows(YARD, [decision("three")], "ada")[1:]
    with pytest.raises(UserError) as error:
        record(place, rows + gone + unseen)
    assert error.value.problems == [
        "frame gate 0: unknown decision 'maybe'; expected one of seen, approve, correct, reject, add",
        "frame gate 0: category 'unicorn' is not known; name it among the accepted categories",
        "frame gate 1: expected one row `seen`, found 0",
        "frame gate 1: it does not show image cccccccccccccccc now; review it again",
    ]
    assert kept(place) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"reviewer": None}, "column 'reviewer' holds 1 nulls"),
        ({"score": "high"}, "high"),
        ({"annotation_id": "one"}, "repeat"),
    ],
)
def test_rows_that_do_not_fit_the_table_are_refused(place: Workspace, changed: Row, problem: str) -> None:
    first, *others = frame_rows(GATE, [decision("one")], "ada")
    with pytest.raises(UserError, match=f"reviews cannot be recorded: .*{problem}"):
        record(place, [first | changed, *others])
    assert kept(place) == []
