"""The gateway of a workspace: claims due jobs, runs each as a process of its own, and retries those that fail.

It holds no state: all it knows is in the records of the jobs, so that the next gateway continues where this one was
killed. It imports neither the engine nor the tables, since it waits most of the time.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from types import FrameType
from typing import Any

from jobs.core.errors import RunFailedError, UserError, one_line
from jobs.core.interpreter import python, python_environment
from jobs.core.processes import process_identity
from jobs.dispatch.control_token import VARIABLE
from jobs.dispatch.gateway_files import lock_path
from jobs.dispatch.job_queue import JobQueue, QueuedJob, due_jobs
from jobs.dispatch.jsonlog import JsonLog
from jobs.records.job_log import fold
from jobs.storage import paths
from jobs.storage.locks import lock_at, lock_holder
from jobs.storage.paths import Place
from jobs.storage.spare_files import own_folder

_SCHEDULES_S = 5.0
_LONGEST_BACKOFF_S = 600.0
_BACKOFF_FACTOR = 4
_LAST_BYTES = 4096
_MOST_BYTES = 1 << 20
_POLL_FAR_S = 2.0
_KEPT_S = 24 * 3600.0
"""For how long the output of jobs is kept that a dead gateway started: they may still be running."""

_WRONG_REQUEST = 2
# The second signal means: now.
_AT_ONCE = 2


@dataclass(frozen=True)
class GatewayOptions:
    """How a gateway works.

    `max_jobs`: jobs at a time; one job takes all cores by default. `attempts`: how often a job is tried before it has
    failed for good, with `backoff_s` seconds before the second attempt and four times as many before each further one.
    `grace_s`: how long jobs may take to commit what is in flight when the gateway stops. `metrics_port`: where on
    loopback to answer Prometheus, 0 for any free one.
    """

    max_jobs: int = 1
    attempts: int = 3
    backoff_s: float = 10.0
    grace_s: float = 30.0
    metrics_port: int | None = None
    poll_s: float = 0.5


@dataclass
class _Worker:
    """A process that runs a job."""

    job_id: str
    attempt: int
    process: subprocess.Popen[bytes]
    output: Path


class Gateway:
    """The one gateway of the workspace at `root`."""

    def __init__(self, root: Place, options: GatewayOptions, log: JsonLog) -> None:
        self._root = root
        self._options = options
        self._log = log
        self._queue = JobQueue(root)
        self._workers: dict[str, _Worker] = {}
        self._process = process_identity()
        # Signals arrive through a pipe, so that the handler need not touch a lock that this thread may hold.
        self._signal_read, self._signal_write = os.pipe()
        self._n_signals = 0
        self._reported: set[str] = set()

    def serve(self) -> None:
        """Run jobs until SIGTERM or SIGINT; then let those in progress commit, and return them to the queue.

        Raises `UserError` if another gateway serves the workspace.
        """
        self._lock = lock = lock_at(lock_path(self._root))
        about = self._process | asdict(self._options) | {"since_ns": time.time_ns(), "version": version("winnow")}
        if not lock.take(about):
            found = lock_holder(lock_path(self._root)) or {}
            raise UserError(
                f"workspace {self._root} has a gateway already: process {found.get('pid')} on {found.get('host')}"
            )
        before = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        metrics = None
        try:
            if self._options.metrics_port is not None:
                from jobs.dispatch.prometheus import serve

                metrics = serve(self._root, self._options.metrics_port)
                about["metrics_port"] = metrics.server_address[1]
            lock.describe(about | {"ready": True})
            self._log.write("gateway_started", pid=os.getpid(), max_jobs=self._options.max_jobs)
            self._loop()
        finally:
            self._drain()
            if metrics is not None:
                metrics.shutdown()
                metrics.server_close()
            self._log.write("gateway_stopped", pid=os.getpid())
            lock.release()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask_to_stop(self, _: int, __: FrameType | None) -> None:
        self._n_signals += 1
        os.write(self._signal_write, b".")

    def _loop(self) -> None:
        next_schedules = 0.0
        poll_s = paths.poll_interval_s(self._root, self._options.poll_s, max(self._options.poll_s, _POLL_FAR_S))
        while not self._n_signals and not self._lock.lost:
            try:
                if time.monotonic() >= next_schedules:
                    self._submit_due_schedules()
                    self._submit_arrived()
                    next_schedules = time.monotonic() + _SCHEDULES_S
                self._update_jobs()
            except OSError as error:
                # A full disk or a share that is away: it may work again at the next poll.
                self._log_once("trouble", error=one_line(error))
            select.select([self._signal_read], [], [], poll_s)
        if self._lock.lost:
            raise RunFailedError(f"the lock of {self._root} could not be kept; another gateway may serve it by now")

    def _submit_due_schedules(self) -> None:
        if not (self._root / "schedules").names():
            return
        from jobs.dispatch.schedule import submit_due

        for event, details in submit_due(self._root, self._queue.jobs(), time.time_ns()):
            say = self._log_once if "error" in details else self._log.write
            say(event, **details)

    def _submit_arrived(self) -> None:
        if not (self._root / "arrivals").names():
            return
        from jobs.dispatch.arrivals import submit_arrived

        for event, details in submit_arrived(self._root, time.time_ns()):
            say = self._log_once if "error" in details else self._log.write
            say(event, **details)

    def _update_jobs(self) -> None:
        self._reap()
        jobs = self._queue.live()
        for job_id, problem in self._queue.unreadable.items():
            self._log_once("job_unreadable", job_id=job_id, error=problem)
        for job in jobs:
            # A job held by this process without a worker is left over from an earlier error of the disk.
            nobodys = self._queue.is_abandoned(job) or job.state.holder == self._process
            if job.state.state == "running" and job.job_id not in self._workers and nobodys:
                # A job for a cluster is retried when it is submitted to the cluster again.
                self._retry_or_fail(job, "its process ended without finishing", retry=not job.is_of_ray)
        # Jobs of a gateway that was killed may still be finishing their last blocks.
        mine = [job for job in jobs if not (job.is_of_ray or job.is_of_loop)]
        busy = sum(job.state.queued and job.state.state == "running" for job in mine)
        for job in due_jobs(jobs, time.time_ns())[: max(0, self._options.max_jobs - busy)]:
            # The process of a job that is back in the queue may not have ended yet.
            if job.job_id not in self._workers and self._queue.claim(job):
                self._start(job)

    def _log_once(self, event: str, **details: Any) -> None:
        if (line := f"{event} {details}") not in self._reported:
            self._reported.add(line)
            self._log.write(event, **details)

    def _start(self, job: QueuedJob) -> None:
        """Start the process of a job that was claimed for it."""
        attempt = job.state.attempts + 1
        output = self._output(job.job_id, attempt)
        command = python("-m", "jobs.cli", "gateway", "execute", job.job_id)
        command += ["--workspace", str(self._root), "--gateway-pid", str(os.getpid())]
        # A job must not see the token that guards it.
        environment = {name: value for name, value in python_environment().items() if name != VARIABLE}
        try:
            with open(output, "ab") as sink:
                process = subprocess.Popen(  # noqa: S603 - its own program
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    env=environment,
                    # Keys pressed on the gateway's terminal are for the gateway.
                    start_new_session=True,
                )
        except OSError as error:
            self._retry_or_fail(self._read_job(job.job_id), f"its process could not be started: {one_line(error)}")
            return
        self._workers[job.job_id] = _Worker(job.job_id, attempt, process, output)
        self._log.write("job_started", job_id=job.job_id, attempt=attempt, pid=process.pid)

    def _output(self, job_id: str, attempt: int) -> Path:
        """Return the file on disk that takes the output of a job's process while it runs."""
        kept = self._root / "jobs" / job_id / f"output-{attempt}.txt"
        return kept.on_disk() or Path(mkdtemp(dir=own_folder("winnow-output", _KEPT_S))) / kept.name

    def _keep_output(self, worker: _Worker) -> None:
        """Write the output of a process next to its job, if it is not there."""
        kept = self._root / "jobs" / worker.job_id / worker.output.name
        if not kept.is_remote:
            return
        with suppress(OSError):
            kept.write(worker.output.read_bytes()[-_MOST_BYTES:])
        shutil.rmtree(worker.output.parent, ignore_errors=True)

    def _read_job(self, job_id: str) -> QueuedJob:
        records = self._queue.job_log(job_id).records()
        state = fold(records)
        assert state is not None
        return QueuedJob(job_id, state, records)

    def _reap(self, draining: bool = False) -> None:
        """Handle the processes that have ended."""
        for worker in list(self._workers.values()):
            code = worker.process.poll()
            if code is None:
                continue
            del self._workers[worker.job_id]
            if not (self._queue.job_log(worker.job_id)).records():
                # Cleared while it ran.
                continue
            job = self._read_job(worker.job_id)
            state = job.state.state
            details = {"job_id": worker.job_id, "attempt": worker.attempt, "exit_code": code}
            if state == "running" and draining:
                self._queue.return_to_queue(job, "the gateway stopped")
                self._log.write("job_put_back", **details)
            elif state in {"running", "failed"}:
                error = (job.error if state == "failed" else None) or _last_output(worker.output, code)
                self._retry_or_fail(job, error, retry=code != _WRONG_REQUEST)
            else:
                self._log.write("job_put_back" if state == "pending" else f"job_{state}", **details)
            self._keep_output(worker)

    def _retry_or_fail(self, job: QueuedJob, error: str, retry: bool = True) -> None:
        """Return a job whose attempt failed to the queue for later, or give it up."""
        failures = job.failures + 1
        details = {"job_id": job.job_id, "attempt": job.state.attempts, "error": error}
        if retry and failures < self._options.attempts:
            wait_s = min(_LONGEST_BACKOFF_S, self._options.backoff_s * _BACKOFF_FACTOR ** (failures - 1))
            self._queue.requeue(job, error, wait_s)
            self._log.write("job_put_back", **details, again_in_s=wait_s)
        elif job.state.state == "failed" or self._queue.give_up(job, error):
            self._log.write("job_failed", **details)

    def _drain(self) -> None:
        """Ask the running jobs to commit what is in flight and to end; kill them after the grace time."""
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                worker.process.terminate()
        deadline = time.monotonic() + self._options.grace_s
        while self._workers and time.monotonic() < deadline and self._n_signals < _AT_ONCE:
            self._reap(draining=True)
            time.sleep(0.05)
        for worker in self._workers.values():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
        self._reap(draining=True)


def _last_output(output: Path, code: int) -> str:
    """Return the last line of a process's output, with how it ended: why it failed."""
    how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    try:
        with open(output, "rb") as handle:
            handle.seek(max(0, output.stat().st_size - _LAST_BYTES))
            lines = handle.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    last = next((one_line(line) for line in reversed(lines) if line.strip()), "")
    return f"{last.removeprefix('error: ')} ({how})" if last else how
