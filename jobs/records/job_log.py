"""Log of a job: numbered records that are created once and never changed; folding them gives the job's state.

The records of a job are in `WORKSPACE/jobs/JOB_ID/`, as `jobs.records.numbered_records` writes them.

| word          | written by         | state after it                                                          |
| ------------- | ------------------ | ----------------------------------------------------------------------- |
| `submitted`   | `winnow submit`    | pending; the job belongs to the queue                                   |
| `claimed`     | a gateway          | running; data: `process` (its identity), `attempt`                      |
| `started`     | a run              | running; data: `process`. After `claimed`, the claimed run names itself |
| `pause`       | a user             | a request to a running job; a pending one is paused by it               |
| `pause-after` | a user             | a request; data: `stage`. It holds until the job pauses or ends         |
| `step`        | a user             | a request; a paused job of the queue is pending with it                 |
| `resume`      | a user             | withdraws a pause; a paused or failed job of the queue is pending again |
| `stop`        | a user             | a request to a training; it ends as done with what it has               |
| `cancel`      | a user             | a request to a running job; any other is cancelled by it                |
| `paused`      | a run              | paused                                                                  |
| `requeued`    | a gateway          | pending, or what the request to the run that died says: paused, cancelled     |
| `done`        | a run              | done, for good                                                          |
| `failed`      | a run or a gateway | failed; data: `error`. It may be resumed                                |
| `cancelled`   | a run              | cancelled, for good                                                     |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as altered
from types import MappingProxyType
from typing import Any

from jobs.core.errors import JobStateError, UserError
from jobs.core.job_states import ASKED_FOR, ENDED, FINAL, PAUSED_OR_FAILED, JobStateName
from jobs.core.naming import wrong_with
from jobs.core.processes import has_ended
from jobs.records.numbered_records import NumberedRecords, Record
from jobs.storage.paths import Place

STATE_AFTER: Mapping[str, JobStateName | None] = MappingProxyType(
    {
        "submitted": "pending",
        "claimed": "running",
        "started": "running",
        "pause": None,
        "pause-after": None,
        "step": None,
        "resume": None,
        "stop": None,
        "cancel": None,
        "paused": "paused",
        "requeued": "pending",
        "done": "done",
        "failed": "failed",
        "cancelled": "cancelled",
    }
)
"""Every word, and the state that it puts a job into; None for a request, whose effect depends on the state."""

REQUESTS = frozenset(word for word, state in STATE_AFTER.items() if state is None)
# Requests to a run that continues: claiming the job does not answer them, only a pause or an end does.
_LASTING = frozenset({"pause-after", "step", "stop"})
DIED = "its process ended without finishing"
_FOLDER = "jobs"


@dataclass(frozen=True)
class JobState:
    """The state of a job, folded from its records.

    `request` is the request that is not answered yet; `attempts` says how often the job was claimed, `holder` is the
    identity of the last process that did. `queued`: it was submitted, so that gateways may run it. `number` is that of
    the last record: what is added `after` it is added to exactly this state. `error` is why it failed.
    """

    state: JobStateName
    request: Record | None = None
    attempts: int = 0
    holder: Mapping[str, Any] | None = None
    queued: bool = False
    number: int = 0
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Say whether the job is over; a failed one may be resumed all the same."""
        return self.state in ENDED

    @property
    def is_final(self) -> bool:
        """Say whether nothing can become of the job any more: it is done or cancelled."""
        return self.state in FINAL


def fold(records: Sequence[Record]) -> JobState | None:
    """Return the state that records, given in order, add up to; None if there are none."""
    state: JobState | None = None
    for record in records:
        after = _after(state or JobState("pending"), record)
        state = altered(after, number=record.number)
    return state


