"""`winnow submit`, `gateway`, `schedule`, `job watch` and `top` as scripts see them, without a gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.dispatch.control_token import VARIABLE
from jobs.dispatch.job_queue import JobQueue
from jobs.storage import paths
from jobs.storage.workspace import Workspace
from tests.helpers import problems, said, winnow, write_noise_stream

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that does not exist yet, next to a stream, both named by the environment or in place."""
    write_noise_stream(tmp_path / "cam", range(4))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINNOW_WORKSPACE", str(tmp_path / "tables"))
    return tmp_path / "tables"


def test_a_job_is_submitted_and_waits(place: Path) -> None:
    low = said(winnow("submit", "-i", "cam", "--json"))["job_id"]
    high = winnow("submit", "-i", "cam", "--priority", 3).output.strip()
    values = said(winnow("gateway", "status", "--json"))
    assert (values["gateway"], values["queue"], values["jobs"]["pending"]) == (None, {"depth": 2, "due": 2}, 2)
    assert [job["job_id"] for job in values["waiting"]] == [high, low]
    shown = winnow("gateway", "status").output
    assert "no gateway is running" in shown
    assert high in shown
    assert said(winnow("job", "cancel", low, "--json"))["state"] == "cancelled"
    assert said(winnow("gateway", "status", "--json"))["queue"]["depth"] == 1
    watched = winnow("job", "watch", low)
    assert (watched.exit_code, watched.output) == (5, "cancelled\n")


def test_a_dry_run_says_what_a_job_would_do_and_adds_none(place: Path) -> None:
    answer = said(winnow("submit", "-i", "cam", "--dry-run", "--json"))
    assert (answer["dry_run"], answer["frames"], answer["stages"]["frames"]["compute"]) == (True, 4, 4)
    assert not place.exists()


def test_all_problems_of_a_schedule_are_reported_before_it_is_saved(place: Path) -> None:
    found = problems(winnow("schedule", "add", "a b", "--cron", "0 99 * * *", "--tz", "Nowhere", "-i", "missing"))
    assert len(found) == 4
    assert not place.exists()


def test_a_schedule_runs_here_and_releases(place: Path) -> None:
    added = winnow("schedule", "add", "nightly", "--cron", "0 2 * * *", "--tz", "Europe/Berlin", "-i", "cam")
    assert added.exit_code == 0, added.output
    zone, line = added.output.splitlines()[-2:]
    assert zone == "CRON_TZ=Europe/Berlin"
    assert line.startswith("0 2 * * * ")
    assert line.endswith(f" schedule run-now nightly --here --workspace {place}")
    job_id = said(winnow("schedule", "run-now", "nightly", "--json"))["job_id"]
    (refused,) = problems(winnow("schedule", "run-now", "nightly"))
    assert refused == f"schedule 'nightly': job {job_id} is pending; wait, or cancel it first"
    # Here, what waits is run.
    ran = winnow("schedule", "run-now", "nightly", "--here", "--json")
    assert ran.exception is None, ran.exception
    assert json.loads(ran.output.splitlines()[0]) == {"job_id": job_id}
    (row,) = said(winnow("schedule", "list", "--json"))
    assert (row["name"], row["last_job"], row["state"]) == ("nightly", job_id, "done")
    assert row["next"].endswith((" 02:00 CET", " 02:00 CEST"))
    (release,) = said(winnow("release", "list", "--json"))
    assert release["name"].startswith("nightly-")
    assert release["job_id"] == job_id
    lines = [json.loads(line) for line in winnow("job", "watch", job_id, "--json").output.splitlines()]
    assert [e["data"]["added"] for e in lines if e["event"] == "release_made"] == [4]
    assert lines[-1]["event"] == "run_done"
    answer = winnow("job", "watch", job_id)
    assert answer.exit_code == 0
    assert "measure: 4 frames to do" in answer.output.splitlines()
    made, state = answer.output.splitlines()[-2:]
    assert made.startswith(f"release {release['name']}: 4 frames, ")
    assert state == "done"
    assert winnow("schedule", "remove", "nightly").exit_code == 0
    assert said(winnow("schedule", "list", "--json")) == []


