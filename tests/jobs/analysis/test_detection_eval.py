from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from jobs.analysis.detection_eval import _category_ids, evaluate_files, page
from tests.onnx_graphs import SIDE

pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")


@pytest.mark.realdata
def test_scores_of_cocos_example_are_the_published_ones(real_data: Path) -> None:
    folder = real_data / "detection/cocoeval"
    expected = json.loads((folder / "expected_bbox_stats.json").read_text())
    labels = folder / "instances_val2014_100.json"
    found = evaluate_files(labels, folder / "instances_val2014_fakebbox100_results.json", "bbox", 0.25)
    assert list(found.scores.metrics) == expected["order"]
    assert list(found.scores.metrics.values()) == pytest.approx(expected["stats"], abs=1e-12)
    assert (found.n_images, found.n_truth, found.n_found) == (100, 839, 734)
    # The table of masks that the same repository publishes, to its three digits.
    masks = evaluate_files(labels, folder / "instances_val2014_fakesegm100_results.json", "segm", 0.25)
    assert [round(v, 3) for v in masks.scores.metrics.values()][:3] == [0.320, 0.562, 0.299]


def test_results_are_plain_values_and_a_page(tmp_path: Path) -> None:
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": SIDE, "height": SIDE}],
        "categories": [{"id": 1, "name": "a <b>"}, {"id": 2, "name": "never"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 40, 40]}],
    }
    results = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 40, 40], "score": 0.6}]
    for name, document in (("truth", truth), ("found", results)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    found = evaluate_files(tmp_path / "truth.json", tmp_path / "found.json", "bbox", 0.25)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert list(plain)[:3] == ["AP", "AP50", "AP75"]
    assert (plain["AP"], plain["APl"]) == (pytest.approx(1), None)
    assert [c["category"] for c in plain["classes"]] == ["a <b>"]
    html = page(found, "Title", "truth.json")
    assert "a &lt;b&gt;" in html
    assert "nan" not in html.lower()
    drawn = [part.split("</svg>")[0] + "</svg>" for part in html.split("<svg")[1:]]
    assert len(drawn) == 2
    assert "<th scope='row'>a &lt;b&gt;</th>" in html
    assert "<th scope='row'>background</th>" in html
    for part in drawn:
        ET.fromstring(f"<svg{part}")


def test_equal_names_come_before_names_that_differ_in_case() -> None:
    assert _category_ids(["bowl", "Bowl", "cup"], ["Bowl", "bowl", " CUP"]) == {"Bowl": 1, "bowl": 0, " CUP": 2}
    # Which of two bowls is meant cannot be known; and a cup that is found as such is not meant by another name.
    assert _category_ids(["bowl", "Bowl", "cup"], ["BOWL", "cup", "Cup"]) == {"cup": 2}
