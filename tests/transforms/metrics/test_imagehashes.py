"""Hashes of imagehash in the table of fingerprints, compared with the package itself on the files."""

from __future__ import annotations

from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

import schemas
from conf import load
from jobs.stages.build import build
from jobs.storage.workspace import Workspace
from tests.helpers import go, noise, rows
from tests.torch_models import colored
from transforms.metrics.imagehashes import HASHES, FingerprintParams, imagehashes

SIZES = [(90, 160), (97, 131), (480, 640), (8, 8)]


def write(folder: Path) -> list[Path]:
    """Write colour and grey images as PNG and JPEG, of which the last one is no image."""
    folder.mkdir()
    files = []
    for at, size in enumerate(SIZES):
        image = Image.fromarray(colored(at, *size))
        files += [folder / f"{2 * at:03}.png", folder / f"{2 * at + 1:03}.jpg"]
        image.save(files[-2])
        image.save(files[-1], quality=80)
    files += [folder / "100.png", folder / "101.jpg"]
    Image.fromarray(noise(7)).save(files[-2])
    files[-1].write_bytes(b"no image")
    return files


def printed(file: Path) -> dict[str, str | None]:
    """Return the hashes that the package itself prints of a file."""
    with Image.open(file) as image:
        return {name: str(getattr(imagehash, name)(image)) for name in HASHES}


@pytest.mark.process
def test_rows_are_what_imagehash_prints_of_the_files(tmp_path: Path) -> None:
    files = write(tmp_path / "cam")
    workspace = Workspace.at(str(tmp_path / "tables"))
    go(workspace, tmp_path / "cam", settings=["fingerprints.also=[colorhash,dhash,whash]"])
    found = rows(workspace, schemas.FINGERPRINTS).select(HASHES).to_dicts()
    assert found[:-1] == [printed(file) for file in files[:-1]]
    assert found[-1] == dict.fromkeys(HASHES)
    assert len({row["dhash"] for row in found}) > len(SIZES)


@pytest.mark.process
def test_only_requested_hashes_are_computed(tmp_path: Path) -> None:
    files = write(tmp_path / "cam")
    workspace = Workspace.at(str(tmp_path / "tables"))
    go(workspace, tmp_path / "cam")
    assert rows(workspace, schemas.FINGERPRINTS).select(HASHES).to_dicts() == [dict.fromkeys(HASHES)] * len(files)
    again = go(workspace, tmp_path / "cam", settings=["fingerprints.also=[dhash]"])
    found = rows(workspace, schemas.FINGERPRINTS)
    assert found["dhash"].to_list()[:-1] == [printed(file)["dhash"] for file in files[:-1]]
    assert found["whash"].null_count() == found["colorhash"].null_count() == len(files)
    assert (again.outcomes["fingerprints"].computed, again.outcomes["quality"].computed) == (len(files), 0)


def test_hashes_are_as_long_as_their_columns_say() -> None:
    found = imagehashes(colored(3), HASHES)
    assert [len(found[name]) for name in HASHES] == [16, 16, 11]
    flat = imagehashes(np.full((20, 30, 3), 90, np.uint8), ("dhash",))
    assert flat == {"dhash": "0" * 16}


def key(*settings: str) -> str:
    return next(stage.key for stage in build(load(settings=settings).config) if stage.name == "fingerprints")


def test_the_key_depends_on_which_hashes_are_requested_and_on_nothing_else() -> None:
    assert key() == key("fingerprints.also=[]")
    both = {key("fingerprints.also=[dhash,whash]"), key("fingerprints.also=[whash,dhash,dhash]")}
    assert len(both) == 1
    assert len({key(), key("fingerprints.also=[dhash]"), *both}) == 3
    assert FingerprintParams(("whash", "dhash")).chosen == ("dhash", "whash")


def test_a_missing_package_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.core import optional_packages
    from jobs.core.errors import UserError

    monkeypatch.setattr(optional_packages, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"imagehash is not installed; .* pip install 'winnow\[imagehash\]'"):
        key("fingerprints.also=[dhash]")
    assert key()
