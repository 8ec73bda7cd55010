"""Progress of a job, from its journal: frames done of each stage, their rate, and the time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.core.job_states import STOPPED

_WINDOW_NS = 30 * 10**9
_SEEN = 4
_STOPPED = frozenset(f"run_{state}" for state in STOPPED)


@dataclass
class StageProgress:
    """Progress of one stage, in frames; `total` is None where it is not known."""

    name: str
    total: int | None = None
    done: int = 0
    started_ns: int = 0
    ended_ns: int | None = None
    counts: Mapping[str, Any] = field(default_factory=dict)
    _recent: deque[tuple[int, int]] = field(default_factory=deque, repr=False)

    def advance(self, at_ns: int, frames: int) -> None:
        """Add frames that were done at a time, in ns since 1970."""
        self.done += frames
        self._recent.append((at_ns, frames))
        while self._recent[0][0] < at_ns - _WINDOW_NS:
            self._recent.popleft()

    def frames_per_second(self, now_ns: int | None = None) -> float:
        """Return the rate of the last 30 s, or, of a stage that has ended, its average."""
        if self.ended_ns is not None:
            return self.done / max(1e-9, (self.ended_ns - self.started_ns) / 1e9) if self.done else 0.0
        now = now_ns or time.time_ns()
        since = max(self.started_ns, now - _WINDOW_NS)
        frames = sum(n for at, n in self._recent if at >= since)
        return frames / ((now - since) / 1e9) if now > since else 0.0

    def eta_s(self, now_ns: int | None = None) -> float | None:
        """Return how many seconds the rest takes at the current rate; None where that is not known."""
        rate = self.frames_per_second(now_ns)
        if self.total is None or self.ended_ns is not None or not rate:
            return None
        return max(0, self.total - self.done) / rate


class Progress:
    """Progress of a job. Give it the events of its journal, in order, with `take`."""

    def __init__(self, events: Iterable[Mapping[str, Any]] = ()) -> None:
        self._clear()
        for event in events:
            self.take(event)

    def _clear(self) -> None:
        self.attempt = 0
        self.frames: int | None = None
        self.profile: str | None = None
        self.inputs: tuple[str, ...] = ()
        self.kept: int | None = None
        self.started_ns: int | None = None
        self.ended_ns: int | None = None
        self.stages: dict[str, StageProgress] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.current: StageProgress | None = None
        self.rows_committed = 0
        self.quarantined = 0
        self.ended: str | None = None
        self.error: str | None = None
        self.released: Mapping[str, Any] | None = None
        self.seen: tuple[Mapping[str, Any], ...] = ()
        self.at_ns = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """Process one event; a new attempt starts from zero."""
        kind = event.get("event")
        if kind == "run_started":
            self._clear()
            self.attempt, self.frames = int(event["attempt"]), event.get("frames")
            begun = event.get("data") or {}
            self.profile, self.inputs = begun.get("profile"), tuple(begun.get("inputs") or ())
            self.started_ns = event.get("at_ns")
        self.at_ns = max(self.at_ns, int(event.get("at_ns", 0)))
        if kind == "stage_started":
            self._close_current(event["at_ns"])
            self.current = StageProgress(event["stage"], event.get("frames"), started_ns=event["at_ns"])
            self.stages[event["stage"]] = self.current
        elif kind == "block_done" and self.current is not None:
            self.current.advance(event["at_ns"], event["frames"])
        elif kind == "objects_seen":
            frames = (event.get("data") or {}).get("frames") or ()
            self.seen = (*self.seen, *frames)[-_SEEN:]
        elif kind == "train_step" and self.current is not None and "step" in (event.get("data") or {}):
            # Steps of a training take the place of frames; those of earlier attempts are done when it begins.
            step = int(event["data"]["step"])
            if self.current.total is None:
                self.current.total, self.current.done = int(event["data"]["steps"]), step
            self.current.advance(event["at_ns"], max(0, step - self.current.done))
        elif kind == "stage_done":
            account = event.get("data", {}) | {n: event.get(n) for n in ("frames", "rows", "seconds")}
            self.accounts[event["stage"]] = account
        elif kind == "committed":
            self.rows_committed += event["rows"]
        elif kind == "frames_set_aside":
            self.quarantined += event["frames"]
            self.error = event.get("error")
        elif kind == "release_made":
            self.released = event.get("data")
        elif kind in _STOPPED:
            self._close_current(event["at_ns"])
            self.ended, self.ended_ns = str(kind).removeprefix("run_"), event.get("at_ns")
            self.kept = (event.get("data") or {}).get("kept")
            self.error = event.get("error") or self.error

    def _close_current(self, at_ns: int) -> None:
        if self.current is not None:
            self.current.ended_ns = at_ns
        self.current = None

    def seconds(self, now_ns: int | None = None) -> float | None:
        """Return how long the last attempt has taken, until its end or until now; None where none was started."""
        if self.started_ns is None:
            return None
        return max(0.0, ((self.ended_ns or now_ns or time.time_ns()) - self.started_ns) / 1e9)

    def values(self, now_ns: int | None = None) -> dict[str, Any]:
        """Return the progress of the job as plain values, with the key `set_aside` for quarantined frames."""
        stage = self.current
        left = stage.eta_s(now_ns) if stage else None
        return {
            "attempt": self.attempt,
            "inputs": list(self.inputs),
            "frames": self.frames,
            "kept": self.kept,
            "stage": stage.name if stage else None,
            "done": stage.done if stage else None,
            "total": stage.total if stage else None,
            "frames_per_second": round(stage.frames_per_second(now_ns), 1) if stage else None,
            "eta_s": None if left is None else round(left, 1),
            "rows_committed": self.rows_committed,
            "set_aside": self.quarantined,
            "error": self.error,
        }
