"""The distributed engine on Ray: started late, quiet and bounded."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import socket
import warnings
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import pyarrow as pa

from conf import Resources
from jobs.core.errors import RunFailedError, RunStopped, UserError, one_line
from jobs.core.interpreter import own_folders
from jobs.core.optional_packages import require
from jobs.engine import session_folders
from jobs.engine.cluster import client_of_jobs, join, lean_start, safe_job
from jobs.engine.cluster_auth import MODE, make_token_private
from jobs.engine.credential_forwarding import ForwardedCredentials, WorkerWithCredentials, with_credentials
from jobs.engine.interruptible import iterate_interruptibly
from jobs.engine.local_pool import Transform
from jobs.engine.loopback import on_loopback

_TASK_RETRIES = 1
_CPUS_PER_MODEL = 4
IN_HAND = 4
"""Number of blocks that a model process has at a time, of which it processes half concurrently."""

_ANSWER_S = 5.0
_LOADING_S = 20.0
_SILENT = {"logging_level": "CRITICAL", "log_to_driver": False}
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # What listens for `serve-models` is given up after five seconds otherwise, which a busy machine takes to start it.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # Deaths of workers are handled and reported here; Ray would print messages to standard output.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # By default workers have the lowest priority, and hardly run on a busy machine.
    "RAY_worker_niceness": "0",
    # Its signal handler prints a stack trace, whereas ours ends the run cleanly.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
}


class ModelProcesses(NamedTuple):
    """Processes that hold a model: their number, threads of each, and share of a GPU of each (0 for none)."""

    size: int
    threads: int
    gpus: float


def share_out(machines: Sequence[tuple[int, int]], num_cpus: int, models: int | None) -> ModelProcesses:
    """Allocate cores and GPUs of machines, given as (cores, GPUs), to model processes; `models` sets their number.

    Otherwise there is one for each GPU, or, without GPUs, one for every few cores. All of them fit on the machines,
    since Ray would wait silently for a machine that is large enough.
    """
    gpus = sum(g for _, g in machines)
    size = models or gpus or max(1, min(num_cpus, sum(-(-c // _CPUS_PER_MODEL) for c, _ in machines)))
    share = min(1.0, gpus / size)

    def fit(threads: int) -> bool:
        return sum(min(c // threads, int(g / share + 0.01) if gpus else size) for c, g in machines) >= size

    threads = next((n for n in range(num_cpus // size, 1, -1) if fit(n)), 1)
    return ModelProcesses(size, threads, share)


class Engine:
    """A Ray cluster, local or joined, on which blocks are mapped. Use as a context manager.

    Its workers use the object store with the forwarded credentials `credentials`.
    """

    def __init__(
        self, limits: Resources, address: str | None = None, credentials: ForwardedCredentials | None = None
    ) -> None:
        self._credentials = credentials
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import ray

        for name in ("ray", "ray._private.worker"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

        self._ray = ray
        self._owned = not ray.is_initialized()
        # Joining a cluster may change the authentication mode, which is restored for the next one.
        self._mode = os.environ.get(MODE)
        self._session: str | None = None
        self._loading: list[Any] = []
        self._limit = limits.num_cpus
        there = named_cluster(address)
        # A joined cluster is shared with others, so its tasks are limited; our own has only the permitted cores.
        self._at_most = limits.num_cpus if there else None
        if self._owned and there:
            join(ray, there, _SILENT)
        elif self._owned:
            self._session = self._start(limits).address_info.get("session_dir")
            if self._session:
                session_folders.mark(Path(self._session))
            session_folders.clear()
        # This import takes longer than Ray's start: it runs while workers start, and only if the cluster was joined.
        import ray.data

        settings = ray.data.DataContext.get_current()
        settings.enable_progress_bars = False
        settings.print_on_execution_start = False
        # Budgets guard against blocks that fill the object store. Ours are small, and waiting for a budget costs a
        # tenth of a second between tasks and a whole one before the second; Ray itself keeps to the number of cores.
        settings.op_resource_reservation_enabled = False
        # A block whose worker dies has no receipt and is retried by the caller; it must not end the pass.
        settings.max_errored_blocks = -1
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)

    @property
    def num_cpus(self) -> int:
        """Return how many processes may run at once; machines may join and leave."""
        return self._limit or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def machines(self) -> frozenset[str]:
        """Return the ids of the cluster's nodes, to detect later whether one was lost."""
        return frozenset(node["NodeID"] for node in self._ray.nodes() if node["Alive"])

    def _start(self, limits: Resources) -> Any:
        num_cpus = limits.num_cpus or os.cpu_count() or 1
        memory = limits.object_store_mb << 20
        try:
            make_token_private()
            with lean_start(), on_loopback():
                context = self._ray.init(
                    # Do not join another cluster of this machine by accident.
                    address="local",
                    job_config=safe_job(self._ray, own_folders()),
                    num_cpus=num_cpus,
                    object_store_memory=memory,
                    include_dashboard=False,
                    **_SILENT,
                )
        except Exception as error:
            # For example on an overloaded machine; Ray has no specific exception class.
            raise RunFailedError(f"Ray did not start: {one_line(error)}") from error
        # Workers import their modules while the driver prepares its first blocks.
        load = self._ray.remote(num_cpus=1)(_load_worker)
        self._loading = [load.remote() for _ in range(num_cpus)]
        return context

    def map_blocks(
        self, blocks: Sequence[pa.Table], transforms: Sequence[Transform]
    ) -> Generator[pa.Table | None, None, None]:
        """Apply the transforms to each block, one task per block, and yield results as they arrive, in no order.

        Yields None about twice a second while there are none, so that the caller can do other work. Results of blocks
        whose worker died twice, or whose transform raised, are missing. Closing the iterator cancels the remaining
        tasks.
        """
        import ray.data

        dataset = ray.data.from_blocks(list(blocks))
        for function, arguments in with_credentials(self._credentials, transforms):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = dataset.map_batches(
                    function,
                    batch_format="pyarrow",
                    batch_size=None,
                    num_cpus=1,
                    fn_kwargs=arguments,
                    compute=ray.data.TaskPoolStrategy(self._at_most),
                    max_retries=_TASK_RETRIES,
                )
        yield from self._results(dataset)

    def shuffle(
        self, blocks: Sequence[pa.Table], send: Transform, key: str, meet: Transform
    ) -> Generator[pa.Table | None, None, None]:
        """Apply `send` to blocks, group the resulting rows by a key, and apply `meet` to the table of each key.

        Yields as `map_blocks` does, but raises `RunFailedError` if anything is missing.
        """
        import ray.data

        settings = ray.data.DataContext.get_current()
        lenient, settings.max_errored_blocks = settings.max_errored_blocks, 0
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                sent = ray.data.from_blocks(list(blocks)).map_batches(
                    send[0], batch_format="pyarrow", batch_size=None, num_cpus=1, fn_kwargs=send[1]
                )
                met = sent.groupby(key).map_groups(meet[0], batch_format="pyarrow", fn_kwargs=meet[1])
            yield from self._results(met)
        except self._ray.exceptions.RayError as error:
            raise RunFailedError(f"a task of the cluster failed: {_cause(error)}") from error
        finally:
            settings.max_errored_blocks = lenient

    def serve(
        self, deployment: type, arguments: tuple[Any, ...], processes: ModelProcesses, host: str, port: int
    ) -> str:
        """Serve a deployment class with `processes` replicas at an address; return its URL.

        Raises `UserError` if a required package is not installed, and `RunFailedError` if it does not start.
        """
        require("serve-models", "starlette", "uvicorn")
        import ray.serve

        for name in ("ray.serve", "uvicorn"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            ray.serve.start(http_options={"host": host, "port": port})
            self._deploy(deployment, arguments, processes)
        # Of a deployment that fails, Ray Serve raises a plain one.
        except (self._ray.exceptions.RayError, RuntimeError) as error:
            raise RunFailedError(f"the model server did not start: {_cause(error)}; start it again") from error
        return f"http://{host}:{port}"

    @staticmethod
    def _deploy(deployment: type, arguments: tuple[Any, ...], processes: ModelProcesses) -> None:
        import ray.serve

        made = ray.serve.deployment(
            num_replicas=processes.size,
            max_ongoing_requests=IN_HAND,
            # Requests beyond that are refused, and clients retry them.
            max_queued_requests=IN_HAND * 16,
            ray_actor_options={"num_cpus": processes.threads, "num_gpus": processes.gpus},
        )(deployment)
        ray.serve.run(made.bind(*arguments), name="winnow", route_prefix="/")

    def model_processes(self, limits: Resources) -> ModelProcesses:
        """Return the number of model processes, and the resources of each."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return share_out([(int(m.get("CPU", 0)), int(m.get("GPU", 0))) for m in machines], self.num_cpus, limits.models)

    def map_models(
        self, blocks: Sequence[pa.Table], worker: type, task: object, processes: ModelProcesses
    ) -> Generator[pa.Table | None, None, None]:
        """Send each block to one of several processes that created `worker(task, threads)`; yield as `map_blocks` does.

        Every process gets a few blocks in advance, so that it can prepare one while it processes another. If a process
        dies, the pass ends early: results of other blocks are missing too. Raises `RunFailedError` if the worker cannot
        be created.
        """
        import ray.data

        size, threads, gpus = processes
        pool = ray.data.ActorPoolStrategy(
            size=min(size, len(blocks)),
            max_concurrent_calls_per_actor=IN_HAND // 2,
            max_tasks_in_flight_per_actor=IN_HAND,
            enable_true_multi_threading=True,
        )
        credentials = () if self._credentials is None else (self._credentials, worker)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = ray.data.from_blocks(list(blocks)).map_batches(
                WorkerWithCredentials if credentials else worker,
                batch_format="pyarrow",
                batch_size=None,
                fn_constructor_args=(*credentials, task, threads),
                compute=pool,
                num_cpus=threads,
                num_gpus=gpus or None,
                # Ray would wait for ever for a process that has ended, and restarts print to the terminal.
                max_restarts=0,
            )
        dataset.context.max_errored_blocks = 0
        try:
            yield from self._results(dataset)
        except self._ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                raise RunFailedError(f"the model cannot be loaded: {_cause(error)}") from error

    def _results(self, dataset: Any) -> Generator[pa.Table | None, None, None]:
        def results() -> Iterable[pa.Table]:
            # The first dataset starts actors of Ray, which would compete for cores with the workers' start.
            if self._loading:
                self._ray.wait(self._loading, num_returns=len(self._loading), timeout=_LOADING_S)
                self._loading.clear()
            return dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)

        yield from iterate_interruptibly(results)

    def call_worker(self) -> None:
        """Make a worker import its modules. Raises the exception if that fails."""
        self._ray.get(self._ray.remote(num_cpus=1)(_load_worker).remote())

    def require_workers(self) -> None:
        """Raise `RunFailedError` if a worker cannot import its modules."""
        try:
            self.call_worker()
        except Exception as error:
            raise RunFailedError(f"no process that measures frames could be started: {_cause(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owned:
            # Release references now: the next cluster of this process reuses object ids, and would lose its objects.
            self._loading.clear()
            self._ray.shutdown()
            if self._mode is None:
                os.environ.pop(MODE, None)
            if self._session and (kind is None or issubclass(kind, RunStopped)):
                shutil.rmtree(self._session, ignore_errors=True)


def _cause(error: Exception) -> str:
    """Return the last line of Ray's report, which is the error of the process itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else type(error).__name__


def _load_worker() -> None:
    for name in ("ray.data", "jobs.passes.pixel_worker"):
        importlib.import_module(name)


def named_cluster(address: str | None) -> str | None:
    """Return the cluster of an address or of `$RAY_ADDRESS`; None for a new local one, also for `local`."""
    named = address or os.environ.get("RAY_ADDRESS")
    return None if named == "local" else named or None


def check_address(address: str | None) -> None:
    """Raise `UserError` if nothing answers at a cluster's address, `HOST:PORT`; Ray would wait for ever.

    Addresses of Ray's client, `ray://HOST:PORT`, are refused: a run reads and commits on a machine of the cluster,
    which a client is not part of.
    """
    named = named_cluster(address)
    if not named or named == "auto":
        return
    if named.startswith("ray://"):
        raise UserError(
            f"Ray address {named}: expected HOST:PORT, for a run on one of the cluster's machines; from any other "
            "machine, hand it over with `winnow submit --to ray --ray-address http://HOST:8265`"
        )
    host, _, port = named.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"Ray address {named!r}: expected HOST:PORT or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {named} ({one_line(error)}); start one with `ray start --head`"
        ) from error


def ray_jobs(address: str) -> Any:
    """Return a client for the jobs of the cluster whose dashboard is at `http://HOST:PORT`.

    Raises `UserError` if nothing answers, or if a required package is not installed.
    """
    require("cluster", "aiohttp")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray.job_submission

    return client_of_jobs(ray, address)
