from __future__ import annotations

from pathlib import Path

import pytest

from jobs.dispatch.jsonlog import JsonLog
from jobs.storage.paths import place
from tests.helpers import log_events


def test_events_are_json_lines_in_the_file_and_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "below" / "log.jsonl"
    log = JsonLog(place(path), aloud=True)
    for number in range(5):
        log.write("job_started", job_id=f"j{number}", error=None)
    assert [line["job_id"] for line in log_events(path, 2)] == ["j3", "j4"]
    assert set(log_events(path, 1)[0]) == {"at_ns", "event", "job_id"}
    assert capfd.readouterr().err == path.read_text()


def test_a_log_never_grows_beyond_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.dispatch.jsonlog._BYTES", 2000)
    log = JsonLog(place(tmp_path / "log.jsonl"))
    for number in range(500):
        log.write("job_started", job_id=str(number))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4 * 2000
    assert log_events(tmp_path / "log.jsonl", 1)[0]["job_id"] == "499"


def test_a_log_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = JsonLog(place(Path("/dev/full")))
    log.write("job_started")
    assert capfd.readouterr().err == ""
