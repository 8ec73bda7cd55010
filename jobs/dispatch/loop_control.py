"""Rules of controlling loops of active learning, for commands and servers: start, pause, resume, stop, and undo."""

from __future__ import annotations

from typing import Any

from jobs.active_learning import explain, loop_tables
from jobs.active_learning.loop_log import LoopLog, LoopRound, LoopState
from jobs.active_learning.options import LoopOptions
from jobs.active_learning.steps import annotating, second_looks
from jobs.core.errors import JobStateError, UserError
from jobs.core.naming import new_job_id
from jobs.dispatch import control_token
from jobs.dispatch.job_queue import JobQueue
from jobs.models import registry
from jobs.records.job_log import JobLog, JobState
from jobs.runs import job_requests
from jobs.runs.prepare import prepare
from jobs.runs.run_options import RunOptions, build_request
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training.networks import base_of
from jobs.views import snapshot_spec


def check(workspace: Workspace, options: LoopOptions) -> None:
    """Raise `UserError` with all that is wrong with a loop before it is started; nothing is written."""
    problems: list[str] = []
    store = Store(workspace.require().root)
    options = with_absolute_paths(options)
    for attempt in (
        lambda: options.goal,
        lambda: options.measured,
        lambda: options.train_options("release", options.model, None, ""),
        lambda: base_of(options.model),
        lambda: snapshot_spec.choose(store, None, options.measured.release),
        lambda: _check_run(workspace, options),
        lambda: workspace.folder,
        lambda: LoopLog(workspace.root, options.name),
    ):
        try:
            attempt()
        except UserError as error:
            problems += [line for line in error.problems if line not in problems]
    if problems:
        raise UserError(problems)
    if LoopLog(workspace.root, options.name).records():
        raise _there_is_one(options.name)


def with_absolute_paths(options: LoopOptions) -> LoopOptions:
    """Return the same options for a process that runs in another folder."""
    inputs = RunOptions(inputs=options.inputs).with_absolute_paths().inputs
    return options.model_copy(update={"inputs": inputs})


def _check_run(workspace: Workspace, options: LoopOptions) -> None:
    """Check the run that annotates, with the weights that are named, if there are any."""
    if options.questions and not options.usd:
        raise UserError("--questions: expected --usd, the most that they may cost in all")
    if options.larger and not any(text.startswith("route.larger=") for text in options.settings):
        raise UserError("--larger: expected --set route.larger=WEIGHTS, the larger detector")
    weights = [f"annotate.weights={options.weights}"] if options.weights else []
    stages, settings = second_looks(options, options.usd)
    request = build_request(workspace.root, annotating(options, [*weights, *settings], *stages))
    if options.weights:
        prepare(request)


def _there_is_one(name: str) -> UserError:
    return JobStateError(
        f"there is a loop {name} already: `winnow loop explain {name}` says where it is, `winnow loop resume {name}` "
        "continues it; choose another name for a new one"
    )


def start(workspace: Workspace, options: LoopOptions) -> str:
    """Record a loop, add its job to the queue, and return the id of that.

    Raises `UserError` for what is wrong, and `JobStateError` where there is a loop of that name: of two that are
    started at once, one is.
    """
    control_token.check(workspace.require().root)
    check(workspace, options)
    options = with_absolute_paths(options)
    job_id = new_job_id()
    data = {"options": options.model_dump(mode="json"), "job_id": job_id}
    log = LoopLog(workspace.root, options.name)
    if log.add("started", data, after=0) is None:
        raise _there_is_one(options.name)
    _submit(workspace, job_id, options.name)
    state = log.state()
    assert state is not None, options.name
    loop_tables.write(Store(workspace.root), options.name, state)
    return job_id


def _submit(workspace: Workspace, job_id: str, name: str) -> None:
    JobLog(workspace.root, job_id).add("submitted", {"kind": "loop", "task": {"loop": name}, "priority": 0}, after=0)


def pause(workspace: Workspace, name: str, wait_s: float = 0.0) -> JobState:
    """Ask a loop to pause, and the job of its step with it; wait up to `wait_s` seconds until it has."""
    _, state = _controlled(workspace, name)
    _refuse_ended(state, name)
    current = state.current
    begun = current.steps.get(current.step) if current and current.step else None
    job = job_requests.find(workspace, state.job_id)
    job_requests.pause(job)
    child = JobLog(workspace.root, begun.job_id).state() if begun and begun.job_id else None
    if begun and begun.job_id and child is not None and child.state == "running":
        job_requests.pause(job_requests.find(workspace, begun.job_id))
    return job_requests.wait(job, {"paused"}, wait_s)


