"""Workspace and inputs in a bucket: the same as on disk, for one and for several, with every fault of the store."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import boto3
import polars as pl
import pytest
from typer.testing import Result

import schemas
from jobs.core.errors import RunFailedError, UserError
from jobs.dispatch import control_token, daemon
from jobs.dispatch.job_queue import JobQueue
from jobs.engine import lazy_engine
from jobs.records.job_log import JobLog
from jobs.records.journal import events
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests import s3
from tests.helpers import (
    assert_one_live_row,
    assert_same_tables,
    computed,
    go,
    problems,
    said,
    scenery,
    winnow,
    write_clip,
    write_noise_stream,
)
from tests.waiting import ended
from transforms.io import object_store

# Where frames are, and when they were written, differs by nature.
PLACE = ("uri", "mtime_ns", "stat_id")
# Of every table there are requests; one stage is enough where the store, not the stage, is tested.
FEW = "stages=[quality]"
# Of a run with nothing to do; docs/objectstore.md tells its users.
MOST_REQUESTS = 200
SEEDS = (1, 2, 3, 3, 4, 5, 5, 6, 7, 8, 9, 9)

READER = """{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}]}"""

CLAIM = """
import sys, time
from jobs.dispatch.job_queue import JobQueue, due_jobs
from jobs.storage.paths import place
queue = JobQueue(place(sys.argv[1]))
sys.stdin.readline()
for job in due_jobs(queue.live(), time.time_ns()):
    if queue.claim(job):
        print(job.job_id)
