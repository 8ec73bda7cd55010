from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.storage.workspace import FORMAT, Workspace
from tests import s3
from transforms.io import object_store


def test_a_workspace_in_a_bucket_is_marked_once(bucket: str) -> None:
    there = Workspace.at(f"{bucket}/night/tables/")
    assert not there.exists
    there.create()
    marker = (there.root / "winnow.json").read()
    assert json.loads(marker)["format"] == FORMAT
    Workspace.at(f"{bucket}/night/tables").create()
    assert (there.root / "winnow.json").read() == marker
    assert s3.keys(bucket) == ["night/tables/winnow.json"]
    with pytest.raises(UserError, match="expected a folder, found a prefix in a bucket"):
        _ = there.folder


def test_a_prefix_with_other_things_below_it_is_refused(bucket: str) -> None:
    object_store.put(f"{bucket}/photos/2026/1.jpg", b"x")
    with pytest.raises(UserError, match=f"workspace {bucket}/photos is a folder with other things in it"):
        Workspace.at(f"{bucket}/photos")
    assert not Workspace.at(f"{bucket}/pho").exists
    object_store.put(f"{bucket}/later/winnow.json", json.dumps({"format": FORMAT + 1}).encode())
    with pytest.raises(UserError, match="upgrade winnow"):
        Workspace.at(f"{bucket}/later")


def test_a_store_that_keeps_to_no_condition_is_refused(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3.flaky(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        proxy.fault = lambda method, path, number: "heedless"
        with pytest.raises(UserError, match=r"writes over what is there .* expected one with conditional writes"):
            Workspace.at(f"{bucket}/tables").create()
        assert s3.keys(bucket) == []


@pytest.mark.parametrize(
    "text", ["[]", "null", "3", '"x"', "{}", '{"format": null}', '{"format": "x"}', '{"format": true}', '{"format": 0}']
)
def test_a_marker_that_says_no_format_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "winnow.json").write_text(text)
    with pytest.raises(UserError) as caught:
        Workspace.at(tmp_path)
    (problem,) = caught.value.problems
    assert problem == (
        f"workspace {tmp_path}: winnow.json is damaged, expected an object that says the format of the tables, found "
        f'{text}; bring it back from a backup, or write {{"format": {FORMAT}}} into it'
    )
    (tmp_path / "winnow.json").write_text(f'{{"format": {FORMAT}}}')
    assert Workspace.at(tmp_path).exists


@pytest.mark.parametrize("name", ["x%20y", "a\tb", "a\nb"])
def test_a_place_that_tables_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="expected a path without"):
        Workspace.at(tmp_path / name / "tables")
    (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / name)
    with pytest.raises(UserError, match="expected a path without"):
        Workspace.at(tmp_path / "link" / "tables")


def test_a_percent_sign_alone_is_part_of_a_name(tmp_path: Path) -> None:
    assert Workspace.at(tmp_path / "100% of it" / "tables").create().exists