def resume(workspace: Workspace, name: str) -> str:
    """Continue a loop that is paused, has failed or waits, and return the id of its job, which waits in the queue.

    Raises `JobStateError` for one that is over or runs.
    """
    log, state = _controlled(workspace, name)
    _refuse_ended(state, name)
    now = JobLog(workspace.root, state.job_id).state()
    if now is None:
        # It was ended between its record and that of its job.
        _submit(workspace, state.job_id, name)
    elif now.is_final:
        job_id = new_job_id()
        log.add("job", {"job_id": job_id})
        _submit(workspace, job_id, name)
    elif not _is_running(workspace, state):
        job_requests.resume(job_requests.find(workspace, state.job_id))
    elif not (now.request and now.request.word == "pause"):
        raise JobStateError(f"loop {name} is running, as job {state.job_id}")
    else:
        job_requests.resume(job_requests.find(workspace, state.job_id))
    log.add("resumed")
    _, state = explain.known(workspace, name)
    return state.job_id


def stop(workspace: Workspace, name: str, by: str) -> LoopState:
    """End a loop for good: at once where no process runs it, else before its next step; what it has made stays."""
    log, state = _controlled(workspace, name)
    _refuse_ended(state, name)
    log.add("stop", {"by": by})
    if not _is_running(workspace, state):
        log.add("ended", {"state": "stopped", "why": f"stopped by {by}"})
        if JobLog(workspace.root, state.job_id).records():
            job_requests.cancel(job_requests.find(workspace, state.job_id))
    _, state = explain.known(workspace, name)
    loop_tables.write(Store(workspace.root), name, state)
    return state


def undo(workspace: Workspace, name: str, number: int, by: str) -> dict[str, Any]:
    """Undo the last round of a loop, and return `round`, `alias`, the `version` that this is now, and `release`.

    The alias that the round has changed refers to what it did before, unless somebody has changed it since. Release,
    versions and reviews stay; the next round learns from these, too. Raises `UserError` for a round that is not the
    last one, and `JobStateError` while the loop runs.
    """
    log, state = _controlled(workspace, name)
    if _is_running(workspace, state):
        raise JobStateError(f"loop {name} is running; `winnow loop pause {name}` first")
    last = state.counted[-1] if state.counted else None
    if last is None or last.number != number:
        there = f"round {last.number} is its last one" if last else "it has no round"
        raise UserError(f"round {number} of loop {name} cannot be undone: {there}")
    alias, version = _back(Store(workspace.root), name, last, by)
    log.add("undone", {"round": number, "by": by, "why": "requested"})
    state = log.state() or state
    loop_tables.write(Store(workspace.root), name, state)
    return {"round": number, "alias": alias, "version": version, "release": last.result("release").get("release")}


def _back(store: Store, name: str, undone: LoopRound, by: str) -> tuple[str | None, int | None]:
    """Have the alias that a round has changed refer to what it did before; return it with its version, 0 for none."""
    promoted = undone.result("promote")
    alias = promoted.get("alias")
    if alias is None:
        return None, None
    changes = registry.history(store, name, alias)
    mine = next((row for row in changes if row["number"] == promoted["number"]), None)
    if mine is None or changes[-1]["number"] != promoted["number"]:
        # By somebody, or by an undo that was ended before its record.
        return alias, changes[-1]["version"] if changes else None
    reason = f"round {undone.number} of loop {name} is undone"
    before = mine["previous"] or 0
    registry.set_alias(store, name, before, alias, by=by, reason=reason, expect=mine["version"])
    return alias, before


def _controlled(workspace: Workspace, name: str) -> tuple[LoopLog, LoopState]:
    control_token.check(workspace.require().root)
    return explain.known(workspace, name)


def _refuse_ended(state: LoopState, name: str) -> None:
    if state.ended is not None:
        raise JobStateError(
            f"loop {name} is over: {state.ended[0].replace('_', ' ')}, {state.ended[1]}; start another one, or "
            "undo its last round"
        )


def _is_running(workspace: Workspace, state: LoopState) -> bool:
    """Return whether a process runs the job of a loop."""
    queue = JobQueue(workspace.root)
    job = next((job for job in queue.live() if job.job_id == state.job_id), None)
    return job is not None and job.state.state == "running" and not queue.is_abandoned(job)
