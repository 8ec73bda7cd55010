"""The journal of a run: JSON lines that are only ever appended, one file per attempt and one writer per file.

Imports little: programs that wait read it too. Every event is written at once; there are a few events for each block
of frames, never one for each frame.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from jobs.storage.append_log import AppendLog, Reader, create_log, first_names, log_names
from jobs.storage.paths import Place

EVENTS: Mapping[str, str] = {
    "run_started": "frames: those in all streams; data: stages, profile",
    "stage_started": "stage; frames: those to do, null where not known",
    "block_done": "stage; frames of a task, (stream_id, first_idx) to (last_stream_id, last_idx); rows; seconds; data",
    "objects_seen": "stage; data: frames, of a few of those in the block, each with stream_id, frame_idx and objects",
    "frames_set_aside": "stage; quarantined frames of a block; error: that of the first",
    "committed": "stage: the table; rows; seconds",
    "stage_done": "stage; frames: those it accounts for; rows: those computed; seconds; data: the other counts",
    "train_step": "data: epoch, step, steps, loss, learning_rate, every two seconds at most",
    "train_epoch": "data: epoch, and its figures",
    "release_made": "data: name, the release before it, and how the frames differ from it",
    "run_done": "frames; seconds",
    "run_paused": "frames; seconds",
    "run_cancelled": "seconds; error",
    "run_failed": "seconds; error",
}
"""The events, and the fields that each fills besides job_id, attempt and at_ns."""

FIELDS = (
    "at_ns",
    "job_id",
    "attempt",
    "event",
    "stage",
    "stream_id",
    "first_idx",
    "last_stream_id",
    "last_idx",
    "frames",
    "rows",
    "seconds",
    "error",
    "data",
)
_NAME = re.compile(r"journal-(\d+)")
_SUFFIX = ".jsonl"


class Journal:
    """Writes the events of one attempt at a run. Use `of` for the next attempt at a job.

    A journal that cannot be written stops no run: if the disk is full, writing the tables fails with that, too.
    """

    def __init__(self, path: Place, job_id: str, attempt: int, lines: AppendLog) -> None:
        self.path = path
        self.job_id = job_id
        self.attempt = attempt
        self._lines = lines

    @classmethod
    def of(cls, root: Place, job_id: str) -> Journal:
        """Start the journal of the next attempt at a job of the workspace at `root`."""
        folder = folder_of(root, job_id)
        attempt = max(_attempts(folder), default=0) + 1
        while (lines := create_log(path := _path(folder, attempt))) is None:
            attempt += 1
        return cls(path, job_id, attempt, lines)

    def write(self, event: str, *, at_ns: int | None = None, **fields: Any) -> None:
        """Write one event of `EVENTS`; fields that are None are left out of the line."""
        line = {"at_ns": at_ns or time.time_ns(), "job_id": self.job_id, "attempt": self.attempt, "event": event}
        line |= {name: value for name, value in fields.items() if value is not None}
        with suppress(OSError):
            self._lines.append(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file; nothing can be written after that."""
        self._lines.close()


class JournalReader:
    """Reads the journals of a job as they grow; every call of `new` returns the complete lines that were added."""

    def __init__(self, root: Place, job_id: str) -> None:
        self._folder = folder_of(root, job_id)
        self._readers: dict[int, Reader] = {}

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the events since the last call, attempt by attempt."""
        for line in self.new_lines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event

    def new_lines(self) -> Iterator[bytes]:
        """Yield the complete lines since the last call as they are written, for those who parse few of them."""
        for attempt in _attempts(self._folder):
            reader = self._readers.setdefault(attempt, Reader(_path(self._folder, attempt)))
            yield from reader.new().splitlines()


def events(root: Place, job_id: str) -> list[dict[str, Any]]:
    """Return all events of a job, oldest attempt first."""
    return list(JournalReader(root, job_id).new())


def journaled_jobs(root: Place) -> list[str]:
    """Return the ids of the jobs of a workspace that have a journal, in order."""
    return (root / "jobs").folders_with(*first_names("journal-1", _SUFFIX))


def folder_of(root: Place, job_id: str) -> Place:
    """Return the folder in which a job's records and journals are."""
    return root / "jobs" / job_id


def _path(folder: Place, attempt: int) -> Place:
    return folder / f"journal-{attempt}{_SUFFIX}"


def _attempts(folder: Place) -> list[int]:
    return sorted({int(found[1]) for name in log_names(folder) if (found := _NAME.fullmatch(name))})
