"""Runs as processes of their own, for tests that end them in every way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import ray

from jobs.dispatch.gateway_files import lock_path
from jobs.storage.locks import lock_holder
from jobs.storage.paths import place
from tests.helpers import SMALL
from tests.machines import without_ray
from tests.waiting import ended, wait_until

SLOW = ("unit_frames=8", "resources.block_frames=8", "resources.commit_seconds=0.05")
"""Many small blocks and commits, so that there is much to be interrupted."""


def start(
    workspace: Path,
    *inputs: Path,
    options: tuple[str, ...] = (),
    settings: tuple[str, ...] = SLOW,
    address: str | None = None,
    alone: bool = False,
) -> subprocess.Popen[str]:
    """Start `winnow run` as a process of its own on a cluster; if none is named, on the session's Ray.

    `alone`, it has no more than processes of its own, as a small run has that is started by hand: no engine.
    """
    command = [sys.executable, "-m", "jobs.cli", "run", "--json", "--workspace", str(workspace), *options]
    command += [part for path in inputs for part in ("--input", str(path))]
    command += [part for setting in settings for part in ("--set", setting)]
    if not alone:
        command += ["--ray-address", address or ray.get_runtime_context().gcs_address]
    environment = without_ray() if address or alone else None
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def resume(workspace: Path, job_id: str, verb: str = "resume", alone: bool = False) -> subprocess.Popen[str]:
    """Start `winnow job resume`, or another verb that continues, as `start` does."""
    command = [sys.executable, "-m", "jobs.cli", "job", verb, job_id, "--json", "--workspace", str(workspace)]
    if not alone:
        command += ["--ray-address", ray.get_runtime_context().gcs_address]
    environment = without_ray() if alone else None
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def start_gateway(root: Path, alone: bool = False) -> subprocess.Popen[str]:
    """Start a gateway in the foreground of a process of its own, and wait until it is at work."""
    command = [sys.executable, "-m", "jobs.cli", "gateway", "start", "--foreground", "--workspace", str(root)]
    command += ["--backoff", "0.1", "--quiet"]
    environment = without_ray() if alone else None
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    wait_until(
        lambda: process.poll() is not None or (lock_holder(lock_path(place(root))) or {}).get("ready"), every_s=0.02
    )
    return process


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    code, out, err = ended(process)
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def n_rows(place: Path, table: str = "frames") -> int:
    if not (place / table / "_delta_log" / f"{0:020}.json").exists():
        return 0
    return pl.scan_delta(str(place / table)).select(pl.len()).collect().item()


def wait_for_rows(place: Path, process: subprocess.Popen[str], n: int, most: int = SMALL.planted.n_files) -> None:
    """Wait until a run has committed more than `n` new frames or is about to end by itself."""
    enough = min(most, n_rows(place) + max(1, n // 10))
    wait_until(lambda: n_rows(place) >= enough or process.poll() is not None)
