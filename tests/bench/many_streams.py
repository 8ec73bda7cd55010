"""A workspace of ten million finished frames in a thousand streams, made as tables, and what commands take on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import schemas
from jobs.runs.replay import of_job
from jobs.runs.replay_spec import Replay
from jobs.runs.run import run
from jobs.stages.build import build
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Store
from jobs.storage.workspace import Workspace
from tests.bench.material import folder, small_frames
from tests.helpers import go, noise
from transforms.core.identity import pair_ids
from transforms.metrics.hashing import layout_column, to_hex
from transforms.synthetic import encode

_REAL = "real"
_SCENE = 250
_FRAME_NS = 200_000_000
_BEGIN_NS = 1_700_000_000_000_000_000
# As compaction leaves tables: each of some tens of megabytes, with several streams.
_STREAMS_PER_FILE = 40
_SAMPLE_S = 0.1
_NEW = 100
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Took(NamedTuple):
    """What a command took: seconds by a clock and of the processors, and the most memory of its processes, in MB."""

    what: str
    wall_s: float
    cpu_s: float
    peak_mb: float


def many_streams(n_streams: int, n_frames: int) -> Path:
    """Return a folder with `tables`, a workspace of so many streams of so many frames, and `real`, one of them.

    That one is of files and was run; the pixel rows of the others are made, and the current version shows them all.
    """
    home = folder() / f"many-{n_streams}-{n_frames}"
    if (home / "complete").exists():
        return home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / _REAL).mkdir()
    for path in small_frames(n_frames).iterdir():
        os.link(path, home / _REAL / path.name)
    workspace = Workspace.at(home / "tables")
    job_id = go(workspace, home / _REAL).job_id
    store = Store(workspace.root)
    keys = {stage.name: stage.key for stage in build(of_job(workspace, job_id).loaded.config)}
    names = [f"site{k // 50:02}/cam{k:04}" for k in range(n_streams - 1)]
    for first in range(0, len(names), _STREAMS_PER_FILE):
        _add_pixels(store, keys, names[first : first + _STREAMS_PER_FILE], first, n_frames)
    _add_streams(store, names, n_frames)
    (home / "parent").write_text(job_id)
    (home / "complete").touch()
    return home


def decide(home: Path) -> str:
    """Run the table stages over all streams, show what they found, and return the run's id."""
    workspace = Workspace.at(home / "tables")
    parent = (home / "parent").read_text()
    streams = sorted(Store(workspace.root).read(schemas.STREAMS, ("stream_id",))["stream_id"].to_pylist())
    request = of_job(workspace, parent)
    record = run(replace(request, replay=Replay(parent, tuple(streams), promote=True)))
    if record.state != "done":
        raise RuntimeError(record.error)
    return record.job_id


def commands(home: Path, job_id: str) -> Iterator[Took]:
    """Yield what commands take on a workspace whose streams `job_id` has decided about. It is another one then."""
    one = "site00/cam0007"
    kept = "SELECT stream_id, count(*) AS n, avg(sharpness) FROM curated WHERE keep GROUP BY 1"
    moved = ("--from", "curation", "--set", "curation.dark_mean=60", "--promote")
    out = ("--format", "coco", "--media", "none", "--out", str(home / "exported"))
    for what, *words in (
        ("sql: count of all frames", "sql", "SELECT count(*) FROM curated"),
        ("sql: kept frames and their sharpness by stream", "sql", kept),
        ("select --n 10000", "select", "--n", "10000", "--name", "many"),
        ("release of all streams", "release", "create", "all"),
        ("release of one stream", "release", "create", "one", "--streams", one),
        ("report of one stream", "report", "--release", "one", "--out", str(home / "report.html")),
        ("select --n 1000 --strategy uniform", "select", "--n", "1000", "--strategy", "uniform", "--name", "few"),
        ("export of these 1,000", "export", *out, "--selection", "few"),
        ("a moved threshold of all streams", "job", "replay", job_id, *moved),
    ):
        yield timed(what, home, *words)
    # A day later there are a hundred frames more in one stream.
    n = len(list((home / _REAL).iterdir()))
    for number in range(_NEW):
        (home / _REAL / f"image_{n + number}.jpg").write_bytes(encode(noise(number), 90))
    yield timed("a run over one stream with 100 new frames", home, "run", "--input", str(home / _REAL), "--json")


def _add_streams(store: Store, names: Sequence[str], n: int) -> None:
    known = store.read(schemas.STREAMS).to_pylist()[0]
    rows = [
        known | {"stream_id": name, "uri": f"/data/{name}", "n_frames": n, "first_idx": 0, "last_idx": n - 1, "step": 1}
        for name in names
    ]
    store.upsert(schemas.STREAMS, pa.Table.from_pylist(rows, schemas.STREAMS.arrow_schema), "bench")


