"""Weights that are folders: brought here whole, under one hash, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jobs.errors import RunFailedError, UserError
from jobs.provisioning.folders import config_of, digest, files, licence_in, revision_in
from jobs.provisioning.modelfiles import entries, of_folder, pull, pulled, resolve

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


def test_a_folder_has_a_hash_of_what_decides_what_it_says(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    assert [file.name for file in files(one)] == ["config.json", "model.safetensors"]
    (other / "README.md").write_text("another card")
    (other / "pytorch_model.bin").unlink()
    assert digest(one) == digest(other) != digest(write(tmp_path / "third", 2.0))
    assert (licence_in(one), licence_in(other)) == ("apache-2.0", None)
    assert config_of(one) == {"model_type": "d_fine"}
    (other / "config.json").write_text("{}")
    assert digest(one) != digest(other)


def test_a_folder_is_pulled_and_held_to_its_hash(tmp_path: Path, place: Path) -> None:
    source = write(tmp_path / "source")
    entry = pull("dfine-small", str(source))
    assert (entry.state, entry.sha256) == ("present", digest(source))
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


def test_a_folder_of_another_architecture_is_not_kept(tmp_path: Path, place: Path) -> None:
    source = write(tmp_path / "source")
    for name, types in (("sam2-tiny", "sam2 or sam2_video"), ("owlv2-base", "owlv2")):
        with pytest.raises(UserError, match=rf"expected a model of type {types}, but config\.json of .* says d_fine"):
            pull(name, str(source))
    assert list(place.iterdir()) == []


def test_an_altered_folder_is_found_whatever_it_is_called(tmp_path: Path, place: Path) -> None:
    source = write(tmp_path / "source")
    pull("dfine-small", str(source))
    assert of_folder(place / "dfine-small", "mine").name == "dfine-small"
    assert of_folder(source, "mine").name == "dfine-small"
    (place / "dfine-small/config.json").write_text('{"model_type": "another"}')
    with pytest.raises(UserError, match=rf"run: winnow models pull dfine-small --from {source}"):
        of_folder(place / "dfine-small", "mine")


def test_the_commit_that_the_hub_gave_is_known(tmp_path: Path) -> None:
    local = pytest.importorskip("huggingface_hub._local_folder")
    folder = write(tmp_path / "fetched")
    assert revision_in(folder) is None
    local.write_download_metadata(folder, "config.json", commit_hash="6f1ed8cd" * 5, etag="e")
    assert revision_in(folder) == "6f1ed8cd" * 5


def test_what_is_not_whole_is_not_kept(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = write(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:-3])
    with pytest.raises(UserError, match=r"model\.safetensors: not whole"):
        pull("dfine-small", str(broken))
    with pytest.raises(UserError, match="expected a folder, as `hf download` makes it"):
        pull("dfine-small", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RunFailedError, match=r"hf download ustc-community/dfine-small-coco .*--from FOLDER"):
        pull("dfine-small")
    assert list(place.iterdir()) == []
