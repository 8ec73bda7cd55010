"""A run's hold on its job: taken with one record, asked of while it lasts, let go of with another."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from jobs.core.errors import RunFailedError, RunStopped, UserError
from jobs.core.processes import process_identity
from jobs.records.job_log import Inbox, JobState, settled
from jobs.records.run_events import Watcher
from jobs.storage import paths
from jobs.storage.paths import Place

_POLL_S, _POLL_FAR_S = 0.5, 2.0
_SPARE_BYTES = 64 << 10


class Hold:
    """Held by the one process that runs a job; see `take`."""

    def __init__(self, inbox: Inbox, watcher: Watcher) -> None:
        self._inbox = inbox
        self._watcher = watcher
        self._me = process_identity()
        self._state: JobState | None = None
        self._look_again = 0.0
        self.drain = inbox.folder / f".drain-{secrets.token_hex(8)}"
        """While this file is there, workers finish the frame in hand and begin no other."""
        self._spare = inbox.folder / ".spare"
        self._reached = False

    @classmethod
    def take(
        cls, root: Place, job_id: str, watcher: Watcher, request: Mapping[str, Any] | None = None, claimed: bool = False
    ) -> Hold:
        """Take up a job, new or paused or failed; `claimed` says that a gateway has claimed it for this process.

        `request` is kept with the record, for whoever resumes the job. Raises `UserError` for a job that is over, that
        somebody else holds, or that waits for a gateway.
        """
        inbox = Inbox(root, job_id)
        hold = cls(inbox, watcher)
        while True:
            state = settled(inbox)
            _refuse(job_id, state, claimed)
            data = {"process": hold._me, **({"request": request} if request is not None else {})}
            if inbox.add("started", data, after=state.number if state else 0):
                watcher.held(job_id)
                # Given up when the run ends, so that a full disk still takes the word of why it ended.
                hold._spare.reserve_space(_SPARE_BYTES)
                return hold

    def asked(self, now: bool = False) -> str | None:
        """Return the state that the run was asked to end in, if it was; looks twice a second, or `now`.

        Raises `RunFailedError` if somebody took this process for dead and the job from it.
        """
        if self._watcher.interrupted:
            return "paused"
        if now or self._state is None or time.monotonic() >= self._look_again:
            self._state = self._inbox.state()
            self._look_again = time.monotonic() + paths.poll_interval_s(self.drain, _POLL_S, _POLL_FAR_S)
        if not self._is_mine(self._state):
            raise RunFailedError(f"job {self._inbox.job_id} was taken from this run while it was in progress")
        return {"pause": "paused", "cancel": "cancelled"}.get(self._word)

    def check(self) -> None:
        """Raise `RunStopped` if the run was asked to end."""
        if state := self.asked():
            raise RunStopped(state)

    def finished(self, stage: str, first_time: bool) -> None:
        """Raise `RunStopped` if the run was asked to end, or to pause once it is through with this stage.

        A step ends with the first stage that the job has not been through before.
        """
        if state := self.asked(now=True):
            raise RunStopped(state)
        request = self._state.request if self._state else None
        is_named = request is not None and request.data.get("stage") == stage
        if (self._word == "pause-after" and is_named) or (self._word == "step" and first_time):
            self._reached = True
            raise RunStopped("paused")

    def pause_later(self, after: str | None, one_stage: bool) -> None:
        """Ask the run itself to pause when it is through with a stage: with that of a name, or with the next one."""
        if after:
            self._inbox.add("pause-after", {"stage": after})
        if one_stage:
            self._inbox.add("step")

    def let_go(self, word: str, data: Mapping[str, Any] | None = None) -> str:
        """Say how the run ended, and return the state in which the job is then.

        What was asked in the meantime counts: a paused run that was also cancelled is cancelled, and a job of the queue
        that was only interrupted waits for the next gateway, also where it is still to pause after a stage.
        """
        self.drain.delete()
        self._spare.free_space()
        while True:
            state = self._state = self._inbox.state()
            if state is None or not self._is_mine(state):
                return state.state if state else word
            said = word
            if word == "paused" and self._word == "cancel":
                said = "cancelled"
            elif word == "paused" and state.queued and self._word != "pause" and not self._reached:
                said = "requeued"
            if self._inbox.add(said, data, after=state.number):
                ended = self._inbox.state()
                return ended.state if ended else word

    @property
    def _word(self) -> str:
        return self._state.request.word if self._state and self._state.request else ""

    def _is_mine(self, state: JobState | None) -> bool:
        return state is not None and state.state == "running" and state.holder == self._me


def _refuse(job_id: str, state: JobState | None, claimed: bool) -> None:
    if state is None or (claimed and state.state == "running"):
        return
    if state.state == "running":
        holder = state.holder or {}
        raise UserError(f"job {job_id} is running, by process {holder.get('pid')} on {holder.get('host')}")
    if state.state in {"done", "cancelled"}:
        raise UserError(f"job {job_id} is {state.state}, expected one that is paused or has failed")
    if state.queued:
        raise UserError(f"job {job_id} is {state.state} and of the queue, whose jobs are run by `winnow gateway`")
