from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobs.analysis.curation_eval import Evaluation, evaluate, page
from jobs.analysis.labels import read_labels
from jobs.core.errors import UserError
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import SMALL, go
from transforms.curate.duplicates.grouping import DuplicateParams
from transforms.curate.idle import IdleParams

pytestmark = pytest.mark.usefixtures("engine")
PLANTED = SMALL.planted


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> View:
    workspace = Workspace.at(tmp_path_factory.mktemp("evaluate") / "tables")
    go(workspace, sample_folder)
    return View.of(workspace)


def held(view: View, folder: Path, document: Mapping[str, Any]) -> Evaluation:
    path = folder / "labels.json"
    path.write_text(json.dumps(document))
    return evaluate(view, read_labels([path]))


def pair(a: int, b: int, duplicate: bool) -> dict[str, Any]:
    return {"stream_id_a": "cam", "frame_idx_a": a, "stream_id_b": "cam", "frame_idx_b": b, "duplicate": duplicate}


def test_flags_are_scored_against_planted_defects(view: View, tmp_path: Path) -> None:
    numbers = [n for n, kind in enumerate(SMALL.kinds) if kind != "gap" and n not in PLANTED.corrupt]
    frames = [
        {"stream_id": "cam", "frame_idx": n, "dark": n in PLANTED.dark, "overexposed": n in PLANTED.overexposed}
        for n in numbers
    ]
    found = held(view, tmp_path, {"frames": frames})
    assert [f.flag for f in found.flags] == ["dark", "overexposed"]
    for result in found.flags:
        assert (result.n_positive, result.n_negative) == (6, len(numbers) - 6)
        assert (result.auc, result.precision, result.recall) == (1.0, 1.0, 1.0)
        assert (result.suggested_precision, result.suggested_recall) == (1.0, 1.0)
    dark, over = found.flags
    assert dark.measure == over.measure == "luma_mean"
    assert dark.suggested < 128 < over.suggested


def test_wrong_labels_give_bad_figures(view: View, tmp_path: Path) -> None:
    frames = [{"stream_id": "cam", "frame_idx": n, "dark": n not in PLANTED.dark} for n in range(90)]
    (dark,) = held(view, tmp_path, {"frames": frames}).flags
    assert (dark.auc, dark.precision, dark.recall) == (0.0, 0.0, 0.0)


def test_pairs_by_distance_and_by_group(view: View, tmp_path: Path) -> None:
    same = [pair(copy, original, True) for copy, original in {**PLANTED.exact, **PLANTED.near}.items()]
    other = [pair(0, 30, False), pair(5, 35, False)]
    found = held(view, tmp_path, {"pairs": [*same, *other]})
    assert found.groups == {"n_duplicate": 8, "n_different": 2, "precision": 1.0, "recall": 1.0}
    recalls = [row["recall"] for row in found.distances]
    assert recalls == sorted(recalls)
    assert recalls[0] >= 0.5
    assert recalls[-1] == 1.0


def test_idle_intervals_by_stream(view: View, tmp_path: Path) -> None:
    first, last = PLANTED.idle[0]
    exact = held(view, tmp_path, {"idle": [{"stream_id": "cam", "start_idx": first, "end_idx": last}]})
    assert exact.idle == [{"stream_id": "cam", "iou": 1.0, "n_labelled": 1, "n_found": 1, "boundary_error": 0.0}]
    none = held(view, tmp_path, {"idle": [{"stream_id": "cam"}]})
    assert none.idle[0]["iou"] == 0.0


def test_missing_frames_are_named(view: View, tmp_path: Path) -> None:
    document = {
        "frames": [{"stream_id": "cam", "frame_idx": 10_000, "dark": True}],
        "idle": [{"stream_id": "nowhere", "start_idx": 1, "end_idx": 2}],
    }
    with pytest.raises(UserError) as caught:
        held(view, tmp_path, document)
    assert caught.value.problems == [
        "1 labelled frames are not in the workspace, such as cam 10000",
        "labelled stream 'nowhere' is not in the workspace",
    ]


def test_results_are_plain_values_and_a_page(view: View, tmp_path: Path) -> None:
    document = {
        "frames": [{"stream_id": "cam", "frame_idx": n, "dark": n in PLANTED.dark, "blurry": True} for n in range(90)],
        "pairs": [pair(0, 1, True)],
        "idle": [{"stream_id": "cam"}],
    }
    found = held(view, tmp_path, document)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    blurry = next(f for f in plain["flags"] if f["flag"] == "blurry")
    assert (blurry["auc"], blurry["n_negative"]) == (None, 0)
    html = page(found, "Title & more", "labels.json")
    assert html.count("<svg") == 2
    assert "Title &amp; more" in html
    assert "nan" not in html.lower().replace("tenant", "")


def test_thresholds_are_suggested_for_pairs_and_intervals(view: View, tmp_path: Path) -> None:
    first, last = PLANTED.idle[0]
    document = {
        "pairs": [*(pair(a, b, True) for a, b in {**PLANTED.exact, **PLANTED.near}.items()), pair(0, 30, False)],
        "idle": [{"stream_id": "cam", "start_idx": first, "end_idx": last}],
    }
    found = held(view, tmp_path, document)
    # What is configured does as well as anything: there is nothing to change.
    assert [(row["parameter"], row["suggested"]) for row in found.thresholds] == [
        ("duplicates.hamming", DuplicateParams().hamming),
        ("duplicates.agreement", DuplicateParams().agreement),
        ("idle.threshold", IdleParams().threshold),
    ]
    assert found.thresholds[0]["suggested_recall"] == found.thresholds[2]["suggested_iou"] == 1.0
    assert "idle.threshold" in page(found, "Title", "labels.json")


def test_pairs_are_verified_with_the_parameters_of_the_run(sample_folder: Path, tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, sample_folder, settings=["duplicates.agreement=0", "idle.threshold=0.0001"])
    document = {
        "pairs": [*(pair(a, b, True) for a, b in PLANTED.near.items()), pair(0, 30, False), pair(5, 35, False)],
        "idle": [{"stream_id": "cam", "start_idx": a, "end_idx": b} for a, b in PLANTED.idle],
    }
    found = held(View.of(workspace), tmp_path, document)
    assert [row["verified_precision"] for row in found.distances] == [row["precision"] for row in found.distances]
    radius, agreement, idle = found.thresholds
    assert (radius["configured"], agreement["configured"], idle["configured"]) == (10, 0.0, 0.0001)
