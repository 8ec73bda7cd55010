"""How long a forecast run may take: by what its stages took per frame when they ran last in this workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import schemas
from jobs.core.stage import Stage
from jobs.runs.dry_run import StageForecast
from jobs.storage.store import Store

_COLUMNS = ("job_id", "stage", "stage_key", "state", "frames_in", "computed", "seconds")


def expected_seconds(
    store: Store, stages: Sequence[Stage], forecasts: Iterable[StageForecast]
) -> dict[str, float | None]:
    """Return how many seconds each stage may take to compute what is forecast; None where it never ran here.

    Stages of one pixel pass share their time, so that of these the longest counts, as in `in_all`.
    """
    known = {stage.name: stage for stage in stages}
    rows = [row for row in store.read(schemas.STAGE_RUNS, _COLUMNS).to_pylist() if row["state"] == "done"]
    rows.sort(key=lambda row: str(row["job_id"]))
    of_pass: dict[str, int] = {}
    pixels = {stage.name for stage in stages if stage.kind == "pixels"}
    for row in rows:
        if row["stage"] in pixels:
            of_pass[row["job_id"]] = max(of_pass.get(row["job_id"], 0), row["computed"] or 0)
    per_frame: dict[tuple[str, str], float] = {}
    for row in rows:
        if not row["computed"] or row["seconds"] is None:
            continue
        # Of table stages, rows may be intervals; what a forecast counts are frames.
        frames = of_pass.get(row["job_id"], 0) if row["stage"] in pixels else row["frames_in"] or row["computed"]
        if frames:
            # The newest one holds; the same stage with other settings where these never ran.
            per_frame[row["stage"], row["stage_key"]] = per_frame[row["stage"], ""] = row["seconds"] / frames
    found: dict[str, float | None] = {}
    for each in forecasts:
        rate = per_frame.get((each.stage, known[each.stage].key), per_frame.get((each.stage, "")))
        found[each.stage] = 0.0 if not each.compute else None if rate is None else each.compute * rate
    return found


def in_all(stages: Sequence[Stage], seconds: Mapping[str, float | None]) -> dict[str, Any]:
    """Return `seconds` of all stages whose time is known, and the names of those that are `unknown`."""
    pixels = {stage.name for stage in stages if stage.kind == "pixels"}
    together = max((value or 0.0 for name, value in seconds.items() if name in pixels), default=0.0)
    others = sum(value or 0.0 for name, value in seconds.items() if name not in pixels)
    return {"seconds": together + others, "unknown": [name for name, value in seconds.items() if value is None]}
