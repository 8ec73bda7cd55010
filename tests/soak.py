"""A soak: many jobs through one gateway, whose memory, handles and temporary files have to stay as they are.

`make soak` runs 200; `python -m tests.soak 50` another number. Prints a line for every ten jobs, and ends with 1 where
something grows.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from jobs.dispatch.submit import submit
from jobs.records.job_log import JobLog
from jobs.runs.run_options import RunOptions
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from tests.helpers import write_noise_stream
from tests.processes import start_gateway
from tests.waiting import ended, wait_until

_EVERY = 10
_FRAMES = 12
_OVER = frozenset({"done", "failed", "cancelled"})
_MORE_MIB = 8.0


class Figures(NamedTuple):
    """What a gateway holds after some jobs: memory, open handles, threads; and what is left in temporary folders."""

    jobs: int
    rss_mib: float
    handles: int
    threads: int
    temporary: int
    spare: int


def measure(n_jobs: int, gateway: int, temporary: Path, root: Path) -> Figures:
    """Return the figures of now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{gateway}/status").read_text().splitlines())
    return Figures(
        n_jobs,
        round(int(status["VmRSS"].split()[0]) / 1024, 1),
        len(os.listdir(f"/proc/{gateway}/fd")),
        int(status["Threads"]),
        len(list(temporary.rglob("*"))),
        len(
            [path for path in root.rglob(".*") if path.suffix in {".tmp", ".partial", ".spare"} or "drain" in path.name]
        ),
    )


def soak(n_jobs: int) -> list[Figures]:
    """Run jobs through one gateway and return the figures after every ten of them."""
    with tempfile.TemporaryDirectory(prefix="soak-") as made:
        temporary, root = Path(made, "tmp"), Path(made, "tables")
        temporary.mkdir()
        os.environ["TMPDIR"] = str(temporary)
        stream = write_noise_stream(Path(made, "cam"), range(_FRAMES))
        Workspace.at(root).create()
        gateway = start_gateway(root)
        found = []
        try:
            for number in range(1, n_jobs + 1):
                # Another threshold each time, so that every job computes and commits something.
                settings = (f"curation.dark_mean={number % 40}", "resources.commit_seconds=0.2")
                log = JobLog(place(root), submit(root, RunOptions(inputs=[str(stream)], settings=settings)))
                wait_until(lambda log=log: (state := log.state()) and state.state in _OVER, process=gateway)  # type: ignore[misc]
                state = log.state()
                assert state is not None
                assert state.state == "done", state
                if number % _EVERY == 0:
                    found.append(measure(number, gateway.pid, temporary, root))
                    print("  ".join(f"{name} {value}" for name, value in found[-1]._asdict().items()), flush=True)
        finally:
            gateway.send_signal(signal.SIGTERM)
            ended(gateway)
        return found


def growing(found: list[Figures]) -> list[str]:
    """Return what grows from the first figures to the last: more handles, threads or files, or 8 MiB of memory."""
    first, last = found[0], found[-1]
    exact = [
        name for name in ("handles", "threads", "temporary", "spare") if getattr(last, name) > getattr(first, name)
    ]
    return exact + (["rss_mib"] if last.rss_mib > first.rss_mib + _MORE_MIB else [])


if __name__ == "__main__":
    grows = growing(soak(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
    print(f"grows: {', '.join(grows)}" if grows else "nothing grows")
    sys.exit(bool(grows))