def _add_pixels(store: Store, keys: dict[str, str], names: Sequence[str], seed: int, per_stream: int) -> None:
    """Add what a run would have measured of some streams: scenes that differ, in which little moves at times."""
    rng = np.random.default_rng(seed)
    n = len(names) * per_stream
    idx = np.tile(np.arange(per_stream), len(names))
    of_stream = np.repeat(np.arange(len(names)), per_stream)
    scene = of_stream * (per_stream // _SCENE + 1) + idx // _SCENE
    n_scenes = int(scene[-1]) + 1
    # One scene in twenty is seen by the first stream of its file as well.
    seen = np.where(
        rng.random(n_scenes) < 0.05, rng.integers(0, per_stream // _SCENE + 1, n_scenes), np.arange(n_scenes)
    )
    content = rng.integers(-(2**63), 2**63 - 1, n)
    first = idx == 0
    before = np.roll(content, 1)
    stream = pa.array(list(names)).take(pa.array(of_stream))
    at = {"stream_id": stream, "frame_idx": idx}
    times = _BEGIN_NS + idx * _FRAME_NS
    files = {
        "uri": [f"/data/{names[s]}/image_{i}.jpg" for s, i in zip(of_stream.tolist(), idx.tolist(), strict=True)],
        "size_bytes": rng.integers(150_000, 250_000, n),
        "mtime_ns": times,
        "stat_id": rng.integers(1, 2**62, n),
        "t_ns": times,
        "time_source": pa.repeat(pa.scalar("name"), n),
        "input_id": content,
    }
    _write(store, keys, schemas.LISTING, at | files)
    hashes = rng.bytes(32 * n).hex()
    _write(
        store,
        keys,
        schemas.FRAMES,
        at
        | files
        | {
            "content_hash": [hashes[k : k + 64] for k in range(0, 64 * n, 64)],
            "width": np.full(n, 1280),
            "height": np.full(n, 720),
            "format": pa.repeat(pa.scalar("jpeg"), n),
            "status": pa.repeat(pa.scalar("ok"), n),
            "damage": pa.repeat(pa.scalar("none"), n),
        },
    )
    luma = np.clip(rng.normal(110, 30, n_scenes)[scene] + rng.normal(0, 2, n), 0, 255)
    sharp = rng.lognormal(5, 0.5, n_scenes)[scene] * rng.lognormal(0, 0.2, n)
    _write(
        store,
        keys,
        schemas.QUALITY,
        at
        | {
            "laplacian_var": sharp,
            "sharpness": np.where(rng.random(n) < 0.01, 0.2, 1.0) * rng.lognormal(-1, 0.1, n),
            "luma_mean": luma,
            "luma_p05": luma * 0.4,
            "luma_p50": luma * 0.95,
            "luma_p95": np.minimum(luma * 1.8, 255),
            "contrast": np.clip(rng.normal(45, 4, n), 1, 100),
            "entropy": np.clip(rng.normal(6.5, 0.5, n), 0.1, 8),
            "input_id": content,
        },
    )
    words = rng.integers(0, 2**64, n_scenes, dtype=np.uint64)[seen][scene]
    words ^= np.where(rng.random(n) < 0.5, np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64), np.uint64(0))
    looks = rng.integers(0, 240, (n_scenes, 64), dtype=np.uint8)[seen][scene] + rng.integers(0, 3, (n, 64), np.uint8)
    _write(
        store,
        keys,
        schemas.FINGERPRINTS,
        at | {"phash": to_hex(words), "layout": layout_column(looks), "input_id": content},
    )
    peak = np.where(rng.random(n_scenes) < 0.3, 0.01, 0.2)[scene] * rng.lognormal(0, 0.2, n)
    tiles = rng.integers(0, 240, (n_scenes, 576), dtype=np.uint8)
    sketches = rng.integers(0, 256, (n, 32), np.uint8)
    _write(
        store,
        keys,
        schemas.MOTION,
        at
        | {
            "motion": pa.array(np.minimum(peak * 0.1, 1), mask=first),
            "motion_peak": pa.array(np.minimum(peak, 1), mask=first),
            "tile_contrast": pa.array(np.full(n, 40.0), mask=first),
            "tiles": _tiles(tiles, scene, idx % 8 == 0, rng),
            "sketch": _bytes(sketches),
            "input_id": pair_ids(content, before, ~first),
        },
    )


def _bytes(rows: npt.NDArray[np.uint8]) -> pa.Array:
    width = rows.shape[1]
    fixed = pa.Array.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows))])
    return fixed.cast(pa.binary())


def _tiles(
    tiles: npt.NDArray[np.uint8], scene: npt.NDArray[np.int64], has: npt.NDArray[np.bool_], rng: np.random.Generator
) -> pa.Array:
    rows = tiles[scene[has]] + rng.integers(0, 2, (int(has.sum()), tiles.shape[1]), np.uint8)
    place = np.cumsum(has) - 1
    return _bytes(rows).take(pa.array(place, mask=~has))


def _write(store: Store, keys: dict[str, str], table: schemas.Table, given: dict[str, Any]) -> None:
    n = len(given["frame_idx"])
    columns = {f.name: given.get(f.name, pa.nulls(n, f.type)) for f in table.file_schema}
    key = {"stage_key": keys[table.written_by]} if table.has_stage_key else {}
    part = write_part(store.root, table, pa.table(columns).cast(table.file_schema, safe=False), key)
    store.open(table).commit(Change([part]), "bench")


def timed(what: str, home: Path, *words: str) -> Took:
    """Run `winnow` with these words in a process of its own, and return what it took."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", *words, "--workspace", str(home / "tables")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    peaks: list[int] = [0]
    sampler = threading.Thread(target=_sample, args=(process.pid, peaks))
    sampler.start()
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    sampler.join()
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"winnow {' '.join(words)}: {said}")
    return Took(what, wall, usage.ru_utime + usage.ru_stime, max(peaks[0] * _PAGE / 1e6, usage.ru_maxrss / 1e3))


def _sample(pid: int, peaks: list[int]) -> None:
    """Note the most resident pages of a process and its children, until it ends."""
    while (pages := sum(map(_resident, _family(pid)))) > 0:
        peaks[0] = max(peaks[0], pages)
        time.sleep(_SAMPLE_S)


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))
    except OSError:
        return


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
