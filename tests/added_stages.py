"""Tries the stages of docs/add-a-stage.md, in a copy of the sources to which they were added.

`python -m tests.added_stages FOLDER` there; see test_add_a_stage.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers import said, winnow, write_pictures
from tests.reference import pages

_STAGES = "stages=[brightness_jumps, frame_tone, curation]"
_N = 8


def main() -> None:
    """Run the stages, compare what they find with what is known, and every command that follows from a declaration."""
    folder = Path(sys.argv[1])
    # Four frames of one grey, and four that are brighter by 60 and reddish.
    dark, light = np.full((64, 96, 3), 90, np.uint8), np.full((64, 96, 3), 150, np.uint8)
    light[:, :, 2] += 10
    frames = write_pictures(folder / "cam", [dark] * 4 + [light] * 4)
    place = ("--workspace", folder / "ws")
    asked = ("run", "--input", frames, *place, "--set", _STAGES, "--json")

    planned = said(winnow(*asked, "--dry-run"))["stages"]
    assert {name: planned[name]["compute"] for name in ("brightness_jumps", "frame_tone")} == _both(_N)
    first = said(winnow(*asked))
    assert {name: first["stages"][name]["computed"] for name in _both(_N)} == _both(_N)
    assert _sql(place, "SELECT frame_idx, change > 60 AS up FROM brightness_jumps") == [{"frame_idx": 4, "up": True}]
    assert _sql(place, "SELECT DISTINCT round(warmth) AS warm FROM frame_tone ORDER BY warm") == [
        {"warm": 0.0},
        {"warm": 10.0},
    ]
    assert _sql(place, "SELECT count(warmth) AS n FROM curated") == [{"n": _N}]
    again = said(winnow(*asked))
    assert {name: again["stages"][name]["reused"] for name in _both(_N)} == _both(_N)
    assert said(winnow(*asked, "--dry-run", "--set", "brightness_jumps.least=99"))["stages"]["brightness_jumps"][
        "reasons"
    ] == {"params changed: brightness_jumps.least": _N}
    warm = ("--set", "when.frame_tone=quality.luma_mean > 120")
    assert said(winnow(*asked, "--dry-run", *warm))["stages"]["frame_tone"]["rule"] == "(quality.luma_mean > 120)"

    changed = ("--from", "brightness_jumps", "--set", "brightness_jumps.least=99", "--json", *place)
    child = said(winnow("job", "replay", again["job_id"], *changed))
    assert {name: counts["computed"] for name, counts in child["stages"].items() if counts["computed"]} == {
        "brightness_jumps": _N
    }
    diff = json.loads(winnow("inspect", "run-diff", again["job_id"], child["job_id"], "--json", *place).stdout)
    assert {name: stage["differing"] for name, stage in diff["stages"].items() if stage["differing"]} == {
        "brightness_jumps": 1
    }
    job = said(winnow("inspect", "job", "--id", child["job_id"], "--json", *place))
    assert job["stages"]["frame_tone"]["reused"] == _N
    assert winnow("report", *place, "--out", folder / "report.html").exit_code == 0

    written = pages()
    assert "## brightness_jumps" in written["docs/tables.md"]
    assert "brightness_jumps.least" in written["docs/configuration.md"]
    assert "frame_tone.frames" in written["docs/configuration.md"]


def _both(n: int) -> dict[str, int]:
    return {"brightness_jumps": n, "frame_tone": n}


def _sql(place: tuple[Any, ...], query: str) -> Any:
    return json.loads(winnow("sql", query, "--format", "json", *place).stdout)


if __name__ == "__main__":
    main()
