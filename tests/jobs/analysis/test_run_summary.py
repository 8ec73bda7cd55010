from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.analysis.run_summary import stream_remarks, summary_lines
from jobs.engine.ray_engine import Engine
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream

ROW: dict[str, Any] = {
    "uri": "/a",
    "n_frames": 3,
    "gaps": [],
    "n_missing": 0,
    "n_ignored": 0,
    "n_repeated": 2,
    "sizes": [],
}


def test_the_summary_notes_unusual_streams() -> None:
    assert stream_remarks(ROW, {}) == ["2 files skipped: several have one number"]
    gaps = [{"start": 22, "end": 1_000_018}, {"start": 1_000_022, "end": 2_000_018}]
    assert stream_remarks(ROW | {"n_frames": 9, "n_repeated": 0, "gaps": gaps}, {}) == [
        "3 sequences that do not continue one another"
    ]
    assert stream_remarks(ROW | {"n_frames": 9, "n_repeated": 0, "gaps": gaps, "n_missing": 7}, {}) == [
        "7 numbers missing in 2 gaps"
    ]


def test_missing_evidence_and_frames_read_twice_are_named(tmp_path: Path, engine: Engine) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    stream = write_noise_stream(tmp_path / "cam", range(4))
    record = go(workspace, stream, settings=("stages=[curation]",))
    lines = summary_lines(record, workspace)
    assert lines[0].startswith("read 4 frames, decoded 4;")
    (missing,) = [line for line in lines if line.startswith("judged without")]
    assert "the stages idle and duplicates, which this run does not have" in missing
    assert missing.endswith("--add-stage idle --add-stage duplicates adds them")
    whole = go(workspace, stream)
    assert not [line for line in summary_lines(whole, workspace) if line.startswith("judged without")]
    counts = {"frames_visited": 4, "frames_read": 6, "frames_decoded": 6}
    again = summary_lines(replace(record, counts=counts), workspace)
    assert again[0].startswith("read 4 frames, 2 of them twice, decoded 4;")
