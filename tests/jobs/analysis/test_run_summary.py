from __future__ import annotations

from typing import Any

from jobs.analysis.run_summary import stream_remarks

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
