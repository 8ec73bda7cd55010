"""`winnow job` as scripts see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from jobs.cli.app import app
from jobs.engine import Engine
from jobs.errors import StoppedRunError, UserError
from jobs.inbox import Inbox
from tests.helpers import write_noise_stream

pytestmark = pytest.mark.usefixtures("engine")


def winnow(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def said(result: Result) -> Any:
    assert result.exception is None, result.exception
    return json.loads(result.output.splitlines()[-1])


def problems(result: Result) -> list[str]:
    assert isinstance(result.exception, UserError), result.output
    return result.exception.problems


def test_a_run_is_paused_stepped_and_resumed(tmp_path: Path, engine: Engine) -> None:
    cam, place = write_noise_stream(tmp_path / "cam", range(6)), tmp_path / "tables"
    paused = winnow("run", "-i", cam, "-w", place, "--pause-after", "quality", "--json")
    assert isinstance(paused.exception, StoppedRunError)
    assert paused.exception.exit_code == 4
    told = json.loads(paused.output.splitlines()[-1])
    assert (told["state"], told["stages"]["frames"]["computed"]) == ("paused", 6)
    job_id = told["job_id"]
    asked = said(winnow("job", "pause-after", "idle", job_id, "-w", place, "--json"))
    assert asked == {"job_id": job_id, "state": "paused", "request": "pause-after"}
    assert said(winnow("job", "pause", job_id, "-w", place, "--json"))["state"] == "paused"
    stepped = winnow("job", "step", job_id, "-w", place)
    assert isinstance(stepped.exception, StoppedRunError)
    assert "goes on with `winnow job resume" in stepped.exception.problems[0]
    assert said(winnow("job", "resume", job_id, "-w", place, "--json"))["state"] == "done"
    assert problems(winnow("job", "resume", job_id, "-w", place)) == [
        f"job {job_id} is done, expected one that is paused or has failed"
    ]
    assert problems(winnow("job", "clear", job_id, "-w", place)) == [f"job {job_id} made what the tables show of cam"]


def test_wrong_words_are_refused_all_at_once(tmp_path: Path) -> None:
    found = problems(winnow("run", "-i", "x", "--pause-after", "sharpness", "-w", __file__))
    assert len(found) == 2
    assert "is a file, expected a folder" in found[0]
    assert "stage 'sharpness' is not part of the job" in found[1]


def test_a_job_of_the_queue_is_left_to_gateways(tmp_path: Path, engine: Engine) -> None:
    cam, place = write_noise_stream(tmp_path / "cam", range(3)), tmp_path / "tables"
    assert winnow("run", "-i", cam, "-w", place).exit_code == 0
    inbox = Inbox(place, "queued")
    inbox.add("submitted")
    for words, state in (
        (("pause",), "paused"),
        (("resume",), "pending"),
        (("pause-after", "x"), None),
        (("cancel",), "cancelled"),
    ):
        result = winnow("job", *words, "queued", "-w", place, "--json")
        if state is None:
            assert isinstance(result.exception, UserError)
            continue
        assert said(result)["state"] == state
    assert said(winnow("job", "clear", "queued", "-w", place, "--json")) == {"job_id": "queued", "cleared": True}
    assert not inbox.folder.exists()
