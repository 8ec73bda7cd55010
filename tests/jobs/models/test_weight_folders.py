"""Weights that are folders: brought here whole, under one hash, or not at all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from conf.model_catalogue import Model, catalogue
from jobs.core.errors import RunFailedError, UserError
from jobs.models.weight_folders import config_of, digest, files, licence_in, revision_in, wanted
from jobs.models.weights_store import entries, of_folder, pull, pulled, resolve
from tests.hub import standing_in

pytest.importorskip("safetensors", reason="the extra `transformers` is not installed")


def write(folder: Path, value: float = 1.0) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "d_fine"}))
    (folder / "README.md").write_text("---\nlibrary: x\nlicense: apache-2.0\ntags:\n- a\n---\n# A card\n")
    (folder / "pytorch_model.bin").write_bytes(b"what nobody reads where there are others")
    save_file({"weight": np.full((2, 2), value, np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder that does not exist yet."""
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def pin(monkeypatch: pytest.MonkeyPatch, name: str, weights: Path) -> Model:
    """Have the catalogue name this file as the weights of a model."""
    model = dataclasses.replace(catalogue()[name], sha256=digest(weights), size_bytes=weights.stat().st_size)
    monkeypatch.setitem(catalogue(), name, model)
    return model


def test_the_hash_of_a_folder_covers_the_files_that_affect_results(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    assert [file.name for file in files(one)] == ["config.json", "model.safetensors"]
    (other / "README.md").write_text("another card")
    (other / "pytorch_model.bin").unlink()
    assert digest(one) == digest(other) != digest(write(tmp_path / "third", 2.0))
    assert (licence_in(one), licence_in(other)) == ("apache-2.0", None)
    assert config_of(one) == {"model_type": "d_fine"}
    (other / "config.json").write_text("{}")
    assert digest(one) != digest(other)


@pytest.mark.usefixtures("unpinned")
def test_a_pulled_folder_is_verified_by_its_hash(tmp_path: Path, place: Path) -> None:
    source = write(tmp_path / "source")
    entry = pull("dfine-small", str(source))
    assert (entry.state, entry.sha256, entry.pinned) == ("present", digest(source), "first pull")
    assert sorted(p.name for p in place.iterdir()) == ["dfine-small", "weights.json"]
    assert not (place / "dfine-small/pytorch_model.bin").exists()
    assert resolve("dfine-small").path == pulled("dfine-small").path == place / "dfine-small"
    (place / "dfine-small/config.json").write_text('{"model_type": "another"}')
    assert entries(["dfine-small"], verify=True)[0].state == "altered"
    with pytest.raises(UserError, match=r"is not what was pulled .*run: winnow models pull dfine-small"):
        pulled("dfine-small")
    with pytest.raises(RunFailedError, match="the first pull recorded"):
        pull("dfine-small", str(write(tmp_path / "second", 2.0)))
    assert pull("dfine-small", str(source)).state == "present"
    assert sorted(p.name for p in place.iterdir()) == ["dfine-small", "weights.json"]


def test_the_catalogue_names_the_weights_of_a_folder_and_the_first_pull_records_the_rest(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, other = write(tmp_path / "source"), write(tmp_path / "other", 2.0)
    with pytest.raises(RunFailedError, match=r"has .* bytes, but the catalogue names 41,497,620, of revision f79e"):
        pull("dfine-small", str(source))
    model = pin(monkeypatch, "dfine-small", source / "model.safetensors")
    (before,) = entries(["dfine-small"])
    assert (before.pinned, before.sha256, before.size_bytes) == ("catalogue", None, model.size_bytes)
    for force in (False, True):
        with pytest.raises(RunFailedError, match=rf"model\.safetensors of {other} has SHA-256 .* names {model.sha256}"):
            pull("dfine-small", str(other), force=force)
    assert list(place.iterdir()) == []
    entry = pull("dfine-small", str(source))
    assert (entry.pinned, entry.state, entry.sha256) == ("catalogue", "present", digest(source))
    assert entry.size_bytes == sum(file.stat().st_size for file in files(source))
    assert entry.to_dict()["published_sha256"] == model.sha256 != entry.sha256
    # All files are held to what came first; what the catalogue does not name, the user may trust.
    (source / "config.json").write_text('{"model_type": "d_fine", "more": 1}')
    with pytest.raises(RunFailedError, match=r"the first pull recorded .*--force"):
        pull("dfine-small", str(source))
    assert pulled("dfine-small").sha256 == entry.sha256
    assert pull("dfine-small", str(source), force=True).sha256 == digest(source) == pulled("dfine-small").sha256
    (place / "dfine-small/model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="is not what was pulled"):
        pulled("dfine-small")
    with pytest.raises(RunFailedError, match="the catalogue names"):
        pull("dfine-small", str(other), force=True)
    (source / "more.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    with pytest.raises(RunFailedError, match=r"one file of weights, but .* has 2 \(model\.safetensors, more\.safete"):
        pull("dfine-small", str(source), force=True)


@pytest.mark.parametrize(
    ("there", "weights"),
    [
        (["model.safetensors", "pytorch_model.bin", "sam3.pt"], ["model.safetensors"]),
        (["model.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
            None,
        ),
        (["pytorch_model.bin", "tf_model.h5", "training_args.bin"], ["pytorch_model.bin"]),
        (["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"], None),
        (["flax_model.msgpack", "onnx/model.safetensors"], []),
    ],
)
def test_weights_are_fetched_in_one_form(there: list[str], weights: list[str] | None) -> None:
    small = ["LICENSE.txt", "README.md", "config.json", "vocab.txt"]
    others = [".gitattributes", "picture.png", "onnx/config.json", ".eval.json"]
    assert set(wanted([*others, *there, *small])) == {*small, *(there if weights is None else weights)}


def test_the_hub_is_requested_for_the_revision_in_the_catalogue(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "source")
    model = pin(monkeypatch, "dfine-small", source / "model.safetensors")
    assert model.repository is not None
    with standing_in(monkeypatch, source, model.repository, model.revision) as hub:
        entry = pull("dfine-small")
        assert hub.fetched == {"README.md", "config.json", "model.safetensors"}
        assert (entry.state, entry.revision, entry.sha256) == ("present", model.revision, digest(source))
        # Weights of their own under the same name, and the same weights next to another file.
        write(tmp_path / "other", 2.0).joinpath("model.safetensors").replace(place / "dfine-small/model.safetensors")
        assert entries(["dfine-small"], verify=True)[0].fixes == "winnow models pull dfine-small"
        assert pull("dfine-small").sha256 == digest(source)
        hub.folder = tmp_path / "third"
        write(hub.folder, 3.0)
        with pytest.raises(RunFailedError, match=r"hf:ustc-community/\S+ has SHA-256 .* the catalogue names"):
            pull("dfine-small", force=True)
    assert pulled("dfine-small").sha256 == digest(source)
    with (
        standing_in(monkeypatch, source, model.repository, "0" * 40),
        pytest.raises(RunFailedError, match=rf"404.*hf download \S+ --revision {model.revision} --local-dir"),
    ):
        pull("dfine-small", force=True)
    assert sorted(p.name for p in place.iterdir()) == ["dfine-small", "weights.json"]


@pytest.mark.usefixtures("unpinned")
def test_a_branch_is_requested_at_the_commit_that_was_pulled(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, commit = write(tmp_path / "source"), "6f1ed8cd" * 5
    model = dataclasses.replace(catalogue()["dfine-small"], revision="main")
    monkeypatch.setitem(catalogue(), "dfine-small", model)
    assert model.repository is not None
    with standing_in(monkeypatch, source, model.repository, commit, branch="main"):
        assert pull("dfine-small").revision == commit
    (place / "dfine-small/config.json").unlink()
    # By now the branch is elsewhere.
    with standing_in(monkeypatch, source, model.repository, commit):
        assert (pull("dfine-small").state, pulled("dfine-small").sha256) == ("present", digest(source))


def test_a_folder_of_another_architecture_is_not_kept(tmp_path: Path, place: Path) -> None:
    source = write(tmp_path / "source")
    for name, types in (("sam2-tiny", "sam2 or sam2_video"), ("owlv2-base", "owlv2")):
        with pytest.raises(UserError, match=rf"expected a model of type {types}, but config\.json of .* says d_fine"):
            pull(name, str(source))
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("unpinned")
def test_an_altered_folder_is_detected_under_any_name(tmp_path: Path, place: Path) -> None:
    source = write(tmp_path / "source")
    pull("dfine-small", str(source))
    assert of_folder(place / "dfine-small", "mine").name == "dfine-small"
    assert of_folder(source, "mine").name == "dfine-small"
    (place / "dfine-small/config.json").write_text('{"model_type": "another"}')
    with pytest.raises(UserError, match=rf"run: winnow models pull dfine-small --from {source}"):
        of_folder(place / "dfine-small", "mine")


def test_the_commit_of_the_download_is_recorded(tmp_path: Path) -> None:
    local = pytest.importorskip("huggingface_hub._local_folder")
    folder = write(tmp_path / "fetched")
    assert revision_in(folder) is None
    local.write_download_metadata(folder, "config.json", commit_hash="6f1ed8cd" * 5, etag="e")
    assert revision_in(folder) == "6f1ed8cd" * 5


def test_incomplete_folders_are_not_kept(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = write(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:-3])
    with pytest.raises(UserError, match=r"model\.safetensors: incomplete"):
        pull("dfine-small", str(broken))
    with pytest.raises(UserError, match="expected a folder, as `hf download` makes it"):
        pull("dfine-small", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RunFailedError, match=r"hf download ustc-community/\S+ --revision f79e65.*--from FOLDER"):
        pull("dfine-small")
    assert list(place.iterdir()) == []
