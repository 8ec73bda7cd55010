from __future__ import annotations

from pathlib import Path

import pytest

from jobs.dispatch.jsonlog import JsonLog, tail
from jobs.storage.paths import place


def test_events_are_lines_and_the_last_ones_can_be_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "below" / "log.jsonl"
    log = JsonLog(place(path), aloud=True)
    for number in range(5):
        log.write("job_started", job_id=f"j{number}", error=None)
    assert [line["job_id"] for line in tail(place(path), 2)] == ["j3", "j4"]
    assert set(tail(place(path), 1)[0]) == {"at_ns", "event", "job_id"}
    assert capfd.readouterr().err == path.read_text()
    assert tail(place(tmp_path / "none"), 3) == []


def test_a_log_never_grows_beyond_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.dispatch.jsonlog._BYTES", 2000)
    log = JsonLog(place(tmp_path / "log.jsonl"))
    for number in range(500):
        log.write("job_started", job_id=str(number))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4 * 2000
    assert tail(place(tmp_path / "log.jsonl"), 1)[0]["job_id"] == "499"


def test_a_log_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = JsonLog(place(Path("/dev/full")))
    log.write("job_started")
    assert capfd.readouterr().err == ""
