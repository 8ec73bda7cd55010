"""What is measured on: frames on disk and tables without images, made once and kept."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from blake3 import blake3

import schemas
from conf import PipelineConfig
from jobs.stages.build import build
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Store
from jobs.storage.workspace import Workspace
from tests.helpers import write_clip_model
from transforms.core.identity import pair_ids
from transforms.metrics.hashing import layout_column, to_hex
from transforms.synthetic import Sample

_ROWS_PER_FILE = 1 << 20


def folder() -> Path:
    """Return where material is kept: `$WINNOW_BENCH_DIR`, or the user's cache."""
    named = os.environ.get("WINNOW_BENCH_DIR")
    place = Path(named) if named else Path.home() / ".cache" / "winnow-bench"
    place.mkdir(parents=True, exist_ok=True)
    return place


def frames_720p(n: int) -> Path:
    """Return a folder of `n` different 1280x720 JPEG frames of about 240 KB."""
    return _frames(f"frames-720p-{n}", n, Sample(1280, 720, timeline=(("moving", n),), broken=False))


def clips_720p(n_clips: int, n: int) -> Path:
    """Return a folder of clips of `n` different 1280x720 frames each, H.264 at CRF 23, a keyframe every two seconds."""
    place = folder() / f"clips-720p-{n_clips}-{n}"
    if not place.exists():
        partial = place.with_name(f"{place.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        with ProcessPoolExecutor() as pool:
            list(pool.map(_write_clip, [(partial / f"clip{number}.mp4", number, n) for number in range(n_clips)]))
        partial.rename(place)
    return place


def _write_clip(task: tuple[Path, int, int]) -> None:
    import av

    path, number, n = task
    sample = Sample(1280, 720, timeline=(("moving", n),), broken=False, seed=number)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        # One slice per image, as cameras and ffmpeg write it; PyAV's own default would make one per core.
        stream.options = {"crf": "23", "g": "50", "preset": "veryfast", "slices": "1"}
        stream.codec_context.thread_type = "FRAME"
        for index in range(n):
            # A slow pan: the sample's own steps are those of a camera that takes one now and then.
            picture = np.roll(sample.picture(index // 50), -4 * (index % 50), axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")))
        container.mux(stream.encode())


def open_clip_weights(architecture: str) -> Path:
    """Return a folder with an open-clip model of random weights, which are as fast as any."""
    import open_clip

    place = folder() / f"open-clip-{architecture}"
    if not place.exists():
        partial = place.with_name(f"{place.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        write_clip_model(partial, architecture=open_clip.get_model_config(architecture)).rename(place)
    return place


def detector_weights() -> Path:
    """Return a YOLO26 detector of the smallest usual size, exported with random weights, which are as fast as any."""
    place = folder() / "yolo26n.onnx"
    if not place.exists():
        from ultralytics import YOLO

        exported = YOLO("yolo26n.yaml").export(format="onnx", nms=False, imgsz=640, opset=17)
        shutil.move(exported, place)
    return place


def frames_360p(n: int) -> Path:
    """Return a folder of `n` different 640x360 JPEG frames of about 60 KB."""
    return _frames(f"frames-360p-{n}", n, Sample(640, 360, timeline=(("moving", n),), broken=False))


def small_frames(n: int) -> Path:
    """Return a folder of `n` different 64x36 JPEG frames."""
    return _frames(f"frames-small-{n}", n, Sample(64, 36, timeline=(("moving", n),), broken=False))


def _frames(name: str, n: int, sample: Sample) -> Path:
    place = folder() / name
    if not place.exists():
        partial = place.with_name(f"{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        spans = [(sample, partial, start, min(n, start + 200)) for start in range(0, n, 200)]
        with ProcessPoolExecutor() as pool:
            list(pool.map(_write, spans))
        partial.rename(place)
    return place


@cache
def _same(sample: Sample) -> Sample:
    """Return one sample object per process, so that its ground is painted once."""
    return sample


def _write(span: tuple[Sample, Path, int, int]) -> None:
    sample, place, start, end = span
    cv2.setNumThreads(1)
    sample = _same(sample)
    for index in range(start, end):
        (place / f"image_{index}.jpg").write_bytes(sample.file(index))


def finished_tables(n_streams: int, n_frames: int) -> Workspace:
    """Return a workspace in which so many frames of so many streams were measured, made without images."""
    stages = {s.name: s.key for s in build(PipelineConfig())}
    # Another configuration, or other code, would find nothing done in these tables.
    version = blake3(repr(stages).encode()).hexdigest()[:8]
    workspace = Workspace.at(folder() / f"tables-{n_streams}-{n_frames}-{version}")
    done = workspace.folder / "complete"
    if done.exists():
        return workspace
    shutil.rmtree(workspace.folder, ignore_errors=True)
    workspace = Workspace.at(workspace.root).create()
    store = Store(workspace.root)
    store.create_tables()
    for number in range(n_streams):
        for first in range(0, n_frames, _ROWS_PER_FILE):
            _add_rows(store, stages, f"stream{number}", first, min(n_frames, first + _ROWS_PER_FILE))
    done.touch()
    return workspace


def _add_rows(store: Store, stages: dict[str, str], stream: str, first: int, last: int) -> None:
    """Add listing and pixel rows of frames `first` to `last`, as a run that was cut there would have left them."""
    n = last - first
    rng = np.random.default_rng((first, *stream.encode()))
    content = rng.integers(-(2**63), 2**63 - 1, n)
    before = np.roll(content, 1)
    follows = np.ones(n, np.bool_)
    if first:
        before[0] = np.random.default_rng((first - _ROWS_PER_FILE, *stream.encode())).integers(
            -(2**63), 2**63 - 1, _ROWS_PER_FILE
        )[-1]
    else:
        follows[0] = False
    given = {
        "stream_id": pa.repeat(pa.scalar(stream), n),
        "frame_idx": np.arange(first, last),
        "uri": pa.repeat(pa.scalar(f"/data/{stream}/image.jpg"), n),
        "size_bytes": np.full(n, 200_000),
        "mtime_ns": np.full(n, 1_700_000_000_000_000_001),
        "stat_id": rng.integers(1, 2**62, n),
        "input_id": content,
        "status": pa.repeat(pa.scalar("ok"), n),
        "content_hash": pa.repeat(pa.scalar("0" * 64), n),
        "phash": pa.repeat(pa.scalar("0" * 16), n),
        "layout": pa.repeat(pa.scalar(bytes(64)), n),
    }
    tables = (schemas.LISTING, schemas.FRAMES, schemas.QUALITY, schemas.FINGERPRINTS, schemas.MOTION)
    for table in tables:
        ids = {"input_id": pair_ids(content, before, follows)} if table is schemas.MOTION else {}
        columns = {f.name: (given | ids)[f.name] if f.name in given else pa.nulls(n, f.type) for f in table.file_schema}
        key = {"stage_key": stages[table.name]} if table.has_stage_key else {}
        part = write_part(store.root, table, pa.table(columns).cast(table.file_schema), key)
        store.open(table).commit(Change([part]), "bench")


def fingerprints(kind: str, n: int) -> pa.Table:
    """Return N frames of one stream with hashes and layouts, as the grouping of duplicates takes them.

    Of `clusters` half are within three bits of one of n/20 centres, in random order. A `stream` changes by a bit now
    and then and to another scene every hundred frames or so.
    """
    rng = np.random.default_rng(0)
    n_centres = max(1, n // 20 if kind == "clusters" else n // 100)
    centres = rng.integers(0, 2**64, n_centres, dtype=np.uint64)
    if kind == "clusters":
        place = np.concatenate([np.full(n - n // 2, -1), rng.integers(0, n_centres, n // 2)])
        rng.shuffle(place)
    else:
        place = np.sort(rng.integers(0, n_centres, n))
    words = np.where(place < 0, rng.integers(0, 2**64, n, dtype=np.uint64), centres[place])
    for _ in range(3):
        flips = np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64)
        words ^= np.where(place < 0, np.uint64(0), flips)
    # Of what has nearly one hash, one in eight looks different.
    kinds = rng.integers(0, 256, (2, n_centres, 64), dtype=np.uint8)
    looks = np.where((place < 0)[:, None], rng.integers(0, 256, (n, 64), dtype=np.uint8), 0)
    looks += np.where((place < 0)[:, None], np.uint8(0), kinds[(rng.random(n) < 0.125).astype(np.int64), place])
    columns = {
        "stream_id": pa.repeat(pa.scalar("s"), n),
        "frame_idx": np.arange(n),
        "content_id": np.arange(n),
        "phash": to_hex(words),
        "layout": layout_column(looks),
    }
    return pa.table(columns)
