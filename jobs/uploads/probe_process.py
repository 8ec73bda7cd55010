"""The process that probes files: a path a line comes in, an answer a line goes out. Each has its own limits."""

from __future__ import annotations

import json
import os
import resource
import select
import sys
from pathlib import Path
from typing import Any

from jobs.core.errors import one_line

CPU_S = 5
"""Seconds of processor time for one file."""

MEMORY_BYTES = 1 << 30
"""Memory that probing may take beyond what the process has when it begins."""

_IDLE_S = 60.0


def main() -> None:
    """Answer until the input ends or nobody asks for a minute."""
    # Names of the libraries' own messages are nobody's business here.
    from jobs.uploads.probe import UnusableFileError, probe

    _limit_memory()
    while select.select([sys.stdin], [], [], _IDLE_S)[0] and (line := sys.stdin.readline()):
        _limit_time()
        try:
            answer: dict[str, Any] = {"found": probe(Path(json.loads(line)))}
        except UnusableFileError as error:
            answer = {"why": str(error)}
        except MemoryError:
            answer = {"why": f"it took more than {MEMORY_BYTES >> 20} MB of memory to open"}
        except OSError as error:
            answer = {"error": one_line(error)}
        except Exception as error:
            # Parsers of damaged files raise anything.
            answer = {"why": f"it cannot be read: {one_line(error) or type(error).__name__}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _limit_memory() -> None:
    """Limit memory: what is mapped now, of libraries, and so much more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    # What fails leaves no image of the memory on disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + CPU_S, hard))


if __name__ == "__main__":
    main()
