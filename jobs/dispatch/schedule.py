"""Recurring jobs: schedules in the workspace, submitted by its gateway, each time with a release.

A time of a schedule is a job id, so that two gateways cannot submit it twice. Imports little.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from jobs.core.errors import UserError, one_line
from jobs.core.naming import wrong_with
from jobs.dispatch.follow_up import FollowUp
from jobs.dispatch.job_queue import QueuedJob
from jobs.records.job_log import JobLog
from jobs.storage.paths import Place

_LONGEST_NAME = 60
_FIELDS = 5
_LONGEST_EXPRESSION = 500

NICKNAMES: Mapping[str, str] = MappingProxyType(
    {
        "@hourly": "0 * * * *",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *",
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
    }
)
"""Names of common expressions, as crontab(5) has them; `@reboot` is no time."""


@dataclass(frozen=True)
class Schedule:
    """What to run, and when; `asked` are the options of `winnow run`, interpreted each time.

    `then` is what is done with the release afterwards: the values of a `FollowUp`, empty for nothing.
    """

    name: str
    cron: str
    tz: str
    asked: Mapping[str, Any]
    priority: int = 0
    then: Mapping[str, Any] = field(default_factory=dict)
    added_ns: int = field(default_factory=time.time_ns)

    @property
    def zone(self) -> tzinfo:
        """Return the time zone in which the expression is meant."""
        return UTC if self.tz == "UTC" else ZoneInfo(self.tz)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the next time that it is due, in its own zone; None if it never is again."""
        return next(CronSim(self.cron, moment.astimezone(self.zone)), None)

    def last_until(self, moment: datetime) -> datetime | None:
        """Return the last time up to a moment that it was due, in its own zone; None if it never was."""
        # Going back starts before the moment it is given.
        after = moment.astimezone(self.zone).replace(microsecond=0) + timedelta(seconds=1)
        found = next(CronSim(self.cron, after, reverse=True), None)
        # In the hour that clocks go through twice, going back misses what came in its first round.
        while found is not None and (later := self.next_after(found)) is not None and later <= moment:
            found = later
        return found if found is None or found <= moment else None


def problems(schedule: Schedule) -> list[str]:
    """Return what is wrong with a name, an expression, a time zone and what follows."""
    try:
        found = FollowUp.parse(schedule.then).problems()
    except UserError as error:
        found = list(error.problems)
    if wrong := wrong_with("schedule", schedule.name):
        found.append(wrong)
    elif len(schedule.name) > _LONGEST_NAME:
        found.append(f"schedule name {schedule.name!r}: expected at most {_LONGEST_NAME} characters")
    try:
        zone = schedule.zone
    except (KeyError, ValueError, OSError):
        found.append(f"--tz {schedule.tz}: expected the name of a time zone, as in Europe/Berlin or UTC")
        zone = UTC
    wanted = f"--cron {schedule.cron!r}: expected minute, hour, day of month, month and day of week, as in '0 2 * * *'"
    if len(schedule.cron) > _LONGEST_EXPRESSION:
        return [*found, f"--cron: expected at most {_LONGEST_EXPRESSION} characters, found {len(schedule.cron):,}"]
    if len(schedule.cron.split()) != _FIELDS:
        return [*found, f"{wanted}, or one of {', '.join(NICKNAMES)}"]
    try:
        if next(CronSim(schedule.cron, datetime.now(zone)), None) is None:
            found.append(f"--cron {schedule.cron!r} names no time that ever comes")
    except CronSimError as error:
        found.append(f"{wanted}; found: {str(error).lower()}")
    return found


def save(root: Place, schedule: Schedule) -> None:
    """Save a schedule in the workspace at `root`. Raises `UserError` for a taken name or an invalid schedule."""
    if wrong := problems(schedule):
        raise UserError(wrong)
    path = _path(root, schedule.name)
    if not path.create(json.dumps(asdict(schedule), indent=1).encode() + b"\n"):
        raise UserError(f"schedule {schedule.name!r} exists; remove it first, or choose another name")


def load_all(root: Place) -> Iterator[tuple[str, Schedule | UserError]]:
    """Yield the schedules of the workspace at `root` by their names; of one that is damaged, what is wrong with it."""
    for path in _files(root):
        try:
            yield _name(path), _read(path)
        except FileNotFoundError:
            # It has just been removed.
            continue
        except UserError as error:
            yield _name(path), error


def _files(root: Place) -> list[Place]:
    folder = root / "schedules"
    return [folder / name for name in folder.names() if name.endswith(".json") and not name.startswith(".")]


def _name(path: Place) -> str:
    return path.name.removesuffix(".json")


def _read(path: Place) -> Schedule:
    try:
        found = Schedule(**json.loads(path.read()))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise _damaged_error(path, one_line(error)) from error
    kinds = {"name": str, "cron": str, "tz": str, "asked": dict, "priority": int, "then": dict, "added_ns": int}
    unlike = [
        f"{name}: {getattr(found, name)!r}" for name, kind in kinds.items() if type(getattr(found, name)) is not kind
    ]
    if wrong := unlike or problems(found):
        raise _damaged_error(path, ", ".join(wrong))
    if found.name != _name(path):
        raise _damaged_error(path, f"its name there is {found.name!r}")
    return found


