"""A job of the queue that a command runs in its own process, which an interrupt pauses."""

from __future__ import annotations

import signal
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.storage.workspace import Workspace


def run_task(place: Workspace, job_id: str, as_json: bool, what: str, continues: str) -> dict[str, Any]:
    """Run a job that waits in the queue, and return its result; an interrupt pauses it after its step.

    `what` names the job, and `continues` is the command that continues it. Raises `StoppedRunError` where it was paused
    or cancelled.
    """
    from jobs.cli.show import TerminalProgress, err
    from jobs.core.errors import StoppedRunError
    from jobs.dispatch import tasks
    from jobs.runs import job_requests

    progress = TerminalProgress(as_json)

    def interrupt(number: int, _: FrameType | None) -> None:
        if progress.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        progress.interrupted = True
        err.print("stopping after this step; press Ctrl-C again to stop at once")

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with progress:
            result = tasks.run_here(place, job_id, progress)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if result:
        return result
    job = job_requests.find(place, job_id)
    if progress.interrupted and job.state().state == "pending":
        # It is for this command to continue, when it is given again, and not for a gateway.
        job_requests.pause(job)
    state = job.state().state
    how = f": `{continues}` continues it" if state != "cancelled" else ""
    raise StoppedRunError(state, f"{what} is {state}{how}")
