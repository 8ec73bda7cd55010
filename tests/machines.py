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
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MEMORY = 80 << 20


class Machines:
    """The cluster as its user sees it; `folder` is where it keeps its logs."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self.folder = folder
        self.address = self._line()

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
        assert self._line() == f"{word} done"

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the cluster did not come up"
        return line


@contextmanager
def two_machines() -> Iterator[Machines]:
    """Start the cluster, and end it."""
    command = [sys.executable, "-m", "tests.machines"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with (
        apart() as environment,
        subprocess.Popen(command, **pipes, text=True, env=without_keys(environment)) as process,
    ):
        try:
            yield Machines(process, Path(environment["RAY_TMPDIR"]))
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


def without_ray() -> dict[str, str]:
    """Return this process's environment without what its own cluster is set up by, which others would stumble over."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which nothing is said of an object store."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


@contextmanager
def head(*options: str, **more: str) -> Iterator[tuple[str, str]]:
    """Start a cluster as the documentation says, in an environment with something more; return its two addresses.

    They are that of the cluster and that of its dashboard, which may take a while longer, if it is asked for.
    """
    gcs, dash, agent, client = free_ports(4)
    command = ["ray", "start", "--head", "--block", "--num-cpus=1", f"--port={gcs}", f"--dashboard-port={dash}"]
    command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}", *options]
    command += [f"--object-store-memory={_MEMORY}", "--disable-usage-stats"]
    programs = Path(sys.executable).parent
    with apart() as environment:
        # Not this checkout, but what is handed over, is what has to run.
        environment |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": "", **more}
        quiet, folder = subprocess.DEVNULL, environment["RAY_TMPDIR"]
        with subprocess.Popen(
            command, stdout=quiet, stderr=quiet, env=environment, cwd=folder, start_new_session=True
        ) as process:
            try:
                deadline = time.monotonic() + 90
                while not _answers(gcs):
                    assert process.poll() is None, "the cluster did not come up"
                    assert time.monotonic() < deadline, "the cluster did not come up"
                    time.sleep(0.2)
                yield f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dash}"
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def free_ports(n: int) -> list[int]:
    """Return ports of this machine that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for each in sockets:
        each.close()
    return ports


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def apart() -> Iterator[dict[str, str]]:
    """Return an environment in which a cluster leaves no note that other programs of this machine would follow."""
    # Sockets lie in it, whose paths must be short.
    with tempfile.TemporaryDirectory(prefix="wn", dir="/tmp", ignore_cleanup_errors=True) as folder:
        # On a busy machine workers that stand back behind every other process hardly get to run at all.
        own = {"RAY_TMPDIR": folder, "RAY_worker_niceness": "0"}
        yield without_ray() | own


def main() -> None:
    """Serve whoever reads the address."""
    from ray.cluster_utils import Cluster

    options: dict[str, Any] = {"num_cpus": 1, "object_store_memory": _MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
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