def test_a_damaged_schedule_is_listed_with_the_others(place: Path) -> None:
    winnow("schedule", "add", "nightly", "--cron", "0 2 * * *", "-i", "cam")
    (place / "schedules" / "bad.json").write_text("{")
    listed = winnow("schedule", "list")
    assert listed.exit_code == 1
    assert "schedule 'bad': " in listed.stderr
    assert [word in listed.stdout for word in ("nightly", "bad", "damaged")] == [True] * 3
    answer = winnow("schedule", "list", "--json")
    assert answer.exit_code == 1
    assert [(row["name"], bool(row["error"])) for row in json.loads(answer.stdout)] == [
        ("bad", True),
        ("nightly", False),
    ]
    assert "winnow schedule remove bad" in problems(winnow("schedule", "run-now", "bad"))[0]
    assert winnow("schedule", "run-now", "nightly").exit_code == 0
    assert winnow("schedule", "remove", "bad").exit_code == 0
    assert winnow("schedule", "list").exit_code == 0


def test_every_word_about_a_job_asks_for_the_token(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = winnow("submit", "-i", "cam").output.strip()
    winnow("schedule", "add", "nightly", "--cron", "0 2 * * *", "-i", "cam")
    monkeypatch.setenv(VARIABLE, "correct-horse-battery")
    assert winnow("gateway", "require-token").exit_code == 0
    for wrong in (None, "wrong-horse-battery-x"):
        if wrong:
            monkeypatch.setenv(VARIABLE, wrong)
        else:
            monkeypatch.delenv(VARIABLE)
        for words in (
            ("submit", "-i", "cam"),
            *(("job", verb, job_id) for verb in ("pause", "resume", "cancel", "step", "clear")),
            ("job", "replay", job_id, "--from", "curation", "--promote"),
            ("job", "replay-stage", job_id, "quality"),
            ("job", "retry", job_id, "--only", "quarantined"),
            ("schedule", "add", "second", "--cron", "0 2 * * *", "-i", "cam"),
            ("schedule", "run-now", "nightly"),
            ("schedule", "remove", "nightly"),
            ("gateway", "stop"),
            ("gateway", "drop-token"),
        ):
            (problem,) = problems(winnow(*words))
            assert "control token" in problem, words
    assert [[r.word for r in job.records] for job in JobQueue(paths.place(place)).jobs()] == [["submitted"]]
    # To look is free.
    assert said(winnow("gateway", "status", "--json"))["queue"]["depth"] == 1
    monkeypatch.setenv(VARIABLE, "correct-horse-battery")
    assert said(winnow("job", "cancel", job_id, "--json"))["state"] == "cancelled"


def test_missing_gateways_and_schedules_are_reported(place: Path) -> None:
    for words in (("gateway", "stop"), ("gateway", "status"), ("job", "watch", "x"), ("schedule", "list"), ("top",)):
        assert "there is no workspace" in problems(winnow(*words))[0]
    Workspace.at(place).create()
    assert "has no gateway" in problems(winnow("gateway", "stop"))[0]
    assert "there is no job 'x'" in problems(winnow("job", "watch", "x"))[0]
    assert "is for a terminal" in problems(winnow("top"))[0]
    assert "was not claimed for this process" in problems(winnow("gateway", "execute", "x"))[0]


def test_a_service_is_shown_or_written(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shown = winnow("gateway", "install-service", "--print", "--max-jobs", 2).output
    assert f"--workspace {place} --max-jobs 2" in shown
    assert not (tmp_path / ".config").exists()
    # Every digit, and no exponent that a whole number could not be read from.
    long = winnow(
        "gateway", "install-service", "--print", "--max-jobs", 1_000_000, "--grace", 1234567, "--backoff", 0.5
    )
    assert "--max-jobs 1000000 --attempts 3 --backoff 0.5 --grace 1234567\n" in long.output
    written = winnow("gateway", "install-service", "--max-jobs", 2).output
    assert str(tmp_path / ".config/winnow/gateway.env") in written
    (unit,) = (tmp_path / ".config").rglob("*.service")
    assert unit.read_text() == shown
    assert str(unit) in written
