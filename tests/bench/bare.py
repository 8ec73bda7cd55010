"""Read and decode, and nothing else: what no program that reads every frame can be faster than."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from jobs.core.memory import keep_freed

_CHUNK = 250


def warm(paths: Sequence[Path]) -> None:
    """Read files, so that what follows finds them in memory: what is measured is programs, not the disk."""
    with ThreadPoolExecutor() as readers:
        for _ in readers.map(lambda path: path.read_bytes() and None, paths, chunksize=_CHUNK):
            pass


def rate(paths: Sequence[Path]) -> float:
    """Return frames per second of as many processes as there are cores, start-up excluded."""
    processes = os.cpu_count() or 1
    names = [str(path) for path in paths]
    chunks = [names[first : first + _CHUNK] for first in range(0, len(names), _CHUNK)]
    with get_context("spawn").Pool(processes) as pool:
        pool.map(_decode, [names[:20]] * processes * 2)
        started = time.perf_counter()
        for _ in pool.imap_unordered(_decode, chunks):
            pass
        return len(names) / (time.perf_counter() - started)


def _decode(paths: list[str]) -> None:
    keep_freed()
    cv2.setNumThreads(0)
    for path in paths:
        with open(path, "rb", buffering=0) as handle:
            data = handle.read()
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_2)


def clip_rate(paths: Sequence[Path]) -> float:
    """Return frames per second of PyAV decoding one clip per core, one thread each, start-up excluded."""
    with get_context("spawn").Pool(len(paths)) as pool:
        pool.map(_decode_clip, [(str(path), 20) for path in paths])
        started = time.perf_counter()
        frames = sum(pool.map(_decode_clip, [(str(path), None) for path in paths], chunksize=1))
        return frames / (time.perf_counter() - started)


def loop_rate(path: Path, threads: str | None = None) -> float:
    """Return frames per second of the loop over a clip that PyAV's documents show, in a process of its own.

    `threads` is the kind that its decoder is to use, `AUTO` for all cores; by default PyAV's own choice.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_loop, (str(path), threads))


def _loop(path: str, threads: str | None) -> float:
    import av

    with av.open(path) as container:
        if threads:
            container.streams.video[0].thread_type = threads
        started = time.perf_counter()
        frames = sum(1 for _ in container.decode(video=0))
        return frames / (time.perf_counter() - started)


def _decode_clip(task: tuple[str, int | None]) -> int:
    import av

    path, most = task
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return sum(1 for _ in islice(container.decode(video=0), most))


def detection_rate(paths: Sequence[Path], weights: Path) -> float:
    """Return frames per second of a loop over files and an exported detector, one frame at a time, on all cores."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    side = given.shape[2]

    def look(path: Path) -> None:
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        scale = side / max(picture.shape[:2])
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        boxed = np.full((side, side, 3), 114, np.uint8)
        boxed[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
        batch = np.ascontiguousarray(boxed[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32) / 255
        session.run(None, {given.name: batch})

    for path in paths[:8]:
        look(path)
    started = time.perf_counter()
    for path in paths:
        look(path)
    return len(paths) / (time.perf_counter() - started)


def embedding_rate(paths: Sequence[Path], weights: Path, batch: int) -> float:
    """Return frames per second of open-clip as its documents show it: prepared by Pillow, then embedded, in batches."""
    import open_clip
    import torch
    from PIL import Image

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{weights}", device=device)
    model.eval()

    def embed(some: Sequence[Path]) -> None:
        given = torch.stack([prepare(Image.open(path)) for path in some]).to(device)
        model.encode_image(given, normalize=True).cpu().numpy()

    with torch.inference_mode():
        embed(paths[:batch])
        started = time.perf_counter()
        for at in range(0, len(paths), batch):
            embed(paths[at : at + batch])
    return len(paths) / (time.perf_counter() - started)
