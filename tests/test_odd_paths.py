"""Every command works where names have the characters that mean something in URIs, globs, partitions and shells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers import copy_stream, said, winnow

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
