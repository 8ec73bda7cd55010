"""Groups of one workspace, formed by the driver's index and by a shuffle on Ray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import schemas
from jobs.engine.ray_engine import Engine
from jobs.passes.distributed_pairs import sharing
from jobs.storage.workspace import Workspace
from tests.helpers import computed, go, rows, write_noise_stream
from transforms.curate.duplicates.distributed_hamming import join_pairs
from transforms.curate.duplicates.grouping import DuplicateParams
from transforms.curate.duplicates.hamming import join_leaders

NONE = np.empty(0, np.int64)


def nothing() -> None:
    """Continue."""


def test_a_shuffle_finds_the_groups_of_the_index(engine: Engine) -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, 60, dtype=np.uint64)[rng.integers(0, 60, 2000)]
    for _ in range(4):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, 2000, dtype=np.uint64))
    near = sharing(DuplicateParams(join="shuffle"), lambda: engine, nothing)
    assert near is not None
    pairs = near(np.unique(hashes), 10)
    assert pairs is not None
    assert pairs.num_rows > 1000
    before = np.arange(-1, len(hashes) - 1)
    assert join_pairs(hashes, before, NONE, 10, pairs).tolist() == join_leaders(hashes, before, NONE, 10).tolist()


def test_a_run_may_share_or_not_with_one_result(engine: Engine, workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", [*range(12), *range(6)])
    go(workspace, cam, settings=["duplicates.join=shuffle"])
    shared = rows(workspace, schemas.DUPLICATES)
    # Where the work is done is no part of what it is.
    assert computed(go(workspace, cam, settings=["duplicates.join=local"])) == {}
    alone = Workspace.at(tmp_path / "alone")
    go(alone, cam, settings=["duplicates.join=local"])
    assert shared.equals(rows(alone, schemas.DUPLICATES))
    assert shared["group_id"].n_unique() == 12


@pytest.mark.parametrize("join", ["auto", "local"])
def test_few_hashes_or_one_machine_are_left_to_the_index(engine: Engine, join: str) -> None:
    params = DuplicateParams(join=join, shuffle_above=0)  # type: ignore[arg-type]
    near = sharing(params, lambda: engine, nothing)
    assert near is None or near(np.arange(100, dtype=np.uint64), 10) is None