def _after(now: JobState, record: Record) -> JobState:
    """Return the state after one more record; one that comes too late, or of a later version, changes nothing."""
    word = record.word
    if now.state in FINAL or word not in STATE_AFTER:
        return now
    if word in REQUESTS:
        return _asked(now, record)
    if word in {"claimed", "started"}:
        return _taken_up(now, record)
    if word == "submitted":
        return altered(now, state="pending", queued=True)
    if word != "requeued":
        error = record.data.get("error") if word == "failed" else None
        return altered(now, state=STATE_AFTER[word] or now.state, request=None, error=error)
    answered = ASKED_FOR.get(now.request.word) if now.request else None
    return altered(now, state=answered, request=None) if answered else altered(now, state="pending")


def _taken_up(now: JobState, record: Record) -> JobState:
    fresh = now.state != "running"
    lasting = now.request if not fresh or (now.request and now.request.word in _LASTING) else None
    holder = record.data.get("process")
    return altered(now, state="running", request=lasting, attempts=now.attempts + fresh, holder=holder)


def _asked(now: JobState, record: Record) -> JobState:
    word = record.word
    running = now.state == "running"
    if word == "cancel":
        return altered(now, request=record) if running else altered(now, state="cancelled", request=None)
    if now.request and now.request.word == "cancel":
        return now
    if word == "resume":
        again = now.queued and now.state in PAUSED_OR_FAILED
        kept = now.request if again and now.request and now.request.word in _LASTING else None
        return altered(now, state="pending" if again else now.state, request=kept if not running else None)
    if word == "pause" and now.state != "running":
        return altered(now, state="paused", request=None) if now.state == "pending" else now
    if word == "step" and now.queued and now.state in PAUSED_OR_FAILED:
        return altered(now, state="pending", request=record)
    return altered(now, request=record)


class JobLog(NumberedRecords):
    """The records of one job of the workspace at `root`. They need not exist yet."""

    def __init__(self, root: Place, job_id: str) -> None:
        if problem := wrong_with("job", job_id):
            raise UserError(problem)
        super().__init__(root / _FOLDER / job_id, "job")
        self.job_id = job_id

    def state(self) -> JobState | None:
        """Return the state of the job; None if it has no records."""
        return fold(self.records())

    def add(self, word: str, data: Mapping[str, Any] | None = None, after: int | None = None) -> Record | None:
        """Add a record and return it.

        With `after`, the number of the last record that the caller has seen, it is added only if that is still the last
        one; None says that another writer was first. Without it the record takes the next free number. Raises
        `JobStateError` for a request to a job that is over.
        """
        if word not in STATE_AFTER:
            raise ValueError(f"{word!r} is no word of a job log; expected one of {', '.join(STATE_AFTER)}")
        while True:
            records = self.records()
            last = records[-1].number if records else 0
            if after is not None and after != last:
                return None
            self._refuse(word, fold(records))
            if record := self.create(last + 1, word, data):
                return record

    def _refuse(self, word: str, state: JobState | None) -> None:
        if word not in REQUESTS or state is None or not state.ended:
            return
        if state.state == "failed" and word in {"resume", "step", "pause-after", "cancel"}:
            return
        raise JobStateError(f"job {self.job_id} is {state.state}; {word} is for a job that is not over")


def seen(job_log: JobLog) -> JobState | None:
    """Return the state of a job; `failed` if its process has died, unless it is queued: gateways see to those."""
    return _as_it_is(job_log.state())


def _as_it_is(state: JobState | None) -> JobState | None:
    dead = state and state.state == "running" and not state.queued and state.holder and has_ended(state.holder)
    return altered(state, state="failed", request=None) if state and dead else state


def settled(job_log: JobLog) -> JobState | None:
    """Return the state of a job, after recording that its process has died, if it has."""
    while True:
        said = job_log.state()
        state = _as_it_is(said)
        if state == said or state is None:
            return state
        job_log.add("failed", {"error": DIED}, after=state.number)


def jobs_of(root: Place) -> list[str]:
    """Return the ids of all jobs of the workspace at `root` that have records, in order."""
    return (root / _FOLDER).folders_with(f"{1:06}.json")
