"""Dictionaries of brands in a workspace."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

import schemas
from jobs.core.errors import UserError
from jobs.ingest.brand_dictionary import import_dictionary
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import said, winnow


@pytest.fixture
def dictionary(workspace: Workspace, tmp_path: Path) -> Path:
    file = tmp_path / "brands.yaml"
    file.write_text("brands: [Nordvig, Ferrano]")
    workspace.create()
    import_dictionary(Store(workspace.root), file)
    return file


def test_a_dictionary_is_imported_and_listed(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "brands.yaml"
    logo = tmp_path / "logo.png"
    cv2.imwrite(str(logo), np.full((32, 32, 3), 9, np.uint8))
    file.write_text("brands: [{name: Nordvig, logos: [logo.png]}, Nordvik]")
    done = said(winnow("brands", "import", file, "--workspace", workspace.root, "--json"))
    assert done["added"] == ["Nordvig", "Nordvik"]
    assert "one letter apart" in done["warnings"][0]
    assert "Nordvig: logo logo.png has too few corners" in done["warnings"][1]
    listed = said(winnow("brands", "list", "--workspace", workspace.root, "--json"))
    assert [(row["brand"], row["logos"]) for row in listed] == [("Nordvig", ["logo.png"]), ("Nordvik", [])]
    version = Store(workspace.root).open(schemas.BRANDS).version
    assert said(winnow("brands", "import", file, "--workspace", workspace.root, "--json"))["unchanged"] == 2
    assert Store(workspace.root).open(schemas.BRANDS).version == version


def test_a_logo_that_is_no_file_is_refused_at_once(workspace: Workspace, tmp_path: Path) -> None:
    """A pipe that nobody writes to would be waited for."""
    os.mkfifo(tmp_path / "logo.png")
    file = tmp_path / "brands.yaml"
    file.write_text("brands: [{name: Nordvig, logos: [logo.png]}]")
    workspace.create()
    with pytest.raises(UserError, match="expected an image of at least 16 pixels"):
        import_dictionary(Store(workspace.root), file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("brands: [{name: A, logo: x.png}]", "did you mean logos"),
        ("brands: [{name: A, logos: [missing.png]}]", "missing.png"),
        ("brands: [{name: A, logos: [brands.yaml]}]", "expected an image"),
        ("brands: [", "brands.yaml"),
    ],
)
def test_a_wrong_dictionary_changes_nothing(workspace: Workspace, dictionary: Path, text: str, message: str) -> None:
    dictionary.write_text(text)
    with pytest.raises(UserError, match=message):
        import_dictionary(Store(workspace.root), dictionary)
    assert Store(workspace.root).read(schemas.BRANDS).num_rows == 2
