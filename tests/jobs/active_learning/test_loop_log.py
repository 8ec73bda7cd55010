"""Records of a loop, and where they say that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.active_learning.loop_log import LoopLog, LoopState, loops_of
from jobs.active_learning.options import STEPS, LoopOptions
from jobs.core.errors import UserError
from jobs.storage import paths

OPTIONS = LoopOptions(name="yard", inputs=("cam1",), model="m", on="release:t", target="AP=0.5")


def started(folder: Path) -> LoopLog:
    log = LoopLog(paths.place(folder), "yard")
    assert log.add("started", {"options": OPTIONS.model_dump(mode="json"), "job_id": "j1"}, after=0)
    return log


def state_of(log: LoopLog) -> LoopState:
    state = log.state()
    assert state is not None
    return state


def do(log: LoopLog, number: int, step: str, **result: Any) -> None:
    log.add("begun", {"round": number, "step": step})
    log.add("done", {"round": number, "step": step, "result": result, "why": f"{step} is done"})


def test_of_two_who_start_a_loop_one_does(tmp_path: Path) -> None:
    first, second = (LoopLog(paths.place(tmp_path), "yard") for _ in range(2))
    data = {"options": OPTIONS.model_dump(mode="json"), "job_id": "j1"}
    assert (first.records(), second.records()) == ([], [])
    assert first.add("started", data, after=0)
    assert second.add("started", {**data, "job_id": "j2"}, after=0) is None
    assert state_of(second).job_id == "j1"
    assert loops_of(paths.place(tmp_path)) == ["yard"]


def test_a_step_that_was_begun_is_continued_with_the_job_that_it_had(tmp_path: Path) -> None:
    log = started(tmp_path)
    assert state_of(log).current is None
    log.add("begun", {"round": 1, "step": "annotate", "job_id": "a1", "submitted": {"kind": "run"}})
    current = state_of(log).current
    assert current is not None
    assert (current.step, current.steps["annotate"].job_id) == ("annotate", "a1")
    log.add("done", {"round": 1, "step": "annotate", "result": {"frames": 5}, "why": "so"})
    current = state_of(log).current
    assert current is not None
    assert (current.step, current.result("annotate"), current.result("route")) == ("route", {"frames": 5}, {})


def test_a_decision_ends_a_loop_and_an_undone_round_opens_it(tmp_path: Path) -> None:
    log = started(tmp_path)
    for step in STEPS[:-2]:
        do(log, 1, step)
    do(log, 1, "promote", holds=True, version=4)
    do(log, 1, "decide", decision="continue")
    between = state_of(log)
    assert (between.current, between.ended, between.version) == (None, None, 4)
    for step in STEPS[:-2]:
        do(log, 2, step)
    do(log, 2, "promote", holds=False, version=5)
    do(log, 2, "decide", decision="target_met")
    over = state_of(log)
    assert (over.ended, over.version, len(over.counted)) == (("target_met", "decide is done"), 4, 2)
    log.add("undone", {"round": 2, "by": "ann", "why": "requested"})
    undone = state_of(log)
    assert (undone.ended, undone.current, [each.number for each in undone.counted]) == (None, None, [1])
    log.add("undone", {"round": 1, "by": "ann", "why": "requested"})
    assert state_of(log).version is None


def test_a_loop_that_is_to_stop_continues_where_somebody_resumes_it(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.add("stop", {"by": "ann"})
    assert (state_of(log).is_to_stop, state_of(log).stopped_by) == (True, "ann")
    log.add("resumed")
    assert not state_of(log).is_to_stop


def test_names_and_words_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="loop name"):
        LoopLog(paths.place(tmp_path), "../yard")
    with pytest.raises(ValueError, match="no word of a loop"):
        started(tmp_path).add("finished")
