from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs import demo
from jobs.cli.demo import print_result
from jobs.core.errors import UserError
from jobs.runs.run import run
from tests.helpers import SMALL

SAMPLE = replace(SMALL, timeline=(*SMALL.timeline[:1], ("visited", 24), *SMALL.timeline[1:]))


@pytest.mark.usefixtures("models_at_hand")
@pytest.mark.slow
def test_the_demo_finds_all_that_it_planted_and_says_where_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = demo.run_demo(tmp_path / "demo", run, SAMPLE)
    assert [(c["what"], c["found"] - c["planted"], c["extra"]) for c in result["checks"]] == [
        (what, 0, 0)
        for what in (
            "dark frames",
            "blurred frames",
            "overexposed frames",
            "corrupt files",
            "idle intervals",
            "gaps in the numbering",
            "exact repeats",
            "near repeats",
            "moving things",
        )
    ]
    assert Path(result["report"]).is_file()
    print_result(result)
    shown = capsys.readouterr().out
    assert "planted" in shown
    assert result["report"] in shown
    assert "winnow export" in shown
    other = demo.run_demo(tmp_path / "demo", run, replace(SAMPLE, seed=8))
    assert all(c["found"] == c["planted"] for c in other["checks"])
    demo.run_demo(tmp_path / "demo", run, SAMPLE)
    again = demo.run_demo(tmp_path / "demo", run, SAMPLE)
    assert all(stage["computed"] == 0 for stage in again["run"]["stages"].values())


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="holds other things"):
        demo.run_demo(tmp_path, run, SMALL)


def test_an_incomplete_sample_is_completed(tmp_path: Path) -> None:
    demo.write_sample(tmp_path, SMALL)
    whole = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    (tmp_path / "image_3.jpg").unlink()
    demo.write_sample(tmp_path, SMALL)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == whole
