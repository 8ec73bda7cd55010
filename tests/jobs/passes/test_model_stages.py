"""Embeddings from one end of a run to the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import schemas
from conf import ConfigError, load
from jobs.core import optional_packages
from jobs.core.errors import UserError
from jobs.datasets.frame_sampling import SelectRequest, select
from jobs.runs.dry_run import forecast
from jobs.runs.prepare import RunRequest, prepare
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import (
    assert_one_live_row,
    computed,
    go,
    rows,
    scenery,
    write_clip,
    write_clip_model,
    write_noise_stream,
)
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import ImageParams
from transforms.models.embeddings import Embedder, EmbedderSpec, EmbedParams, vector_array


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip_model(tmp_path_factory.mktemp("weights") / "tiny")


def asked(weights: Path, *more: str) -> list[str]:
    stages = "stages=[quality, fingerprints, duplicates, curation, embeddings]"
    return [stages, f"embed.weights={weights}", "resources.model_batch=4", "resources.model_frames=8", *more]


def to_compute(workspace: Workspace, cam: Path, settings: list[str]) -> dict[str, tuple[int, dict[str, int]]]:
    """Return what each stage of a run would have to compute, and why."""
    stages = forecast(prepare(RunRequest(workspace, [str(cam)], load(settings=settings))))
    return {s.stage: (s.compute, s.reasons) for s in stages if s.compute}


@pytest.mark.usefixtures("engine")
def test_every_frame_has_the_vector_of_its_image(workspace: Workspace, tmp_path: Path, weights: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(12))
    (cam / "image_5.jpg").write_bytes(b"no image")
    clip = write_clip(tmp_path / "gate.mp4", scenery(20))
    record = go(workspace, cam, clip, settings=asked(weights))
    assert (record.outcomes["embeddings"].frames_in, record.outcomes["embeddings"].computed) == (31, 31)
    seen = View.of(workspace).lazy("embeddings").join(View.of(workspace).lazy("frames"), on=schemas.FRAME_KEY).collect()
    assert seen.height == 31
    embedder = Embedder(EmbedderSpec(weights, "", EmbedParams()), 1)
    with Clips() as clips:
        pictures = [open_frame(uri, None, ImageParams(), clips).color(32) for uri in seen["uri"]]
    expected = np.stack(embedder.infer([embedder.prepare(p) for p in pictures]))
    np.testing.assert_allclose(
        vector_array(seen.to_arrow()["vector"].cast(pa.list_(pa.float32()))), expected, atol=1e-5
    )
    assert_one_live_row(workspace)


@pytest.mark.usefixtures("models_at_hand")
def test_only_missing_frames_are_annotated(workspace: Workspace, tmp_path: Path, weights: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(10))
    go(workspace, cam, settings=asked(weights))
    assert computed(go(workspace, cam, settings=asked(weights))) == {}
    moved = go(workspace, cam, settings=asked(weights, "curation.dark_p95=90"))
    assert set(computed(moved)) == {"curation"}
    write_noise_stream(cam, [10], start=10)
    write_noise_stream(cam, [99], start=3)
    assert computed(go(workspace, cam, settings=asked(weights)))["embeddings"] == 2
    (cam / "image_0.jpg").unlink()
    record = go(workspace, cam, settings=asked(weights))
    assert (record.outcomes["embeddings"].computed, record.outcomes["embeddings"].removed) == (0, 1)
    assert rows(workspace, schemas.EMBEDDINGS)["frame_idx"].to_list() == list(range(1, 11))
    assert_one_live_row(workspace)
    other = write_clip_model(tmp_path / "other", seed=1)
    assert to_compute(workspace, cam, asked(other)) == {"embeddings": (10, {"params changed: embed.weights_hash": 10})}


@pytest.mark.usefixtures("models_at_hand")
def test_a_model_stage_can_be_limited_to_kept_frames(workspace: Workspace, tmp_path: Path, weights: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", [0, 0, 1, 1, 2, 2])
    record = go(workspace, cam, settings=asked(weights, "embed.frames=kept"))
    assert record.outcomes["embeddings"].computed == 3
    assert rows(workspace, schemas.EMBEDDINGS)["frame_idx"].to_list() == [0, 2, 4]
    assert to_compute(workspace, cam, asked(weights, "embed.frames=all")) == {"embeddings": (3, {"new": 3})}


def test_missing_weights_are_reported_before_any_work(
    workspace: Workspace, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(2))
    empty = tmp_path / "empty"
    empty.mkdir()
    file = weights / "open_clip_model.safetensors"
    for settings, hint in (
        (asked(tmp_path / "nowhere"), "there is no such file or folder"),
        (asked(empty), "expected open_clip_config.json in it"),
        (asked(file), "does not state its architecture"),
        (asked(file, "embed.model=ViT-B-33"), "no such architecture; similar: .*ViT-B-32"),
        (asked(weights, "embed.model=ViT-B-32"), "expected no value"),
    ):
        with pytest.raises(UserError, match=hint):
            go(workspace, cam, settings=settings)
    monkeypatch.setenv("WINNOW_WEIGHTS", str(weights.parent))
    request = RunRequest(workspace, [str(cam)], load(settings=asked(Path(weights.name))))
    assert [stage.name for stage in prepare(request).stages][-1] == "curation"
    monkeypatch.setattr(optional_packages, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"torch is not installed; it comes with: pip install 'winnow\[embeddings\]'"):
        go(workspace, cam, settings=asked(weights))


@pytest.mark.usefixtures("models_at_hand")
def test_groups_and_choices_by_what_frames_show(workspace: Workspace, tmp_path: Path, weights: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", [0, 0, 1, 2, 3])
    by_vector = asked(weights, "duplicates.by=embedding", "duplicates.cosine=0.999")
    go(workspace, cam, settings=by_vector)
    vectors = vector_array(rows(workspace, schemas.EMBEDDINGS).to_arrow()["vector"].cast(pa.list_(pa.float32())))
    groups = rows(workspace, schemas.DUPLICATES)
    for member in groups.to_dicts():
        cosine = vectors[member["frame_idx"]] @ vectors[member["representative_idx"]]
        assert member["cosine"] == pytest.approx(cosine, abs=1e-5)
        assert cosine > 0.999 - 1e-6
    assert groups["representative_idx"].to_list()[:2] == [0, 0]
    write_noise_stream(cam, [0], start=5)
    assert computed(go(workspace, cam, settings=by_vector))["duplicates"] == 1
    assert rows(workspace, schemas.DUPLICATES).head(5).equals(groups)
    verified = go(workspace, cam, settings=asked(weights, "duplicates.verify=embedding", "duplicates.cosine=0.999"))
    assert verified.outcomes["duplicates"].computed == 6
    assert rows(workspace, schemas.DUPLICATES)["representative_idx"].to_list()[:2] == [0, 0]
    found = select(workspace, SelectRequest("far", "diverse", n=2, quality=0))
    assert (found["by"], found["chosen"]) == ("embedding", 2)
    assert select(workspace, SelectRequest("far", "diverse", n=2, by="layout"))["by"] == "layout"
    with pytest.raises(ConfigError, match="expected all, found 'kept'"):
        go(workspace, cam, settings=[*by_vector, "embed.frames=kept"])


@pytest.mark.process
def test_a_frame_that_the_rule_no_longer_chooses_leaves_the_quarantine(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(6))
    settings = ["stages=[frames, annotate]", "annotate.detector=motion", "when.annotate=frame_idx % 2 = 0"]
    go(workspace, cam, settings=settings)
    # As a run leaves it that found a frame replaced while it was kept, and another frame still wanted.
    store = Store(workspace.root)
    about = {"stream_id": "cam", "stage": "annotate", "uri": "x", "error_type": "ContentChangedError", "error": "x"}
    held = [{**about, "frame_idx": at, "attempts": 1, "job_id": "a", "failed_ns": 1} for at in (1, 2)]
    table = pa.Table.from_pylist(held, schemas.QUARANTINE.arrow_schema)
    store.transact(schemas.QUARANTINE, lambda _: Change([write_part(store.root, schemas.QUARANTINE, table)]), "a")
    assert rows(workspace, schemas.QUARANTINE)["frame_idx"].to_list() == [1, 2]
    record = go(workspace, cam, settings=settings)
    # One was never wanted, the other is done.
    assert rows(workspace, schemas.QUARANTINE).is_empty()
    assert record.outcomes["annotate"].quarantined == 0
