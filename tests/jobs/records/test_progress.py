from __future__ import annotations

from typing import Any

import pytest

from jobs.records.progress import Progress

S = 10**9


def line(at_s: float, event: str, **fields: Any) -> dict[str, Any]:
    return {"at_ns": int(at_s * S), "event": event, "attempt": 1, "job_id": "j", **fields}


def test_a_rate_is_that_of_the_last_half_minute_and_the_rest_takes_as_long_as_it_says() -> None:
    progress = Progress(
        [line(0, "run_started", frames=10_000), line(0, "stage_started", stage="measure", frames=9_000)]
    )
    # A hundred frames in each of the first hundred seconds, then ten.
    for second in range(1, 101):
        progress.take(line(second, "block_done", frames=50 if second <= 60 else 10))
    values = progress.values(now_ns=100 * S)
    assert (values["done"], values["total"], values["stage"]) == (60 * 50 + 40 * 10, 9_000, "measure")
    assert values["frames_per_second"] == pytest.approx(10, rel=0.05)
    assert values["eta_s"] == pytest.approx((9_000 - 3_400) / 10, rel=0.05)


def test_a_stage_that_stands_still_has_no_rate_and_no_end() -> None:
    progress = Progress([line(0, "run_started"), line(0, "stage_started", stage="measure", frames=100)])
    progress.take(line(1, "block_done", frames=50))
    values = progress.values(now_ns=60 * S)
    assert (values["frames_per_second"], values["eta_s"]) == (0.0, None)


def test_a_new_attempt_starts_from_nothing() -> None:
    progress = Progress([line(0, "run_started", frames=5), line(0, "stage_started", stage="measure", frames=5)])
    progress.take(line(1, "block_done", frames=3))
    progress.take(line(2, "run_failed", error="the disk is full"))
    assert (progress.ended, progress.error) == ("failed", "the disk is full")
    progress.take(line(3, "run_started", frames=5) | {"attempt": 2})
    assert (progress.ended, progress.error, progress.stages, progress.attempt) == (None, None, {}, 2)


def test_a_stage_ends_where_the_next_begins() -> None:
    progress = Progress([line(0, "run_started"), line(0, "stage_started", stage="measure", frames=100)])
    progress.take(line(4, "block_done", frames=100))
    progress.take(line(5, "stage_started", stage="idle"))
    progress.take(line(6, "stage_done", stage="idle", frames=100, rows=100, seconds=1.0, data={"reused": 0}))
    progress.take(line(7, "run_done", frames=100))
    measured, idle = progress.stages["measure"], progress.stages["idle"]
    assert (measured.frames_per_second(), measured.eta_s(), idle.frames_per_second()) == (20.0, None, 0.0)
    assert progress.accounts["idle"] == {"frames": 100, "rows": 100, "seconds": 1.0, "reused": 0}
    assert progress.ended == "done"
