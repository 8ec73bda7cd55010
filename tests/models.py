"""Models in the tests' own process: one of their own would load libraries first, for seconds each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

import pyarrow as pa
from ray import cloudpickle

from jobs.engine.ray_engine import Engine, ModelProcesses


@contextmanager
def held_at_hand() -> Iterator[None]:
    """Have model passes show their blocks to a worker in this process."""

    def map_models(
        self: Engine, blocks: Sequence[pa.Table], worker: type, task: object, processes: ModelProcesses
    ) -> Iterator[pa.Table]:
        # As it would come to another process.
        held = worker(cloudpickle.loads(cloudpickle.dumps(task)), processes.threads)
        yield from map(held, blocks)

    with mock.patch.object(Engine, "map_models", map_models):
        yield
