"""Short ways to make streams, run jobs and read tables, for tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl

import schemas
from conf import load
from jobs.catalogue import Admission
from jobs.query import View
from jobs.run import RunRequest, run
from jobs.runs import RunRecord
from jobs.workspace import Workspace
from transforms.synthetic import Sample, encode

SMALL = Sample(
    320,
    180,
    timeline=(
        ("moving", 40),
        ("idle", 30),
        ("moving", 8),
        ("dark", 6),
        ("blurred", 6),
        ("overexposed", 6),
        ("moving", 6),
        ("exact", 4),
        ("near", 4),
        ("gap", 5),
        ("moving", 12),
    ),
)
"""A stream with every flaw, small enough for a test."""

STAGE_TABLES = tuple(t for t in schemas.ALL if t.has_stage_key)


def go(
    workspace: Workspace,
    *inputs: Path,
    settings: Iterable[str] = (),
    admission: Admission | None = None,
    limit: int | None = None,
) -> RunRecord:
    """Run the default profile on some folders."""
    loaded = load(settings=("resources.commit_seconds=0.2", *settings))
    return run(RunRequest(workspace, [str(i) for i in inputs], loaded, admission or Admission(), limit))


def computed(record: RunRecord) -> dict[str, int]:
    """Return how many frames each stage of a run computed, without those that computed none."""
    return {name: outcome.computed for name, outcome in record.outcomes.items() if outcome.computed}


def rows(workspace: Workspace, table: schemas.Table, without: Sequence[str] = ()) -> pl.DataFrame:
    """Return the current rows of a table in order of their keys."""
    return View.of(workspace).lazy(table.name).collect().drop(without).sort(table.file_key)


def assert_same_tables(one: Workspace, other: Workspace, without: Sequence[str] = ()) -> None:
    """Assert that every stage table shows the same rows in two workspaces."""
    for table in STAGE_TABLES:
        dropped = [name for name in without if name in table.arrow_schema.names]
        left, right = rows(one, table, dropped), rows(other, table, dropped)
        assert left.equals(right), f"{table.name} differs:\n{left}\n{right}"


def assert_one_live_row(workspace: Workspace) -> None:
    """Assert that no key has two rows in any stage table, of whatever configuration."""
    for table in STAGE_TABLES:
        every = View.of(workspace).lazy(f"{table.name}_all").collect()
        assert every.height == every.unique(table.key).height, table.name


def write_pictures(folder: Path, pictures: Iterable[npt.NDArray[np.uint8]], start: int = 0) -> Path:
    """Write arrays as image_N.png, which keeps every value."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, start):
        cv2.imwrite(str(folder / f"image_{number}.png"), picture)
    return folder


def noise(seed: int, height: int = 90, width: int = 160) -> npt.NDArray[np.uint8]:
    """Return a textured grey picture that resembles that of no other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 16), dtype=np.uint8)
    large = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 12, (height, width))
    return np.clip(large + grain, 0, 255).astype(np.uint8)


def write_noise_stream(folder: Path, seeds: Iterable[int], start: int = 0) -> Path:
    """Write one JPEG frame per seed; equal seeds give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds, start):
        (folder / f"image_{number}.jpg").write_bytes(encode(noise(seed), 90))
    return folder


def copy_stream(source: Path, target: Path) -> Path:
    """Copy a folder of frames with its modification times."""
    shutil.copytree(source, target, copy_function=shutil.copy2)
    return target
