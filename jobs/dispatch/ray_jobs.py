"""Jobs on a Ray cluster: submitted through Ray Jobs together with this program, followed through our own records.

Ray forgets its jobs when its head node restarts. The state of a job is in the workspace, as of any other job;
independent of what Ray reports, `winnow job resume` submits a job that was not finished again.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from typing import Any

from jobs.core.errors import RunFailedError, one_line
from jobs.core.naming import new_job_id
from jobs.dispatch import control_token
from jobs.dispatch.job_queue import JobQueue, QueuedJob
from jobs.engine.code_wheel import write_wheel
from jobs.engine.ray_engine import ray_jobs
from jobs.records.job_log import JobLog
from jobs.runs.prepare import prepare
from jobs.runs.run_options import RunOptions, build_request
from jobs.storage.paths import Place
from jobs.storage.spare_files import temporary_folder

DASHBOARD = "http://127.0.0.1:8265"
_RETRY_S = 30
_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


def dashboard(named: str | None) -> str:
    """Return the address of a dashboard: the one that is named, or in the environment, or on this machine."""
    given = (named, *(os.environ.get(name) for name in _VARIABLES))
    return next((a for a in given if a and a.startswith(("http://", "https://"))), named or DASHBOARD)


def submit(
    workspace: str | os.PathLike[str] | None,
    options: RunOptions,
    address: str,
    packages: Sequence[str] = (),
    priority: int = 0,
) -> str:
    """Submit a job to the cluster whose dashboard is at an address, and return its id.

    `packages` are requirements that Ray installs for the job, with pip. Raises `UserError` with everything that is
    wrong, before anything is written, and `RunFailedError` if the cluster does not take the job.
    """
    # The cluster that runs it is the one it finds itself on.
    absolute = options.with_absolute_paths().model_copy(update={"ray_address": "local"})
    request = build_request(workspace, absolute)
    root = request.workspace.root
    control_token.check(root)
    prepare(request)
    client = ray_jobs(address)
    request.workspace.create()
    job_id = new_job_id()
    data = {
        "request": request.as_data() | {"ray_address": None},
        "priority": priority,
        "pause_after": request.pause_after,
        "to": "ray",
        "ray": {"address": address, "packages": list(packages), "job": _name(job_id, 1)},
    }
    JobLog(root, job_id).add("submitted", data, after=0)
    _submit(client, root, job_id, 1, packages)
    return job_id


def fail_if_dead(root: Place, job_id: str) -> None:
    """Record a job as failed if the cluster is recorded as running it and its process is dead or silent."""
    queue = JobQueue(root)
    job = _find(queue, job_id)
    if job is not None and job.is_of_ray and queue.is_abandoned(job):
        queue.give_up(job, "its process ended without finishing")


def resubmit(root: Place, job_id: str, address: str | None = None) -> str | None:
    """Submit a waiting job to its cluster, or to another one, once more; return the id that Ray has it under.

    Returns None for a job that is not for Ray, or does not wait. Raises as `submit` does.
    """
    job = _find(JobQueue(root), job_id)
    if job is None or not job.is_of_ray or job.state.state != "pending":
        return None
    ray = job.submitted["ray"]
    # Two at once under different names do no harm: a job is claimed by one process only.
    return _submit(ray_jobs(address or ray["address"]), root, job_id, job.state.number, ray["packages"])


def _once_cluster_accepts(call: Callable[[], object]) -> None:
    """Make a call, and repeat it while the cluster answers to try again later, as it does just after its start."""
    deadline = time.monotonic() + _RETRY_S
    put_off = True
    while put_off:
        try:
            call()
            put_off = False
        except RuntimeError as error:
            if "try again later" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def _find(queue: JobQueue, job_id: str) -> QueuedJob | None:
    return next((job for job in queue.live() if job.job_id == job_id), None)


def _name(job_id: str, number: int) -> str:
    """Return the id in Ray of a job that was submitted when its last record had this number."""
    return f"winnow-{job_id}-{number}"


def _submit(client: Any, root: Place, job_id: str, number: int, packages: Sequence[str]) -> str:
    name = _name(job_id, number)
    words = ["python", "-P", "-m", "jobs.cli", "gateway", "execute", job_id]
    words += ["--workspace", str(root), "--ray-job", name]
    about = {"winnow_job": job_id, "workspace": str(root)}
    try:
        with temporary_folder() as folder:
            environment: dict[str, Any] = {"working_dir": str(write_wheel(folder, ".zip"))}
            if packages:
                environment["pip"] = list(packages)
            asked = {"entrypoint": shlex.join(words), "submission_id": name, "metadata": about}
            _once_cluster_accepts(lambda: client.submit_job(**asked, runtime_env=environment))
    except Exception as error:
        # It may have got there all the same; then it finds that it is not to be run any more.
        JobLog(root, job_id).add("failed", {"error": f"not handed to Ray: {one_line(error)}"})
        text = f"job {job_id} was not taken by the Ray cluster: {one_line(error)}; `winnow job resume` tries again"
        raise RunFailedError(text) from error
    return name
