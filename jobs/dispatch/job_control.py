"""Rules of controlling jobs, for commands and servers: who may, which requests go where, and who has to run the job.

Each function checks the control token of the workspace first. A job is run by one of three: a gateway if it was
submitted to the queue, a Ray cluster if it was handed to one, else the caller, who gets a request to run. Imports
little, so that a request is made at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jobs.core.errors import JobStateError
from jobs.dispatch import control_token
from jobs.records.job_log import JobState
from jobs.runs import job_requests
from jobs.runs.job_requests import JobHandle
from jobs.storage.workspace import Workspace

if TYPE_CHECKING:
    from jobs.runs.prepare import RunRequest

LOCAL = "local"
"""Given as the address of a cluster: none."""


@dataclass(frozen=True)
class ControlResult:
    """Where a job stands after a request.

    `to_run` is the request that the caller has to run under this job id, since neither a gateway nor a cluster will;
    None where nothing is left to do.
    """

    job_id: str
    state: JobState
    to_run: RunRequest | None = None

    def values(self) -> dict[str, Any]:
        """Return job, state and the request that is not answered yet (None for none), as plain values."""
        request = self.state.request
        return {"job_id": self.job_id, "state": self.state.state, "request": request.word if request else None}


def authorised(workspace: Workspace) -> Workspace:
    """Return a workspace whose jobs may be controlled.

    Raises `UserError` where there is none, or where its control token is not in the environment.
    """
    control_token.check(workspace.require().root)
    return workspace


def find(workspace: Workspace, job_id: str) -> JobHandle:
    """Return a job by its id, a unique beginning of it, or `last`. Raises `UserError` as `authorised` does, too."""
    return job_requests.find(authorised(workspace), job_id)


def pause(workspace: Workspace, job_id: str, wait_s: float = 0.0, after: int | None = None) -> ControlResult:
    """Ask a job to pause, and wait up to `wait_s` seconds until it has; `after` is as in `job_requests.resume`."""
    job = find(workspace, job_id)
    job_requests.pause(job, after)
    return ControlResult(job.job_id, job_requests.wait(job, {"paused"}, wait_s))


def cancel(workspace: Workspace, job_id: str, wait_s: float = 0.0, after: int | None = None) -> ControlResult:
    """Ask a job to end for good, and wait until it has, as `pause` does."""
    job = find(workspace, job_id)
    job_requests.cancel(job, after)
    return ControlResult(job.job_id, job_requests.wait(job, {"cancelled"}, wait_s))


def stop(workspace: Workspace, job_id: str, wait_s: float = 0.0, after: int | None = None) -> ControlResult:
    """Ask a training to end as done, with the best epoch so far, and wait until it has, as `pause` does.

    Raises `JobStateError` for a job that is no training, or is over.
    """
    from jobs.dispatch.job_queue import JobQueue

    job = find(workspace, job_id)
    kind = next((queued.kind for queued in JobQueue(workspace.root).jobs() if queued.job_id == job.job_id), "run")
    if kind != "train":
        raise JobStateError(f"job {job.job_id} is a {kind}, expected a training; pause or cancel it")
    job_requests.stop(job, after)
    return ControlResult(job.job_id, job_requests.wait(job, {"done"}, wait_s))


def pause_after(workspace: Workspace, job_id: str, stage: str) -> ControlResult:
    """Ask a job to pause when it is through with a stage. Raises `UserError` for a stage that it does not have."""
    job = find(workspace, job_id)
    return ControlResult(job.job_id, job_requests.pause_after(job, stage))


def clear(workspace: Workspace, job_id: str) -> str:
    """Delete the records and rows of a job that is over, and return its id; see `job_requests.clear`."""
    job = find(workspace, job_id)
    job_requests.clear(job)
    from jobs.dispatch import tasks

    # Nobody could find the file of an export without its job.
    tasks.forget(workspace.root, job.job_id)
    return job.job_id


def resume(
    workspace: Workspace, job_id: str, ray_address: str | None = None, after: int | None = None
) -> ControlResult:
    """Continue a job that is paused or has failed: through its gateway or cluster, else by the caller.

    `ray_address` names another cluster to run on, or `local`; `after` is as in `job_requests.resume`. Raises
    `JobStateError` for a job that is over or running.
    """
    job = _refreshed(find(workspace, job_id))
    return _continue(job, job_requests.resume(job, after), ray_address)


def step(workspace: Workspace, job_id: str, ray_address: str | None = None, after: int | None = None) -> ControlResult:
    """Let a job run one stage more and pause; otherwise as `resume`. Raises `JobStateError` for a job that is over."""
    job = _refreshed(find(workspace, job_id))
    return _continue(job, job_requests.step(job, after), ray_address, one_stage=True)


def leave_to_gateway(workspace: Workspace, result: ControlResult) -> ControlResult:
    """Hand to the queue what a request left to the caller, for callers that run no jobs themselves.

    Raises `JobStateError` where somebody else took the job meanwhile.
    """
    if result.to_run is None:
        return result
    job = find(workspace, result.job_id)
    request = result.to_run
    state = job_requests.hand_to_queue(job, {"request": request.as_data(), "priority": 0}, result.state.number)
    if request.one_stage:
        state = job_requests.step(job)
    return ControlResult(job.job_id, state)


def replay(
    workspace: Workspace,
    job_id: str,
    start: str,
    settings: Sequence[str] = (),
    promote: bool = False,
    ray_address: str | None = None,
) -> RunRequest:
    """Return the request for a child of a run, computed from a stage on; see `jobs.runs.replay.replay`."""
    from jobs.runs import replay as requests

    return on_cluster(requests.replay(authorised(workspace), job_id, start, settings, promote), ray_address)


def replay_stage(workspace: Workspace, job_id: str, stage: str, ray_address: str | None = None) -> RunRequest:
    """Return the request to recompute one stage of a run; see `jobs.runs.replay.recompute_stage`."""
    from jobs.runs import replay as requests

    return on_cluster(requests.recompute_stage(authorised(workspace), job_id, stage), ray_address)


def retry_quarantined(workspace: Workspace, job_id: str, ray_address: str | None = None) -> RunRequest:
    """Return the request to compute the quarantined frames of a run; see `jobs.runs.replay.retry_quarantined`."""
    from jobs.runs import replay as requests

    return on_cluster(requests.retry_quarantined(authorised(workspace), job_id), ray_address)


def on_cluster(request: RunRequest, ray_address: str | None) -> RunRequest:
    """Return a request for the cluster that is named now, or that was named when it was made; `local` for none."""
    named = ray_address or request.ray_address
    return replace(request, ray_address=None if named == LOCAL else named)


def _is_of_ray(job: JobHandle) -> bool:
    return any(record.data.get("to") == "ray" for record in job.job_log.records() if record.word == "submitted")


def _refreshed(job: JobHandle) -> JobHandle:
    """Return a job, after recording as failed what was handed to a cluster that shows no signs of life any more."""
    if _is_of_ray(job):
        from jobs.dispatch.ray_jobs import fail_if_dead

        fail_if_dead(job.workspace.root, job.job_id)
    return job


def _continue(job: JobHandle, state: JobState, ray_address: str | None, one_stage: bool = False) -> ControlResult:
    """Hand a job of Ray to a cluster again, leave one of the queue to gateways, give any other one to the caller."""
    if state.queued or state.state == "running":
        if _is_of_ray(job):
            from jobs.dispatch.ray_jobs import resubmit

            resubmit(job.workspace.root, job.job_id, ray_address)
        return ControlResult(job.job_id, state)
    from jobs.runs import replay as requests

    request = replace(requests.of_job(job.workspace, job.job_id), one_stage=one_stage)
    return ControlResult(job.job_id, state, on_cluster(request, ray_address))
