from __future__ import annotations

from pathlib import Path

import pytest

from jobs.passes.pixel_worker import unless
from jobs.storage import paths
from tests.waiting import wait_until


@pytest.mark.parametrize("kind", ["disk", "bucket"])
@pytest.mark.process
def test_workers_continue_until_the_stop_flag_is_set(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = str(tmp_path) if kind == "disk" else request.getfixturevalue("bucket")
    stop_flag = paths.place(f"{folder}/.drain")
    go_on = unless(str(stop_flag))
    assert go_on()
    stop_flag.touch()
    wait_until(lambda: not go_on())


def test_a_store_that_does_not_answer_ends_nothing(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WINNOW_S3_RETRIES", "0")
    assert unless(f"{bucket}/.drain")()
