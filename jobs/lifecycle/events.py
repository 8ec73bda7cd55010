"""The journal of a run: JSON lines that are only ever appended, one file per attempt and one writer per file.

Imports little: programs that wait read it too. Every event goes to the file at once; there are a few for each block of
frames, never one for each frame.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

EVENTS: Mapping[str, str] = {
    "run_started": "frames: those in all streams; data: stages, profile",
    "stage_started": "stage; frames: those to do, null where not known",
    "block_done": "one task's frames, from (stream_id, first_idx) to (last_stream_id, last_idx); rows; seconds",
    "frames_set_aside": "frames of a block that a fault kept from being computed; error: that of the first",
    "committed": "stage: the table; rows; seconds",
    "stage_done": "stage; frames: those it accounts for; rows: those computed; seconds; data: the other counts",
    "release_made": "data: name, the release before it, and how the frames differ from it",
    "run_done": "frames; seconds",
    "run_paused": "frames; seconds",
    "run_cancelled": "seconds; error",
    "run_failed": "seconds; error",
}
"""What is written down, and which fields it fills beside job_id, attempt and at_ns."""

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
_FILE = re.compile(r"journal-(\d+)\.jsonl")


class Journal:
    """Writes down what happens in one attempt at a run. Use `of` for the next attempt at a job.

    A journal that cannot be written stops no run: the disk that is full for it is full for the tables too, which say
    so.
    """

    def __init__(self, path: Path, job_id: str, attempt: int, handle: int) -> None:
        self.path = path
        self.job_id = job_id
        self.attempt = attempt
        self._handle = handle
        self._torn = False

    @classmethod
    def of(cls, root: Path, job_id: str) -> Journal:
        """Begin the journal of the next attempt at a job of the workspace at `root`."""
        folder = folder_of(root, job_id)
        folder.mkdir(parents=True, exist_ok=True)
        attempt = max((number for number, _ in _files(folder)), default=0) + 1
        while True:
            path = folder / f"journal-{attempt}.jsonl"
            try:
                handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                attempt += 1
                continue
            return cls(path, job_id, attempt, handle)

    def write(self, event: str, *, at_ns: int | None = None, **fields: Any) -> None:
        """Write down one event of `EVENTS`; what is not given stays out of the line."""
        line = {"at_ns": at_ns or time.time_ns(), "job_id": self.job_id, "attempt": self.attempt, "event": event}
        line |= {name: value for name, value in fields.items() if value is not None}
        text = json.dumps(line).encode() + b"\n"
        with suppress(OSError):
            # What a full disk has cut off must not spoil the line behind it.
            self._append(b"\n" + text if self._torn else text)

    def _append(self, text: bytes) -> None:
        written = os.write(self._handle, text)
        self._torn = written < len(text)

    def close(self) -> None:
        """Close the file; nothing can be written any more."""
        os.close(self._handle)


class Follower:
    """Reads the journals of a job as they grow; every call of `new` returns the whole lines that were added."""

    def __init__(self, root: Path, job_id: str) -> None:
        self._folder = folder_of(root, job_id)
        self._read: dict[int, int] = {}

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the events since the last call, attempt by attempt."""
        for attempt, path in _files(self._folder):
            before = self._read.get(attempt, 0)
            try:
                if path.stat().st_size <= before:
                    continue
                with open(path, "rb") as handle:
                    handle.seek(before)
                    data = handle.read()
            except FileNotFoundError:
                continue
            # What comes after the last line break is still being written, or never was to its end.
            whole = data.rfind(b"\n") + 1
            self._read[attempt] = before + whole
            for line in data[:whole].splitlines():
                with suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        yield event


def events(root: Path, job_id: str) -> list[dict[str, Any]]:
    """Return everything that was written down about a job, oldest attempt first."""
    return list(Follower(root, job_id).new())


def journaled_jobs(root: Path) -> list[str]:
    """Return the ids of the jobs of a workspace that have a journal, in order."""
    return sorted(path.parent.name for path in (root / "jobs").glob("*/journal-1.jsonl"))


def folder_of(root: Path, job_id: str) -> Path:
    """Return the folder in which a job's records and journals lie."""
    return root / "jobs" / job_id


def _files(folder: Path) -> list[tuple[int, Path]]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((int(found[1]), folder / name) for name in names if (found := _FILE.fullmatch(name)))
