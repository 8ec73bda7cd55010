"""Kills of a server of models, of all of it or of the process that holds the model, while a run asks it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

from jobs.models.remote_models import TOKEN, URL
from tests.faults.trial import MODEL, N, Round
from tests.machines import apart, free_ports, kill_all_of
from tests.onnx_graphs import write_end_to_end
from tests.processes import n_rows
from tests.waiting import PATIENCE_S, ended, wait_until

_SECRET = "open sesame"


def _settings(trial: Round) -> tuple[str, ...]:
    # One file for all rounds, and so one undisturbed run.
    weights = trial.folder.parents[1] / "red.onnx"
    if not weights.exists():
        write_end_to_end(weights, batch="N")
    shown = ("annotate.detector=onnx", f"annotate.weights={weights}", "annotate.frames=all", "resources.model_batch=2")
    return (*MODEL, *shown)


@contextmanager
def _server(settings: tuple[str, ...], port: int) -> Iterator[subprocess.Popen[str]]:
    """Serve models in a cluster of its own."""
    words = [part for setting in (*settings, "resources.num_cpus=1") for part in ("--set", setting)]
    command = [sys.executable, "-m", "jobs.cli", "serve-models", "--port", str(port), "--replicas", "1", *words]
    with apart() as environment:
        folder = Path(environment["RAY_TMPDIR"])
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment | {TOKEN: _SECRET}
        ) as process:
            try:
                assert process.stderr is not None
                said = process.stderr.readline()
                assert said.startswith("serving annotate at"), said + process.stderr.read()
                yield process
            finally:
                process.kill()
                kill_all_of(folder)
                process.wait(PATIENCE_S)


def models_of(pid: int) -> list[int]:
    """Return the processes that hold a model among those that a process started."""
    children: dict[int, list[int]] = {}
    names: dict[int, bytes] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            number = int(entry.name)
            names[number] = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(number)
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found += [each] if names.get(each, b"").startswith(b"ray::ServeReplica") else []
        waiting += children.get(each, [])
    return sorted(found)


def _wait_until_shown(trial: Round, process: subprocess.Popen[str]) -> None:
    """Wait until some frames were shown to the model, or for the end of the run."""
    enough = trial.random.randrange(N)
    wait_until(lambda: n_rows(trial.place, "annotated") >= enough or process.poll() is not None, every_s=0.02)


def model_server_killed(trial: Round) -> None:
    trial.use(_settings(trial))
    (port,) = free_ports(1)
    with mock.patch.dict(os.environ, {URL: f"http://127.0.0.1:{port}", TOKEN: _SECRET}):
        with _server(trial.more, port):
            process = trial.begin()
            _wait_until_shown(trial, process)
        # No process of it runs any more.
        _, _, said = ended(process)
        assert process.returncode in {0, 1}, said
        assert process.returncode == 0 or "no server of models answers at" in said, said
        assert "Traceback" not in said
        with _server(trial.more, port):
            trial.run_again()


def model_process_killed(trial: Round) -> None:
    trial.use(_settings(trial))
    (port,) = free_ports(1)
    with (
        mock.patch.dict(os.environ, {URL: f"http://127.0.0.1:{port}", TOKEN: _SECRET}),
        _server(trial.more, port) as server,
    ):
        process = trial.begin()
        _wait_until_shown(trial, process)
        (held,) = models_of(server.pid)
        os.kill(held, signal.SIGKILL)
        _, _, said = ended(process)
        assert process.returncode in {0, 1}, said
        assert "Traceback" not in said
        trial.run_again()


FAULTS = (model_server_killed, model_process_killed)