def _damaged_error(path: Place, why: str) -> UserError:
    name = _name(path)
    return UserError(
        f"schedule {name!r}: {path} is no schedule of this version ({why}); put the file right, or take it out with "
        f"`winnow schedule remove {name}` and add it again"
    )


def find(root: Place, name: str) -> Schedule:
    """Return a schedule by its name. Raises `UserError` for one that is unknown or damaged."""
    _check_known(root, name)
    return _read(_path(root, name))


def remove(root: Place, name: str) -> None:
    """Delete a schedule, a damaged one too; its jobs and releases stay. Raises `UserError` for an unknown one."""
    _check_known(root, name)
    _path(root, name).delete()
    _notes_path(root, name).delete()


def _check_known(root: Place, name: str) -> None:
    known = [_name(path) for path in _files(root)]
    if name not in known:
        raise UserError(f"there is no schedule {name!r}; there are: {', '.join(known) or 'none yet'}")


def notes(root: Place, name: str) -> dict[str, Any]:
    """Return the result of a schedule's last due time: `due_ns`, and `skipped` with the reason if nothing ran."""
    try:
        return dict(json.loads(_notes_path(root, name).read()))
    except (FileNotFoundError, ValueError, TypeError):
        # Of a time that was submitted its job knows, too.
        return {}


def jobs_of(jobs: Sequence[QueuedJob], name: str) -> list[QueuedJob]:
    """Return the jobs that a schedule has submitted, oldest first."""
    return sorted((job for job in jobs if job.schedule == name), key=lambda job: job.submitted_ns)


def submit_due(root: Place, jobs: Sequence[QueuedJob], now_ns: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Submit what has become due since the last look, and yield what was done as events.

    However many due times passed without a gateway, a schedule runs once for them. It is not run while its last job
    has not ended.
    """
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    for _, schedule in load_all(root):
        if isinstance(schedule, UserError):
            # It must not keep the others from being run.
            yield "schedule_unreadable", {"error": str(schedule)}
            continue
        due = schedule.last_until(now)
        noted_ns = notes(root, schedule.name).get("due_ns", 0)
        if (later_ns := noted_ns or schedule.added_ns) > now_ns:
            # The clock was wrong then, or is now. It would be silent until that time comes; so it counts from now on.
            _write_notes(root, schedule.name, {"due_ns": now_ns})
            yield "schedule_clock_set_back", {"schedule": schedule.name, "noted_ns": later_ns}
            continue
        seen_ns = max(noted_ns, schedule.added_ns if schedule.added_ns <= now_ns else 0)
        if due is None or _ns(due) <= seen_ns:
            continue
        details: dict[str, Any] = {"schedule": schedule.name, "due": due.isoformat()}
        if busy := unfinished(jobs, schedule.name):
            reason = f"job {busy.job_id} is {busy.state.state}"
            _write_notes(root, schedule.name, {"due_ns": _ns(due), "skipped": reason})
            yield "schedule_skipped", details | {"reason": reason}
            continue
        # The job first: after a crash between the two it is found submitted.
        job_id = submit_at(root, schedule, due)
        _write_notes(root, schedule.name, {"due_ns": _ns(due)})
        yield "schedule_due", details | {"job_id": job_id}


def submit_now(root: Place, schedule: Schedule, jobs: Sequence[QueuedJob]) -> str:
    """Submit a schedule out of turn and return the job's id. Raises `UserError` while its last job has not ended."""
    if busy := unfinished(jobs, schedule.name):
        raise UserError(
            f"schedule {schedule.name!r}: job {busy.job_id} is {busy.state.state}; wait, or cancel it first"
        )
    due = datetime.now(schedule.zone)
    if any(job.job_id == _job_id(schedule, due) for job in jobs):
        raise UserError(f"schedule {schedule.name!r} was submitted this second; look again in a moment")
    return submit_at(root, schedule, due)


def submit_at(root: Place, schedule: Schedule, due: datetime) -> str:
    """Submit a schedule for one of its times, if that was not done, and return the job's id."""
    job_id = _job_id(schedule, due)
    data = {
        "asked": dict(schedule.asked),
        "priority": schedule.priority,
        "schedule": schedule.name,
        "release": f"{schedule.name}-{due:%Y-%m-%d}",
        **({"then": dict(schedule.then)} if schedule.then else {}),
    }
    JobLog(root, job_id).add("submitted", data, after=0)
    return job_id


def _job_id(schedule: Schedule, due: datetime) -> str:
    return f"{due.astimezone(UTC):%Y%m%d-%H%M%S}-{schedule.name}"


def unfinished(jobs: Sequence[QueuedJob], name: str) -> QueuedJob | None:
    """Return the last job of a schedule that has not ended, if there is one."""
    return next((job for job in reversed(jobs_of(jobs, name)) if not job.state.ended), None)


def _write_notes(root: Place, name: str, values: Mapping[str, Any]) -> None:
    path = _notes_path(root, name)
    path.parent.make_folder()
    path.write(json.dumps(values).encode() + b"\n")


def _path(root: Place, name: str) -> Place:
    return root / "schedules" / f"{name}.json"


def _notes_path(root: Place, name: str) -> Place:
    return root / "schedules" / "noted" / f"{name}.json"


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9
