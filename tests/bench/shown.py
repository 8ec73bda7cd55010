"""A workspace of a finished run with so many frames that a server shows, made as tables without images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

import schemas
from jobs.runs.preview import Preview
from jobs.runs.replay import of_job
from jobs.stages.build import build
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Store
from jobs.storage.workspace import Workspace
from tests.bench.material import folder
from tests.helpers import go, write_noise_stream
from transforms.core.identity import pair_ids

_REAL = 8
_FRAME_NS = 40_000_000
_BEGIN_NS = 1_700_000_000_000_000_000
_INTERVAL, _SCENE, _GROUP = 50, 500, 5


def shown_tables(n: int, n_streams: int = 4, place: Path | None = None) -> Workspace:
    """Return a workspace whose run kept and dropped about `n` frames, in streams of equal length.

    A quarter of the frames are in idle intervals of 50, and half of them in groups of about five duplicates.
    """
    workspace = Workspace.at((place or folder()) / f"shown-{n}-{n_streams}" / "tables")
    home = workspace.folder.parent
    if (home / "complete").exists():
        return workspace
    shutil.rmtree(home, ignore_errors=True)
    streams = [write_noise_stream(home / f"cam{k}", range(k * _REAL, (k + 1) * _REAL)) for k in range(n_streams)]
    job_id = go(workspace, *streams).job_id
    store = Store(workspace.root)
    keys = {stage.name: stage.key for stage in build(of_job(workspace, job_id).loaded.config)}
    for k in range(n_streams):
        _add(store, keys, f"cam{k}", k, n // n_streams)
    decided = Preview(workspace, job_id).changes().frames.select("stream_id", "frame_idx", "keep", "reasons")
    for k in range(n_streams):
        rows = decided.filter(stream_id=f"cam{k}").filter(decided.filter(stream_id=f"cam{k}")["frame_idx"] >= _REAL)
        _write(store, keys, schemas.CURATION, _columns(rows.to_arrow()))
    (home / "complete").touch()
    return workspace


def _columns(rows: pa.Table) -> dict[str, object]:
    n = rows.num_rows
    lists = pa.list_(pa.string())
    return {
        **{name: rows[name].cast(t) for name, t in (("stream_id", pa.string()), ("frame_idx", pa.int64()))},
        "keep": rows["keep"],
        "reasons": rows["reasons"].cast(lists),
        "flags": pa.array([[]], lists).take(pa.array(np.zeros(n, np.int64))),
        "input_id": np.zeros(n, np.int64),
    }


def _add(store: Store, keys: dict[str, str], stream: str, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    idx = np.arange(_REAL, _REAL + n)
    content = rng.integers(-(2**63), 2**63 - 1, n)
    luma = np.clip(rng.normal(110, 45, n), 0, 255).astype(np.float32)
    group = np.where(rng.random(n) < 0.5, rng.integers(0, max(1, n // (2 * _GROUP)), n), n + np.arange(n))
    stands = idx[np.unique(group, return_index=True)[1]][np.unique(group, return_inverse=True)[1]]
    hexes = [f"{(seed << 56) + value:016x}" for value in group.tolist()]
    same = {"stream_id": pa.repeat(pa.scalar(stream), n), "frame_idx": idx, "input_id": content}
    names = [f"/data/{stream}/image_{number}.jpg" for number in idx.tolist()]
    times = _BEGIN_NS + idx * _FRAME_NS
    files = {
        "uri": names,
        "size_bytes": rng.integers(100_000, 300_000, n),
        "mtime_ns": times,
        "stat_id": rng.integers(1, 2**62, n),
        "t_ns": times,
        "time_source": pa.repeat(pa.scalar("name"), n),
    }
    _write(store, keys, schemas.LISTING, {**same, **files})
    frames = {
        "content_hash": [f"{value & (2**64 - 1):064x}" for value in content.tolist()],
        "width": np.full(n, 1280),
        "height": np.full(n, 720),
        "format": pa.repeat(pa.scalar("jpeg"), n),
        "status": pa.repeat(pa.scalar("ok"), n),
        "damage": pa.repeat(pa.scalar("none"), n),
    }
    _write(store, keys, schemas.FRAMES, {**same, **files, **frames})
    quality = {
        "laplacian_var": rng.lognormal(5, 1, n),
        "sharpness": rng.lognormal(-1, 0.5, n),
        "luma_mean": luma,
        "luma_p05": luma * 0.4,
        "luma_p50": luma * 0.95,
        "luma_p95": np.minimum(luma * 1.8, 255),
        "contrast": np.clip(rng.normal(45, 10, n), 1, 100),
        "entropy": np.clip(rng.normal(6.5, 1, n), 0.1, 8),
    }
    _write(store, keys, schemas.QUALITY, {**same, **quality})
    prints = {"phash": hexes, "layout": [row.tobytes() for row in rng.integers(0, 256, (n, 64), np.uint8)]}
    _write(store, keys, schemas.FINGERPRINTS, {**same, **prints})
    follows = np.ones(n, np.bool_)
    follows[0] = False
    moved = {"motion": rng.random(n) * 0.02, "motion_peak": rng.random(n) * 0.3, "tile_contrast": rng.random(n) * 50}
    _write(store, keys, schemas.MOTION, {**same, **moved, "input_id": pair_ids(content, np.roll(content, 1), follows)})
    grouped = {
        "group_id": hexes,
        "is_representative": stands == idx,
        "representative_stream": pa.repeat(pa.scalar(stream), n),
        "representative_idx": stands,
        "hamming": np.zeros(n),
        "confidence": np.ones(n),
    }
    _write(store, keys, schemas.DUPLICATES, {**same, **grouped})
    for table, length, share in ((schemas.IDLE, _INTERVAL, 0.25), (schemas.SCENES, _SCENE, 1.0)):
        starts = idx[::length][rng.random(len(idx[::length])) < share]
        ends = np.minimum(starts + length - 1, idx[-1])
        m = len(starts)
        rows = {"stream_id": pa.repeat(pa.scalar(stream), m), "start_idx": starts, "end_idx": ends}
        rows |= {"n_frames": ends - starts + 1, "idle_score": np.full(m, 0.5), "frozen": np.zeros(m, np.bool_)}
        rows |= {"scene_idx": np.arange(m) + 1, "begins": pa.repeat(pa.scalar("cut"), m)}
        _write(store, keys, table, {**rows, "input_id": np.zeros(m, np.int64)})


def _write(store: Store, keys: dict[str, str], table: schemas.Table, given: dict[str, object]) -> None:
    n = len(given["stream_id"])  # type: ignore[arg-type]
    columns = {f.name: given.get(f.name, pa.nulls(n, f.type)) for f in table.file_schema}
    key = {"stage_key": keys[table.written_by]} if table.has_stage_key else {}
    part = write_part(store.root, table, pa.table(columns).cast(table.file_schema, safe=False), key)
    store.open(table).commit(Change([part]), "bench")
