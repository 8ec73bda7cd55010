"""Every command works where names have the characters that mean something in URIs, globs, partitions and shells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import s3
from tests.helpers import copy_stream, problems, said, winnow, write_noise_stream

ODD = "a b#c?ü{d}[e]*=f 100% & 'g'"


@pytest.mark.usefixtures("engine")
def test_all_commands_work_with_odd_paths(tmp_path: Path, sample_folder: Path) -> None:
    here = tmp_path / ODD / "date=2024-01-15"
    cam = copy_stream(sample_folder, here / "cam ü=1")
    place = ("--workspace", here / "tables")
    first = said(winnow("run", "--input", cam, *place, "--json"))
    assert first["frames"] == 122
    again = said(winnow("run", "--input", cam, *place, "--set", "curation.dark_mean=20", "--json"))
    assert {name for name, stage in again["stages"].items() if stage["computed"]} == {"curation"}
    counted = winnow("sql", "SELECT count(*) AS n FROM curated WHERE keep", "--format", "json", *place)
    kept = json.loads(counted.stdout)[0]["n"]
    assert kept > 50
    assert winnow("release", "create", "v=1", *place).exit_code != 0
    assert winnow("release", "create", "v1", *place).exit_code == 0
    for format_ in ("coco", "yolo", "parquet"):
        out = here / f"out {format_}"
        assert winnow("export", "--format", format_, "--release", "v1", "--out", out, *place).exit_code == 0
        assert (out / "manifest.json").exists()
    assert winnow("report", "--out", here / "report?.html", *place).exit_code == 0
    assert winnow("tables", "optimize", *place).exit_code == 0
    assert winnow("tables", "vacuum", *place).exit_code == 0
    checked = said(winnow("doctor", "--quick", "--json", *place))
    assert not [each for each in checked["findings"] if each["level"] == "broken" and each["table"]]
    counted = winnow("sql", "SELECT count(*) AS n FROM curated WHERE keep", "--format", "json", *place)
    assert json.loads(counted.stdout)[0]["n"] == kept


@pytest.mark.slow
@pytest.mark.usefixtures("engine")
# Each command sees all of these names, one in the other: what one of them is read as, all below it is lost with.
@pytest.mark.parametrize("name", ["a b/a#b/a?b/ü", "#?&/{a}/date=2024-01-15/a*b [e] 100%"])
def test_all_commands_work_with_odd_prefixes_in_a_bucket(name: str, tmp_path: Path, bucket: str) -> None:
    frames = write_noise_stream(tmp_path / "cam", [1, 2, 3, 3])
    here = f"{bucket}/{name}"
    last = name.rpartition("/")[2]
    cam = s3.upload(frames, f"{here}/cam {last}")
    place = ("--workspace", f"{here}/tables")
    assert said(winnow("run", "--input", cam, *place, "--json"))["frames"] == 4
    again = said(winnow("run", "--input", cam, *place, "--set", "curation.dark_mean=20", "--json"))
    assert {stage for stage, done in again["stages"].items() if done["computed"]} == {"curation"}
    assert again["counts"]["kept"] == 3
    assert winnow("release", "create", "v1", *place).exit_code == 0
    for out in (f"{here}/out", tmp_path / "out"):
        assert winnow("export", "--format", "coco", "--release", "v1", "--out", out, *place).exit_code == 0
    assert f"{name}/out/manifest.json" in s3.keys(bucket)
    assert (tmp_path / "out/manifest.json").exists()
    assert winnow("report", "--out", f"{here}/r {last}.html", *place).exit_code == 0
    assert said(winnow("inspect", "stream", "--path", cam, *place, "--json"))["kept"] == 3
    for command in ("optimize", "vacuum"):
        assert winnow("tables", command, *place).exit_code == 0
    checked = said(winnow("doctor", "--quick", "--json", *place))
    assert not [each for each in checked["findings"] if each["level"] == "broken" and each["table"]]
    # Nothing went to another prefix than the one that was named.
    assert all(key.startswith(f"{name}/") for key in s3.keys(bucket))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", ["tab\there", "..", "a//b", "."])
def test_keys_that_no_client_takes_are_refused_before_any_work(name: str, tmp_path: Path) -> None:
    cam, tables = write_noise_stream(tmp_path / "cam", [1, 2]), tmp_path / "tables"
    assert winnow("run", "--input", cam, "--workspace", tables).exit_code == 0
    odd, place = f"s3://frames/{name}", ("--workspace", tables)
    calls: list[tuple[object, ...]] = [
        ("run", "--input", f"{odd}/cam", *place),
        ("run", "--input", cam, "--workspace", f"{odd}/tables"),
        ("export", "--format", "coco", "--out", f"{odd}/out", *place),
        ("report", "--out", f"{odd}/report.html", *place),
    ]
    for words in calls:
        (problem,) = problems(winnow(*words))
        assert "expected a key without" in problem


def test_every_wrong_input_is_named_at_once(tmp_path: Path) -> None:
    found = problems(
        winnow("run", "-i", "s3://frames/tab\there", "-i", tmp_path / "nowhere", "-w", tmp_path / "tables")
    )
    assert [line.split(":")[0].split(" does")[0] for line in found] == ["input 's3", f"input {tmp_path / 'nowhere'}"]


@pytest.mark.parametrize("name", ["100%20", "tab\there"])
def test_a_workspace_where_no_table_can_be_is_refused_by_every_command(name: str, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", [1])
    here = tmp_path / name
    here.mkdir()
    calls: list[tuple[object, ...]] = [
        ("run", "--input", cam),
        ("sql", "SELECT 1"),
        ("release", "create", "v1"),
        ("export", "--format", "coco", "--out", tmp_path / "out"),
        ("report", "--out", tmp_path / "report.html"),
        ("job", "list"),
    ]
    for words in calls:
        (problem,) = problems(winnow(*words, "--workspace", here / "tables"))
        assert "no table can be below a name with control characters" in problem
    assert list(here.iterdir()) == []
