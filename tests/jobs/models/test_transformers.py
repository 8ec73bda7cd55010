"""Detectors of torch through whole runs: rows are those of the detector, and problems are reported before any work."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import schemas
from conf import load
from conf.model_catalogue import catalogue
from jobs.core.errors import UserError
from jobs.models.locations import sha256
from jobs.models.weight_folders import digest
from jobs.models.weights_store import pull
from jobs.stages.build import build
from jobs.stages.detection import annotate_stage
from jobs.storage.workspace import Workspace
from tests.helpers import computed, go, rows, write_pictures
from tests.hub import standing_in
from tests.torch_models import LABELS, colored, pickled, write_blip, write_dfine
from transforms.models.caption import Captioner
from transforms.models.detect.detections import Thresholds
from transforms.models.detect.pretrained import PretrainedDetector, PretrainedSpec

pytest.importorskip("transformers", reason="the extra `transformers` is not installed")
N = 6


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dfine(tmp_path_factory.mktemp("weights") / "tiny-dfine")


def asked(weights: object, *more: str) -> list[str]:
    return [
        "stages=[annotate]",
        "annotate.frames=all",
        "annotate.detector=d-fine",
        f"annotate.weights={weights}",
        *more,
    ]


@pytest.mark.usefixtures("models_at_hand")
def test_rows_are_the_results_of_the_detector(workspace: Workspace, tmp_path: Path, weights: Path) -> None:
    frames = [colored(seed) for seed in range(N)]
    cam = write_pictures(tmp_path / "cam", frames)
    settings = asked(weights, "annotate.min_score=0.05", "annotate.max_objects=7", "resources.model_batch=4")
    assert computed(go(workspace, cam, settings=settings))["annotate"] == N
    found = rows(workspace, schemas.ANNOTATIONS).sort("frame_idx", "score", descending=[False, True])
    limits = Thresholds(0.05, 0.65, 7)
    spec = PretrainedSpec("DFineForObjectDetection", "d-fine", weights, "", "", LABELS, limits, batch=4)
    expected = PretrainedDetector(spec)(frames)
    assert sum(len(each) for each in expected) > N
    np.testing.assert_allclose(found["score"], np.concatenate([each.scores for each in expected]), atol=1e-5)
    boxes = found.select("bbox_x", "bbox_y", "bbox_w", "bbox_h").to_numpy()
    np.testing.assert_allclose(boxes, np.concatenate([each.boxes for each in expected]), atol=1e-2)
    assert set(found["category"]) <= set(LABELS)
    assert found.select("source", "model").unique().rows() == [("d-fine", "tiny-dfine")]
    cv2.imwrite(str(cam / "image_2.png"), colored(50))
    assert go(workspace, cam, settings=[*settings, "resources.model_batch=1"]).outcomes["annotate"].computed == 1


def test_the_key_depends_on_what_affects_the_result(weights: Path, tmp_path: Path) -> None:
    def key(*settings: str) -> str:
        return annotate_stage(load(settings=[*asked(weights), *settings]).config).key

    assert key() == key("resources.model_batch=7") == key("annotate.nms_iou=0.1") == key("annotate.size=32")
    other = write_dfine(tmp_path / "other", seed=1)
    words = tmp_path / "names.txt"
    words.write_text("a\nb\nc\n")
    assert (
        len({key(), key("annotate.precision=fp16"), key(f"annotate.weights={other}"), key(f"annotate.names={words}")})
        == 4
    )


def test_all_problems_are_reported_before_any_work(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path / "weights"))
    # The library has read its variable by now.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.pt").write_bytes(b"")
    (tmp_path / "names.txt").write_text("a\n")
    other = tmp_path / "other"
    other.mkdir()
    for file in weights.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "config.json").write_text('{"model_type": "bert"}')
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in weights.iterdir():
        (cut / file.name).write_bytes(file.read_bytes()[:40_000])
    for given, said in (
        ("null", ["weights dfine-small: there is nothing of that name .* run: winnow models pull dfine-small"]),
        (tmp_path / "empty", [r"expected config\.json in it"]),
        (tmp_path / "file.pt", ["expected a folder, as transformers writes it, found a file"]),
        (other, ["expected a model of type d_fine or .*, found bert"]),
        (cut, [r"model\.safetensors: incomplete"]),
        ("nobody/nothing", ["hf download nobody/nothing"]),
        (tmp_path / "none", ["there is no such file or folder", "None/names"]),
        (weights, ["expected 3 names, found 1"]),
    ):
        names = tmp_path / "None/names.txt" if len(said) > 1 else tmp_path / "names.txt"
        more = [f"annotate.names={names}"] if given == weights or len(said) > 1 else []
        with pytest.raises(UserError) as caught:
            annotate_stage(load(settings=asked(given, *more)).config)
        assert len(caught.value.problems) == len(said)
        for problem, part in zip(caught.value.problems, said, strict=True):
            assert re.search(part, problem), problem


def test_pickled_weights_come_from_a_repository_that_has_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path / "weights"))
    blip = write_blip(tmp_path / "blip")
    theirs = pickled(blip, tmp_path / "theirs")
    (theirs / "tf_model.h5").write_bytes(b"what nobody reads")
    file = theirs / "pytorch_model.bin"
    model = dataclasses.replace(catalogue()["blip-base"], sha256=sha256(file), size_bytes=file.stat().st_size)
    monkeypatch.setitem(catalogue(), "blip-base", model)
    assert model.repository is not None
    with standing_in(monkeypatch, theirs, model.repository, model.revision) as hub:
        entry = pull("blip-base")
    assert hub.fetched == {path.name for path in theirs.iterdir()} - {"tf_model.h5"}

    def said(*settings: str) -> list[str]:
        *_, stage = build(load(settings=["stages=[caption]", *settings]).config)
        assert stage.params["caption.weights_hash"] == (digest(blip) if settings else entry.sha256)
        assert stage.make is not None
        captioner = stage.make(1)
        assert isinstance(captioner, Captioner)
        return list(captioner.infer([captioner.prepare(colored(seed)) for seed in range(2)]))

    assert all(said())
    assert said() == said(f"caption.weights={blip}")
