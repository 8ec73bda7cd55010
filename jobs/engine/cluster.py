"""Connection to an existing Ray cluster, with the same version of this program on every machine."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partialmethod
from typing import Any

from jobs.core.errors import RunFailedError, UserError, one_line
from jobs.engine.cluster_auth import agree, token
from jobs.engine.code_wheel import code_identity, version, write_wheel
from jobs.engine.loopback import reaching
from jobs.storage.spare_files import temporary_folder

_ANSWER_S = 120.0
_LEAN = {"dashboard_agent_listen_port": 0, "no_monitor": True, "include_log_monitor": False}


def join(ray: Any, address: str, quiet: Mapping[str, Any]) -> None:
    """Connect to the cluster at an address.

    Machines without this program, or with another version, get it for the duration of the run; its dependencies must be
    installed there. Raises `RunFailedError` if the cluster cannot be joined or used.
    """
    agree(ray, address)
    _init(ray, address, quiet)
    if not _other_versions(ray):
        return
    ray.shutdown()
    with temporary_folder() as folder:
        # Ray unpacks an archive on each machine; for a wheel it would need pip and the network there.
        shipped = {"working_dir": str(write_wheel(folder, ".zip"))}
        _init(ray, address, {**quiet, "runtime_env": shipped})
    if wrong := _other_versions(ray):
        ray.shutdown()
        node, reason = next(iter(wrong.items()))
        raise RunFailedError(
            f"{len(wrong)} of the machines of the Ray cluster at {address} cannot run winnow {version()}, among them "
            f"{node}: {reason}; install the packages that it needs there, for instance `pip install winnow`"
        )


def client_of_jobs(ray: Any, address: str) -> Any:
    """Return a client for the jobs of the cluster whose dashboard is at an address. Raises `UserError`."""
    for name in ("ray", "ray.dashboard", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    make, unknown = ray.job_submission.JobSubmissionClient, ray.exceptions.AuthenticationError
    try:
        try:
            return make(address)
        except unknown:
            # Ray sends its token by itself only with $RAY_AUTH_MODE, but the cluster may require it without.
            if not (found := token()):
                raise
            return make(address, headers={"Authorization": f"Bearer {found}"})
    except unknown as error:
        text = f"the Ray cluster at {address} requires another token than $RAY_AUTH_TOKEN or ~/.ray/auth_token"
        raise UserError(text) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"no dashboard of a Ray cluster answers at {address} ({one_line(error)}); expected http://HEAD:8265 of a "
            "cluster started with `ray start --head`"
        ) from error


def safe_job(ray: Any, folders: Iterable[str] = ()) -> Any:
    """Return a configuration for a job of Ray whose workers import from these folders first.

    Ray itself has them import from the driver's current folder first, and from that of its script.
    """
    return ray.job_config.JobConfig(_py_driver_sys_path=_FixedPath(folders))


@contextmanager
def lean_start() -> Iterator[None]:
    """Have a cluster that is started meanwhile for one run only start what such a run needs, and wait for nothing else.

    Ray wants the same port for the agent of every cluster of a machine, and waits four seconds for another one to
    release it. Neither does anything scale such a cluster, nor does anyone follow its logs.
    """
    parameters: Any = importlib.import_module("ray._private.parameter").RayParams
    original = parameters.__init__
    known = inspect.signature(original).parameters
    parameters.__init__ = partialmethod(original, **{name: value for name, value in _LEAN.items() if name in known})
    try:
        yield
    finally:
        parameters.__init__ = original


class _FixedPath(list[str]):
    """Folders for the search path of workers, to which nothing is added."""

    def extend(self, _more: Iterable[str]) -> None:
        """Leave out what Ray adds."""

    def __bool__(self) -> bool:
        """Return that it is to be used, even without folders."""
        return True


def _init(ray: Any, address: str, options: Mapping[str, Any]) -> None:
    try:
        with reaching(address):
            ray.init(address=address, job_config=safe_job(ray), **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise RunFailedError(f"the Ray cluster at {address} cannot be joined: {one_line(error)}") from error


def _other_versions(ray: Any) -> dict[str, str]:
    """Return the machines that do not run this program, by their address, and the reasons."""
    on_node = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    asked = {}
    for node in ray.nodes():
        if node["Alive"]:
            there = on_node(node["NodeID"], soft=False)
            task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(program_of_worker)
            asked[task.remote()] = f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"
    ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_S)
    found = {}
    for answer, node in asked.items():
        try:
            identity = ray.get(answer, timeout=0)
        except Exception as error:
            # What makes so small a task fail makes all fail.
            found[node] = _reason(error)
        else:
            if identity != code_identity():
                found[node] = f"it has another version, {identity}"
    return found


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line]
    return one_line((telling or lines or [type(error).__name__])[-1])


def program_of_worker() -> str:
    """Return the identity of the program on this machine, after checking that it can be imported."""
    importlib.import_module("jobs.passes.pixel_worker")
    return code_identity()
