"""Checkpoints of the package `sam2` through whole runs; others are refused before any work."""

from __future__ import annotations

import shutil
from importlib import util
from pathlib import Path

import polars as pl
import pytest

import schemas
from conf import load
from conf.model_catalogue import catalogue
from jobs.core import optional_packages
from jobs.core.errors import UserError
from jobs.models.sam2_checkpoints import checkpoint
from jobs.stages.build import build
from jobs.storage.workspace import Workspace
from tests.helpers import computed, go, rows, write_pictures
from tests.onnx_graphs import write_end_to_end
from tests.sam2_checkpoints import write_sam2_package
from tests.torch_models import colored

pytest.importorskip("sam2", reason="the extra `sam2` is not installed")
pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")
N = 4
CHOSEN = ("segment.segmenter=sam2-package", "propagate.propagator=sam2-package")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam2_package(tmp_path_factory.mktemp("weights"))


def asked(folder: Path, weights: object, *more: str) -> list[str]:
    return [
        "stages=[annotate, segment, propagate]",
        "annotate.detector=onnx",
        f"annotate.weights={write_end_to_end(folder / 'red.onnx', 'N', {0: 'cat', 1: 'red'})}",
        "annotate.frames=all",
        "when.annotate=frame_idx = 0",
        f"segment.weights={weights}",
        f"propagate.weights={weights}",
        *CHOSEN,
        *more,
    ]


@pytest.mark.usefixtures("models_at_hand")
@pytest.mark.slow
def test_a_run_segments_and_propagates_with_the_package(workspace: Workspace, tmp_path: Path, weights: Path) -> None:
    frames = []
    for at in range(N):
        frame = colored(1)
        frame[20:60, 30 + 4 * at : 70 + 4 * at] = (0, 0, 255)
        frames.append(frame)
    done = computed(go(workspace, write_pictures(tmp_path / "cam", frames), settings=asked(tmp_path, weights)))
    assert {name: done[name] for name in ("annotate", "segment", "propagate")} == {
        "annotate": 1,
        "segment": 1,
        "propagate": N - 1,
    }
    masks, later = rows(workspace, schemas.MASKS), rows(workspace, schemas.PROPAGATIONS)
    assert masks["source"].unique().to_list() == later["source"].unique().to_list() == ["sam2-package"]
    assert later["frame_idx"].to_list() == [1, 2, 3]
    detected = rows(workspace, schemas.ANNOTATIONS).filter(pl.col("source") == "onnx")
    assert later["origin_id"].unique().to_list() == detected["annotation_id"].to_list()


def key(folder: Path, weights: object, *more: str) -> str:
    stages = build(load(settings=asked(folder, weights, *more)).config)
    return next(stage.key for stage in stages if stage.name == "segment")


def test_a_key_depends_on_weights_and_configuration_but_not_on_their_place(tmp_path: Path, weights: Path) -> None:
    copied = tmp_path / "elsewhere"
    shutil.copytree(weights.parent, copied)
    assert key(tmp_path, copied / weights.name) == key(tmp_path, weights)
    with open(copied / "tiny.yaml", "a") as file:
        file.write("# Another one.\n")
    assert key(tmp_path, copied / weights.name) != key(tmp_path, weights)


@pytest.mark.parametrize("named", ["sam2-tiny", "sam2.1-tiny"])
def test_the_default_is_the_first_checkpoint_of_the_catalogue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str
) -> None:
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path / "store"))
    with pytest.raises(UserError, match=r"weights sam2\.1-tiny: .* run: winnow models pull sam2\.1-tiny"):
        checkpoint("segment.weights", named, "sam2-tiny")


@pytest.mark.parametrize("named", ["sam2-tiny/", "dfine-nano"])
def test_models_of_another_kind_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    (tmp_path / "sam2-tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"expected a checkpoint of SAM 2 .* one of sam2\.1-tiny, sam2\.1-small"):
        checkpoint("segment.weights", named, "another")


def test_a_file_that_is_no_checkpoint_is_refused_before_any_work(tmp_path: Path) -> None:
    import torch

    torch.save({"model": {}}, tmp_path / "empty.pt")
    with pytest.raises(UserError, match=r"segment\.weights=.*empty\.pt: .*found no image encoder of SAM 2"):
        key(tmp_path, tmp_path / "empty.pt")


def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Path
) -> None:
    monkeypatch.setattr(optional_packages, "find_spec", lambda name: None if name == "sam2" else util.find_spec(name))
    with pytest.raises(UserError, match=r"sam2 is not installed; it comes with: pip install 'winnow\[sam2\]'"):
        key(tmp_path, weights)


def test_checkpoints_of_the_catalogue_are_files_of_the_extra() -> None:
    found = [model for model in catalogue().values() if model.extra == "sam2"]
    assert [model.name for model in found] == ["sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus", "sam2.1-large"]
    assert all(model.file.endswith(".pt") and model.source.endswith(f"/{model.file}") for model in found)
