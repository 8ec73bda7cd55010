"""A Ray cluster of two nodes on this machine, in a process of its own: `python -m tests.machines`.

Prints its address, kills the second node's raylet when it reads `kill`, adds one at `add`, and ends with its input.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partialmethod
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE_S, wait_until

UNCOMPILED = {"NUMBA_DISABLE_JIT": "1"}
"""For a copy of the program: what numba has compiled is next to the original, and takes half a minute elsewhere."""

_MEMORY = 80 << 20
_TRIES = 10

PATIENT = {
    name: str(round(PATIENCE_S * 1000 if name.endswith("_ms") else PATIENCE_S))
    for name in (
        "RAY_gcs_server_port_wait_time_s",
        "RAY_worker_register_timeout_seconds",
        "RAY_agent_register_timeout_ms",
        "RAY_health_check_timeout_ms",
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S",
    )
}
"""What Ray waits for longer than by default, for a busy machine; a process that has ended is noticed all the same."""


class Machines:
    """The cluster as its user sees it; `folder` is where it keeps its logs."""

    def __init__(self, process: subprocess.Popen[str], address: str, folder: Path) -> None:
        self._process = process
        self.folder = folder
        self.address = address

    def kill_one(self) -> None:
        """Kill the raylet of the node that is not the head, and with it all its workers."""
        self._say("kill")

    def add_one(self) -> None:
        """Add a node."""
        self._say("add")

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert _line(self._process) == f"{word} done"


def _line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints; an empty one where it ends without."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def two_machines() -> Iterator[Machines]:
    """Start the cluster, and end it. One that does not come up, as Ray gives up on a busy machine, is started again."""
    command = [sys.executable, "-m", "tests.machines"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with apart() as environment:
        for _ in range(_TRIES):
            with subprocess.Popen(command, **pipes, text=True, env=without_keys(environment)) as process:
                if not (address := _line(process)):
                    continue
                try:
                    yield Machines(process, address, Path(environment["RAY_TMPDIR"]))
                finally:
                    assert process.stdin is not None
                    process.stdin.close()
                    process.wait(PATIENCE_S)
            return
    raise AssertionError("the cluster did not come up")


def without_ray() -> dict[str, str]:
    """Return this process's environment without what its own cluster is set up by, which others would stumble over."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | PATIENT


def without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without any setting of an object store."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


@contextmanager
def head(*options: str, **more: str) -> Iterator[tuple[str, str]]:
    """Start a cluster as the documentation says, in an environment with something more; return its two addresses.

    They are that of the cluster and that of its dashboard, which may take a while longer, if it is requested.
    """
    programs = Path(sys.executable).parent
    with apart() as environment:
        # Not this checkout, but what is handed over, is what has to run.
        environment |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": "", **more}
        environment["PYTHONUNBUFFERED"] = "1"
        for _ in range(_TRIES):
            ports = gcs, dash, *_ = free_ports(4)
            command = _head_command(ports, options)
            with _group(command, environment, Path(environment["RAY_TMPDIR"])) as (process, said):
                wait_until(
                    lambda: process.poll() is not None or _UP in said.read_text(), "the cluster came not up", 0.2
                )
                # What Ray gives up on where the machine is busy, or another program took the port, is started again.
                if process.poll() is not None:
                    continue
                yield f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dash}"
            return
    raise AssertionError("the cluster did not come up")


_UP = "Ray runtime started"


def _head_command(ports: Sequence[int], options: Sequence[str]) -> list[str]:
    gcs, dash, agent, client = ports
    command = ["ray", "start", "--head", "--block", "--num-cpus=1", f"--port={gcs}", f"--dashboard-port={dash}"]
    command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}", *options]
    return [*command, f"--object-store-memory={_MEMORY}", "--disable-usage-stats"]


@contextmanager
def _group(
    command: list[str], environment: Mapping[str, str], folder: Path
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a command in a group of its own; yield it and the file of what it says. The whole group is ended."""
    said = folder / "start.txt"
    with (
        open(said, "w", encoding="utf-8") as sink,
        subprocess.Popen(
            command, stdout=sink, stderr=sink, env=environment, cwd=folder, start_new_session=True, text=True
        ) as process,
    ):
        try:
            yield process, said
        finally:
            # Asked to end, Ray waits half a minute for its own processes; those end with the one that started them.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)
            kill_all_of(folder)


def kill_all_of(folder: Path) -> None:
    """Kill the processes whose command lines name a folder."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if str(folder).encode() in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


def free_ports(n: int) -> list[int]:
    """Return ports of this machine without a listener."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def apart() -> Iterator[dict[str, str]]:
    """Return an environment in which a cluster leaves no note that other programs of this machine would follow."""
    # Sockets are in it, whose paths must be short.
    with tempfile.TemporaryDirectory(prefix="wn", dir="/tmp", ignore_cleanup_errors=True) as folder:
        # On a busy machine workers that stand back behind every other process hardly get to run at all.
        # Five checks in a row find out that a machine is dead: Ray does one in three seconds.
        own = {"RAY_TMPDIR": folder, "RAY_worker_niceness": "0", "RAY_health_check_period_ms": "400"}
        yield without_ray() | own


def main() -> None:
    """Serve the holder of the address."""
    from ray.cluster_utils import Cluster

    Cluster._wait_for_node = partialmethod(Cluster._wait_for_node, timeout=PATIENCE_S)
    options: dict[str, Any] = {"num_cpus": 1, "object_store_memory": _MEMORY}
    # Of the agent's usual port there is but one, and Ray would wait for it.
    head_options = {**options, "include_dashboard": False, "dashboard_agent_listen_port": 0, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args=head_options)
    nodes = [cluster.add_node(**options)]
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line.strip() == "kill":
            node = nodes.pop()
            (raylet,) = node.all_processes["raylet"]
            os.kill(raylet.process.pid, signal.SIGKILL)
            raylet.process.wait()
        else:
            nodes.append(cluster.add_node(**options))
        sys.stdout.write(f"{line.strip()} done\n")
        sys.stdout.flush()
    cluster.shutdown()


if __name__ == "__main__":
    main()
