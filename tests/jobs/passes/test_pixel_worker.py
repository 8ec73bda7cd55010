from __future__ import annotations

import time
from pathlib import Path

import pytest

from jobs.passes.pixel_worker import unless
from jobs.storage import paths


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_workers_go_on_until_they_are_told_not_to(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = str(tmp_path) if kind == "disk" else request.getfixturevalue("bucket")
    drain = paths.place(f"{folder}/.drain")
    go_on = unless(str(drain))
    assert go_on()
    drain.touch()
    deadline = time.monotonic() + 20
    while go_on():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_store_that_does_not_answer_ends_nothing(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WINNOW_S3_RETRIES", "0")
    assert unless(f"{bucket}/.drain")()