"""


@pytest.fixture(autouse=True)
def measured_nearby(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in processes of the run's own: the session's engine began before there was a key to any bucket."""
    monkeypatch.setattr(lazy_engine, "_is_running", lambda: False)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen frames on disk."""
    return write_noise_stream(tmp_path_factory.mktemp("frames") / "cam", SEEDS)


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Workspace:
    """What a run over them on disk gives."""
    workspace = Workspace.at(tmp_path_factory.mktemp("reference") / "tables")
    go(workspace, frames, settings=[FEW])
    return workspace


@pytest.mark.slow
def test_a_run_in_a_bucket_gives_the_rows_of_one_on_disk(
    bucket: str, s3_server: str, tmp_path: Path, sample_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"{bucket}/night/tables"
    there, here = Workspace.at(place), Workspace.at(tmp_path / "tables")
    source = s3.upload(sample_folder, f"{bucket}/frames/cam")
    go(here, sample_folder)
    record = go(there, f"{source}/")
    assert_same_tables(here, there, PLACE)
    assert View.of(there).lazy("frames").collect()["uri"][0].startswith(f"{source}/image_")
    assert {e["event"] for e in events(there.root, record.job_id)} >= {"run_started", "committed", "run_done"}

    with s3.flaky(s3_server) as counting:
        monkeypatch.setenv("AWS_ENDPOINT_URL", counting.address)
        again = go(there, source)
        assert counting.n_requests < MOST_REQUESTS
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    assert computed(again) == {}
    assert again.counts["frames_decoded"] == 0

    query = "SELECT count(*) AS n FROM journal WHERE event = 'run_done'"
    assert said(winnow("sql", query, "-w", place, "--format", "jsonl")) == {"n": 2}
    assert winnow("release", "create", "v1", "-w", place).exception is None
    assert_exports_are_the_same(here, place, bucket, tmp_path)
    assert winnow("report", "-w", place, "--out", f"{bucket}/night.html").exception is None
    assert object_store.get(f"{bucket}/night.html").data.startswith(b"<!doctype html>")
    found = findings(winnow("doctor", "-w", place, "--quick", "--verify", "--json"))
    assert [found[name] for name in ("workspace", "tables", "files", "hashes")] == ["ok"] * 4
    assert said(winnow("inspect", "stream", "-w", place, "--path", source, "--json"))["n_frames"] == record.frames
    runs = said(winnow("inspect", "runs", "-w", place, "--json"))
    assert [run["state"] for run in runs] == ["done", "done"]
    assert said(winnow("tables", "vacuum", "-w", place, "--json"))
    assert said(winnow("sql", "SELECT count(*) AS n FROM curated", "-w", place, "--release", "v1", "--format", "jsonl"))
    object_store.delete(
        [entry.uri for entry in object_store.listing(f"{place}/quality") if entry.uri.endswith(".parquet")]
    )
    found = findings(winnow("doctor", "-w", place, "--quick", "--json"))
    assert (found["files"], found["tables"]) == ("broken", "ok")


def findings(result: Result) -> dict[str, str]:
    return {f["subject"]: f["level"] for f in json.loads(result.output.splitlines()[-1])["findings"]}


def assert_exports_are_the_same(here: Workspace, place: str, bucket: str, tmp_path: Path) -> None:
    out, local = f"{bucket}/sets/night", tmp_path / "night"
    assert winnow("export", "-w", here.root, "--format", "coco", "--out", local).exception is None
    for _ in range(2):
        assert winnow("export", "-w", place, "--format", "coco", "--out", out).exception is None
        names = sorted(path.relative_to(local).as_posix() for path in local.rglob("*") if path.is_file())
        assert sorted(s3.keys(out)) == names
        for name in (n for n in names if n.startswith("images/")):
            assert object_store.get(f"{out}/{name}").data == (local / name).read_bytes()
    assert winnow("export", "-w", place, "--format", "jsonl", "--out", out, "--overwrite").exception is None
    assert sorted(s3.keys(out)) == ["frames_default.jsonl", "manifest.json"]
    (problem,) = problems(winnow("export", "-w", place, "--format", "coco", "--out", f"{bucket}/sets"))
    assert problem.startswith(f"{bucket}/sets holds other things than an export, night/")
    (problem,) = problems(winnow("export", "-w", place, "-f", "coco", "--media", "link", "--out", f"{bucket}/linked"))
    assert "--media link" in problem
    (problem,) = problems(winnow("export", "-w", place, "-f", "coco", "--media", "link", "--out", tmp_path / "linked"))
    assert "no files that can be linked to" in problem


def test_clips_in_a_bucket_are_read_like_those_on_disk(bucket: str, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    write_clip(folder / "door.mp4", scenery(30))
    write_clip(folder / "below" / "gate.mkv", scenery(20))
    here, there = Workspace.at(tmp_path / "tables"), Workspace.at(f"{bucket}/tables")
    source = s3.upload(folder, f"{bucket}/clips")
    go(here, folder)
    assert go(there, source).streams == ["below/gate", "door"]
    assert_same_tables(here, there, (*PLACE, "error"))
    (problem,) = problems(winnow("run", "-w", there.root, "--input", f"{bucket}/nothing-here"))
    assert "holds no frames" in problem


@pytest.mark.slow
def test_two_writers_at_once_lose_nothing(bucket: str, frames: Path, tmp_path: Path) -> None:
    stages = "stages=[quality, duplicates]"
    here = Workspace.at(tmp_path / "tables")
    go(here, frames, settings=[stages])
    place, source = f"{bucket}/tables", s3.upload(frames, f"{bucket}/cam")
    settings = ("--set", "resources.commit_seconds=0.01", "--set", stages, "--json")
    both = [s3.winnow_process("run", "-w", place, "--input", source, *settings) for _ in range(2)]
    for process in both:
        code, _, errors = ended(process)
        assert code == 0, errors
    there = Workspace.at(place)
    assert_one_live_row(there)
    assert_same_tables(here, there, (*PLACE, "group_id"))
    assert View.of(there).lazy("runs").collect()["state"].to_list() == ["done", "done"]


def test_jobs_that_several_gateways_claim_at_once_are_each_claimed_once(bucket: str) -> None:
    there = Workspace.at(f"{bucket}/tables").create()
    jobs = [f"job-{number:02}" for number in range(20)]
    for job_id in jobs:
        assert JobLog(there.root, job_id).add("submitted", {"priority": 0}, after=0)
    command = [sys.executable, "-c", CLAIM, str(there.root)]
    many = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in many:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    claimed = [ended(process)[1].split() for process in many]
    assert sorted(job for some in claimed for job in some) == jobs
    for job_id in jobs:
        assert [record.word for record in JobLog(there.root, job_id).records()] == ["submitted", "claimed"]


def test_a_gateway_does_the_jobs_of_a_bucket(bucket: str, frames: Path, on_disk: Workspace) -> None:
    place, source = f"{bucket}/tables", s3.upload(frames, f"{bucket}/cam")
    job_id = said(winnow("submit", "-w", place, "--input", source, "--set", FEW, "--json"))["job_id"]
    root = Workspace.at(place).root
    daemon.start(root, ("--grace", "10"))
    try:
        (problem,) = problems(winnow("gateway", "start", "-w", place))
        assert "has a gateway already" in problem
        assert winnow("job", "watch", job_id, "-w", place).exit_code == 0
        status = said(winnow("gateway", "status", "-w", place, "--json"))
        assert (status["gateway"]["pid"] > 0, status["jobs"]["done"]) == (True, 1)
    finally:
        daemon.stop(root)
    assert_same_tables(on_disk, Workspace.at(place), PLACE)
    words = [record.word for record in JobLog(root, job_id).records()]
    assert words == ["submitted", "claimed", "started", "done"]
    assert {"gateway.jsonl", "gateway.lock"} <= set((root / "jobs").names())
    assert said(winnow("gateway", "status", "-w", place, "--json"))["gateway"] is None


def test_schedules_and_tokens_are_kept_in_a_bucket(bucket: str, frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, source = f"{bucket}/tables", s3.upload(frames, f"{bucket}/cam")
    added = ("schedule", "add", "nightly", "--cron", "0 2 * * *", "--input", source, "-w", place)
    assert winnow(*added).exception is None
    assert "schedule 'nightly' exists" in problems(winnow(*added))[0]
    (kept,) = said(winnow("schedule", "list", "-w", place, "--json"))
    assert (kept["name"], kept["inputs"]) == ("nightly", [source])
    job_id = said(winnow("schedule", "run-now", "nightly", "-w", place, "--json"))["job_id"]
    root = Workspace.at(place).root
    (job,) = JobQueue(root).live()
    assert (job.job_id, job.schedule, job.is_due(time.time_ns())) == (job_id, "nightly", True)
    monkeypatch.setenv(control_token.VARIABLE, "0123456789abcdef")
    assert winnow("gateway", "require-token", "-w", place).exception is None
    monkeypatch.delenv(control_token.VARIABLE)
    assert "asks for a control token" in problems(winnow("schedule", "remove", "nightly", "-w", place))[0]
    monkeypatch.setenv(control_token.VARIABLE, "0123456789abcdef")
    assert winnow("gateway", "drop-token", "-w", place).exception is None
    assert winnow("schedule", "remove", "nightly", "-w", place).exception is None
    assert winnow("job", "cancel", job_id, "-w", place).exception is None
    assert winnow("job", "clear", job_id, "-w", place).exception is None
    assert s3.keys(place) == ["winnow.json"]


@pytest.mark.slow
def test_a_store_that_throttles_and_drops_costs_time_alone(
    bucket: str, s3_server: str, frames: Path, on_disk: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = s3.upload(frames, f"{bucket}/cam")
    kinds = ("throttle", "drop", "mute", "cut")
    with s3.flaky(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        there = Workspace.at(f"{bucket}/tables")
        # At first it takes no rows at all: that is reported in a line, and costs what was done since the last commit.
        monkeypatch.setenv(object_store.RETRIES, "1")
        proxy.fault = lambda method, path, number: "throttle" if method == "PUT" and "/quality/stage" in path else None
        with pytest.raises(RunFailedError) as failed:
            go(there, source, settings=[FEW])
        (problem,) = failed.value.problems
        assert problem.startswith("the workspace: s3://")
        assert problem.endswith("503 Service Unavailable (Please reduce your request rate.)")
        monkeypatch.delenv(object_store.RETRIES)
        proxy.faults.clear()
        numbers: Counter[str] = Counter()

        def every_fifth(method: str, path: str, number: int) -> str | None:
            # No two one after the other: a request that is made again is heard.
            numbers[method] += 1
            turn, rest = divmod(numbers[method], 5)
            return None if rest else kinds[turn % 4]

        proxy.fault = every_fifth
        record = go(there, source, settings=[FEW])
        assert {kind for kind, _, _ in proxy.faults} == set(kinds)
        assert {method for _, method, _ in proxy.faults} >= {"GET", "PUT"}
        assert all(outcome.quarantined == 0 for outcome in record.outcomes.values())
        assert_one_live_row(there)
        assert_same_tables(on_disk, there, PLACE)


def test_a_commit_whose_answer_is_lost_is_made_once(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(Workspace.at(f"{bucket}/tables").create().root)
    store.create_tables()
    row = {"name": "v1", "manifest": "{}", "note": None, "job_id": "job", "created_ns": 1}
    rows = pl.DataFrame([row]).to_arrow().cast(schemas.RELEASES.arrow_schema)
    with s3.flaky(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        once = {"_delta_log/00000000000000000001.json"}

        def fault(method: str, path: str, number: int) -> str | None:
            for name in once:
                if method == "PUT" and path.endswith(name):
                    once.discard(name)
                    return "mute"
            return None

        proxy.fault = fault
        store.upsert(schemas.RELEASES, rows, "job")
        assert len(proxy.faults) == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    assert store.open(schemas.RELEASES).version == 1
    assert store.read(schemas.RELEASES).num_rows == 1


def test_a_frame_that_cannot_be_had_now_is_computed_by_the_next_run(
    bucket: str, s3_server: str, frames: Path, on_disk: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = s3.upload(frames, f"{bucket}/cam")
    there = Workspace.at(f"{bucket}/tables")
    monkeypatch.setenv(object_store.RETRIES, "1")
    with s3.flaky(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        proxy.fault = lambda method, path, number: "throttle" if path.endswith("/image_4.jpg") else None
        record = go(there, source, settings=[FEW])
        assert record.outcomes["quality"].quarantined == 1
        assert record.outcomes["quality"].corrupt == 0
        held = View.of(there).lazy("quarantine").filter(pl.col("stage") == "frames").collect()
        assert held["frame_idx"].to_list() == [4]
        assert "503 Service Unavailable" in held["error"][0]
        assert "reduce your request rate" in held["error"][0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    assert computed(go(there, source, settings=[FEW])) == {"frames": 1, "quality": 1}
    assert_same_tables(on_disk, there, PLACE)


def test_credentials_that_may_only_read_read_and_say_so(
    bucket: str, s3_server: str, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, source = f"{bucket}/tables", s3.upload(frames, f"{bucket}/cam")
    go(Workspace.at(place), source, settings=[FEW])
    iam = boto3.client("iam", endpoint_url=s3_server, region_name="us-east-1")
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=READER)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    enforce(s3_server, "0")
    try:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        query = "SELECT count(*) AS n FROM quality"
        assert said(winnow("sql", query, "-w", place, "--format", "jsonl")) == {"n": len(SEEDS)}
        assert winnow("run", "-w", place, "--input", source, "--dry-run").exception is None
        assert winnow("inspect", "runs", "-w", place).exception is None
        (problem,) = problems(winnow("run", "-w", place, "--input", source))
        assert problem.startswith(f"workspace {place} cannot be written: access to {place}/.writable-")
        (problem,) = problems(winnow("run", "-w", f"{bucket}/fresh", "--input", source))
        assert "cannot be written" in problem
        report = winnow("doctor", "-w", place, "--quick")
        assert (report.exit_code, f"{place} cannot be written: access to" in report.output) == (1, True)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(UserError, match=f"workspace {place} cannot be read: access to"):
            Workspace.at(place)
    finally:
        enforce(s3_server, "inf")


def enforce(server: str, after: str) -> None:
    """Let a server look at signatures and policies after so many requests more."""
    headers = {"Content-Type": "text/plain"}
    asked = urllib.request.Request(f"{server}/moto-api/reset-auth", after.encode(), headers, method="POST")
    urllib.request.urlopen(asked).close()


def test_missing_buckets_and_objects_are_reported_before_any_work(
    bucket: str, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = problems(winnow("run", "-w", "s3://no-such-bucket/x", "--input", frames))
    assert "there is no bucket 'no-such-bucket' at http://" in problem
    (problem,) = problems(winnow("run", "-w", tmp_path / "x", "--input", "s3://no-such-bucket/frames"))
    assert problem.startswith("input s3://no-such-bucket/frames cannot be read: there is no bucket")
    (problem,) = problems(winnow("run", "-w", bucket, "--input", frames))
    assert "expected a prefix in the bucket" in problem
    (problem,) = problems(winnow("sql", "SELECT 1", "-w", f"{bucket}/x"))
    assert f"there is no workspace at {bucket}/x" in problem
    (problem,) = problems(winnow("demo", "--out", f"{bucket}/demo"))
    assert "expected a folder on disk" in problem
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    process = s3.winnow_process("run", "-w", f"{bucket}/x", "--input", frames)
    code, _, errors = ended(process)
    assert code == 2
    (line,) = errors.splitlines()
    assert "no credentials for an object store: expected AWS_ACCESS_KEY_ID" in line
    assert not (tmp_path / "x").exists()
