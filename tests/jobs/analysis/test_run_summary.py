from __future__ import annotations

from typing import Any

import pytest

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


@pytest.mark.parametrize(
    ("kind", "remark"),
    [
        ("folder", "2 files skipped: several have one number"),
        ("video", "2 packets left out: several have one timestamp"),
    ],
)
def test_remarks_call_frames_what_they_are(kind: str, remark: str) -> None:
    assert stream_remarks(ROW | {"kind": kind}, {}) == [remark]
