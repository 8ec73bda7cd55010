from __future__ import annotations

import os
import pickle

import pyarrow as pa
import pytest

from jobs.engine.credential_forwarding import (
    ForwardedCredentials,
    WorkerWithCredentials,
    forwarded_credentials,
    with_credentials,
)
from transforms.io.credentials import options


def seen(block: pa.Table, name: str) -> pa.Table:
    return block.append_column("seen", pa.array([os.environ.get(name)]))


class Seer:
    def __init__(self, name: str) -> None:
        self.found = os.environ.get(name)

    def __call__(self, block: pa.Table) -> pa.Table:
        return block.append_column("seen", pa.array([self.found]))


BLOCK = pa.table({"n": [1]})


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of this process's own, which are put back in the end."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    values = {"ACCESS_KEY_ID": "mine", "SECRET_ACCESS_KEY": "secret", "REGION": "r", "ENDPOINT_URL": "http://mine"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "")


def test_nothing_is_forwarded_without_a_bucket() -> None:
    assert forwarded_credentials(["/mnt/frames", "frames"]) is None
    assert with_credentials(None, [(seen, {"name": "x"})]) == [(seen, {"name": "x"})]
    assert forwarded_credentials(["/mnt/frames", "s3://bucket/frames"]) is not None


def test_forwarded_credentials_replace_local_ones_and_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = forwarded_credentials(["s3://bucket/x"])
    assert credentials is not None
    assert "secret" not in f"{credentials!r} {credentials} {[credentials]}"
    sent = pickle.loads(pickle.dumps(credentials))
    there = {"AWS_ACCESS_KEY_ID": "theirs", "AWS_SECRET_ACCESS_KEY": "theirs", "AWS_SESSION_TOKEN": "theirs"}
    for name, value in {**there, "AWS_ENDPOINT_URL_S3": "http://theirs", "AWS_PROFILE": "theirs"}.items():
        monkeypatch.setenv(name, value)
    ((function, arguments),) = with_credentials(sent, [(seen, {"name": "AWS_SECRET_ACCESS_KEY"})])
    assert function(BLOCK, **arguments)["seen"].to_pylist() == ["secret"]
    assert dict(options()) == {
        "access_key_id": "mine",
        "secret_access_key": "secret",
        "region": "r",
        "endpoint": "http://mine",
    }
    assert WorkerWithCredentials(sent, Seer, "AWS_ACCESS_KEY_ID")(BLOCK)["seen"].to_pylist() == ["mine"]


def test_without_forwarded_keys_a_machine_uses_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://theirs")
    ForwardedCredentials({"AWS_REGION": "r", "AWS_ENDPOINT_URL_S3": "http://mine"}).take()
    found = options()
    assert (found["access_key_id"], found["endpoint"]) == ("mine", "http://mine")
