"""Exclusive claim of a run on its job: one record takes it, another one releases it, requests are polled meanwhile."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from jobs.core.errors import RunFailedError, RunStopped, UserError
from jobs.core.job_states import ASKED_FOR, JobStateName
from jobs.core.processes import process_identity
from jobs.records.job_log import JobLog, JobState, settled
from jobs.records.run_events import ProgressListener
from jobs.storage import paths
from jobs.storage.path_interface import TEMPORARY
from jobs.storage.paths import Place
from jobs.storage.spare_files import clear

_POLL_S, _POLL_FAR_S = 0.5, 2.0
_SPARE_BYTES = 64 << 10
_STOP_FLAG = ".drain-"


class JobClaim:
    """The claim of the one process that runs a job; made by `take`."""

    def __init__(self, job_log: JobLog, listener: ProgressListener) -> None:
        self._job_log = job_log
        self._listener = listener
        self._me = process_identity()
        self._state: JobState | None = None
        self._look_again = 0.0
        self.stop_flag = job_log.folder / f"{_STOP_FLAG}{secrets.token_hex(8)}"
        """While this file exists, workers finish their current frame and start no other."""
        self._spare = job_log.folder / ".spare"
        self._reached = False

    @classmethod
    def take(
        cls,
        root: Place,
        job_id: str,
        listener: ProgressListener,
        request: Mapping[str, Any] | None = None,
        claimed: bool = False,
    ) -> JobClaim:
        """Claim a job that is new, paused or failed; with `claimed`, one that a gateway has claimed for this process.

        `request` is kept with the record, so that the job can be resumed. Raises `UserError` for a job that is over,
        that another process runs, or that waits for a gateway.
        """
        job_log = JobLog(root, job_id)
        claim = cls(job_log, listener)
        while True:
            state = settled(job_log)
            _refuse(job_id, state, claimed)
            data = {"process": claim._me, **({"request": request} if request is not None else {})}
            if job_log.add("started", data, after=state.number if state else 0):
                listener.on_job_claimed(job_id)
                claim._clear_leftovers()
                # Given up when the run ends, so that a full disk still takes the word of why it ended.
                claim._spare.reserve_space(_SPARE_BYTES)
                return claim

    def _clear_leftovers(self) -> None:
        """Delete what attempts at this job that were killed left in its folder, which is this process's now."""
        if (at := self._job_log.folder.on_disk()) is None:
            return
        with suppress(OSError):
            for flag in at.glob(f"{_STOP_FLAG}*"):
                flag.unlink(missing_ok=True)
        # Another process may be writing a request to this one.
        clear(at, None, TEMPORARY)

    def asked(self, now: bool = False) -> JobStateName | None:
        """Return the state that the run was asked to end in, or None; polls twice a second, or `now`.

        Raises `RunFailedError` if the job was taken from this process, which somebody took for dead.
        """
        if self._listener.interrupted:
            return "paused"
        if now or self._state is None or time.monotonic() >= self._look_again:
            self._state = self._job_log.state()
            self._look_again = time.monotonic() + paths.poll_interval_s(self.stop_flag, _POLL_S, _POLL_FAR_S)
        if not self._is_mine(self._state):
            raise RunFailedError(f"job {self._job_log.job_id} was taken from this run while it was in progress")
        return ASKED_FOR.get(self._word)

    def is_to_stop(self) -> bool:
        """Say whether a training is to end now, as done with what it has; polls as `asked` does."""
        return self.asked() is None and self._word == "stop"

    def check(self) -> None:
        """Raise `RunStopped` if the run was asked to end."""
        if state := self.asked():
            raise RunStopped(state)

    def finished(self, stage: str, first_time: bool) -> None:
        """Raise `RunStopped` if the run was asked to end, or to pause after this stage.

        A step ends with the first stage that the job had not finished before.
        """
        if state := self.asked(now=True):
            raise RunStopped(state)
        request = self._state.request if self._state else None
        is_named = request is not None and request.data.get("stage") == stage
        if (self._word == "pause-after" and is_named) or (self._word == "step" and first_time):
            self._reached = True
            raise RunStopped("paused")

    def pause_later(self, after: str | None, one_stage: bool) -> None:
        """Record a request that the run pauses after a stage: the named one, or the next one."""
        if after:
            self._job_log.add("pause-after", {"stage": after})
        if one_stage:
            self._job_log.add("step")

    def release(self, word: JobStateName, data: Mapping[str, Any] | None = None) -> JobStateName:
        """Record the state in which the run ended, and return the state of the job after that.

        Requests made in the meantime count: a paused run that was also cancelled is cancelled, and a queued job that
        was only interrupted waits for the next gateway, even where it is still to pause after a stage.
        """
        self.stop_flag.delete()
        self._spare.free_space()
        while True:
            state = self._state = self._job_log.state()
            if state is None or not self._is_mine(state):
                return state.state if state else word
            answer: str = word
            if word == "paused" and self._word == "cancel":
                answer = "cancelled"
            elif word == "paused" and state.queued and self._word != "pause" and not self._reached:
                answer = "requeued"
            if self._job_log.add(answer, data, after=state.number):
                ended = self._job_log.state()
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
    if state.is_final:
        raise UserError(f"job {job_id} is {state.state}, expected one that is paused or has failed")
    if state.queued:
        raise UserError(f"job {job_id} is {state.state} and belongs to the queue, whose jobs `winnow gateway` runs")
