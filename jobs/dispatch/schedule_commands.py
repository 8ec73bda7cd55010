"""Commands of `winnow schedule`: add a schedule after a check, list schedules, run one now."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from jobs.core.errors import UserError
from jobs.core.interpreter import python
from jobs.dispatch import control_token, schedule
from jobs.dispatch.follow_up import NOTHING, FollowUp
from jobs.dispatch.job_queue import JobQueue, QueuedJob
from jobs.dispatch.schedule import Schedule
from jobs.runs.prepare import prepare
from jobs.runs.run_options import RunOptions, build_request
from jobs.storage import paths
from jobs.storage.paths import Place


def add(
    workspace: str | os.PathLike[str] | None,
    name: str,
    cron: str,
    tz: str,
    options: RunOptions,
    priority: int = 0,
    follow_up: FollowUp = NOTHING,
) -> dict[str, Any]:
    """Keep a schedule and return when it is next due, and lines for a crontab. Raises `UserError` with all problems."""
    absolute = options.with_absolute_paths()
    expression = schedule.NICKNAMES.get(cron.strip(), cron)
    # A gateway runs in another folder.
    out = None if follow_up.out is None else str(paths.absolute(follow_up.out))
    then = replace(follow_up, out=out)
    wanted = Schedule(name, expression, tz, absolute.model_dump(mode="json"), priority, then.values())
    problems = [*schedule.problems(replace(wanted, then={})), *then.problems()]
    root = None
    try:
        request = build_request(workspace, absolute)
        root = request.workspace.root
        control_token.check(root)
        prepare(request)
    except UserError as error:
        problems += error.problems
    if problems or root is None:
        raise UserError(problems)
    request.workspace.create()
    schedule.save(root, wanted)
    return {"name": name, "next": _shown(wanted.next_after(datetime.now(UTC))), "crontab": crontab(root, wanted)}


def crontab(root: Place, wanted: Schedule) -> list[str]:
    """Return the lines of a crontab that do what the gateway would do."""
    program = shutil.which("winnow")
    words = [program] if program else python("-m", "jobs.cli")
    words += ["schedule", "run-now", wanted.name, "--here", "--workspace", str(root)]
    # In a crontab, a percent sign ends the command.
    command = shlex.join(words).replace("%", r"\%")
    return [f"CRON_TZ={wanted.tz}", f"{wanted.cron} {command}"]


def listed(root: Place) -> list[dict[str, Any]]:
    """Return the schedules with their next time, their last job and its state, and why it was skipped, if it was.

    `error` says what is wrong with one that is damaged, of which nothing else is known.
    """
    jobs = JobQueue(root).jobs()
    now = datetime.now(UTC)
    found = []
    for name, kept in schedule.load_all(root):
        mine = schedule.jobs_of(jobs, name)
        known = None if isinstance(kept, UserError) else kept
        found.append(
            {
                "name": name,
                "cron": known and known.cron,
                "tz": known and known.tz,
                "next": known and _shown(known.next_after(now)),
                "last_job": mine[-1].job_id if mine else None,
                "state": mine[-1].state.state if mine else None,
                "skipped": schedule.notes(root, name).get("skipped"),
                "then": dict(known.then) if known else {},
                "inputs": list(known.asked.get("inputs", ())) if known else [],
                "error": None if known else str(kept),
            }
        )
    return found


def run_now(root: Place, name: str, claim: bool = False) -> str:
    """Submit a schedule's job now and return its id; with `claim`, for this process and not for a gateway.

    A job that waits, or whose process has died, is then run before there is a new one. Raises `UserError` for an
    unknown schedule, while its last job is running, paused, or, without `claim`, waiting, and without the control
    token of a workspace that asks for one.
    """
    control_token.check(root)
    queue = JobQueue(root)
    kept = schedule.find(root, name)
    if claim and (waiting := _waiting(queue, name)) and queue.claim(waiting):
        return waiting.job_id
    job_id = schedule.submit_now(root, kept, queue.jobs())
    if claim and not queue.claim(_job(queue, job_id)):
        raise UserError(f"job {job_id} was claimed by a gateway; follow it with `winnow job watch {job_id}`")
    return job_id


def remove(root: Place, name: str) -> None:
    """Delete a schedule; its jobs and releases stay. Raises `UserError` for an unknown one, or without the token."""
    control_token.check(root)
    schedule.remove(root, name)


def _waiting(queue: JobQueue, name: str) -> QueuedJob | None:
    """Return a schedule's job that no process runs though it should be run, if there is one."""
    busy = schedule.unfinished(queue.jobs(), name)
    if busy is not None and queue.is_abandoned(busy):
        queue.return_to_queue(busy, "its process ended without finishing")
        busy = _job(queue, busy.job_id)
    return busy if busy is not None and busy.is_due(time.time_ns()) else None


def _job(queue: JobQueue, job_id: str) -> QueuedJob:
    return next(job for job in queue.jobs() if job.job_id == job_id)


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}"
