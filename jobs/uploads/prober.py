"""Asks a process with limits what is in files; it is started with the first one, and ends when nobody asks."""

from __future__ import annotations

import json
import select
import subprocess
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from jobs.core.interpreter import end_child, python, python_environment
from jobs.uploads.probe_process import CPU_S

_WAIT_S = 30.0
_START_S = 60.0


class Probed(NamedTuple):
    """What a file holds, or `why` it cannot be used."""

    found: dict[str, Any]
    why: str | None


class Prober:
    """Probes one file after the other; safe for threads."""

    def __init__(self, wait_s: float = _WAIT_S) -> None:
        self._wait_s = wait_s
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def probe(self, path: Path) -> Probed:
        """Return what a file holds. Raises `OSError` where it cannot be read for a reason that is not its own."""
        with self._lock:
            answer = self._ask(path)
        if "error" in answer:
            raise OSError(answer["error"])
        return Probed(answer.get("found", {}), answer.get("why"))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
        with self._lock:
            self._end()

    def _ask(self, path: Path) -> dict[str, Any]:
        is_new = self._process is None or self._process.poll() is not None
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(str(path)) + "\n")
            process.stdin.flush()
        except OSError:
            # It ended because nobody had sent a file for a while.
            self._end()
            return self._ask(path)
        wait_s = self._wait_s + (_START_S if is_new else 0)
        line = process.stdout.readline() if select.select([process.stdout], [], [], wait_s)[0] else None
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._end()
        if line is None:
            return {"why": f"it took more than {self._wait_s:.0f} s to open"}
        if not is_new:
            # It may have ended just before it was asked.
            return self._ask(path)
        return {"why": f"opening it took more than {CPU_S} s of processor time, or crashed its reader"}

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                python("-m", "jobs.uploads.probe_process"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # What decoders complain of is in the answers.
                stderr=subprocess.DEVNULL,
                text=True,
                env={**python_environment(), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            end_child(process)
