"""Models next to the loops of their own libraries, on a folder: `python -m tests.bench.gpu [--device cpu]`.

Runs without an engine: what a process that holds a model does, and nothing around it. Weights are random, which makes
no difference to the speed. On a CPU everything is tiny, and shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from tests.bench.bare import embedding_rate
from tests.helpers import noise, write_clip_model
from tests.torch_models import write_dfine
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import ImageParams
from transforms.models.detect.annotator import Annotator
from transforms.models.detect.detections import Thresholds
from transforms.models.detect.pretrained import PretrainedDetector, PretrainedSpec
from transforms.models.detect.ultralytics_models import QUIET, YoloDetector, YoloSpec
from transforms.models.embeddings import Embedder, EmbedderSpec, EmbedParams
from transforms.models.inference import REQUEST, FrameModel, infer_batches

_ROUNDS = 3
_LIMITS = Thresholds(0.25, 0.65, 300)
_TARGET = 2.0
_VIT_B_32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}


@dataclass(frozen=True)
class Setting:
    """How large everything is."""

    device: str
    n_frames: int
    height: int
    width: int
    batch: int
    side: int
    threads: int


def frames(folder: Path, setting: Setting) -> list[Path]:
    """Write JPEG frames and return them in order."""
    folder.mkdir()
    kinds = [cv2.imencode(".jpg", _colored(seed, setting))[1].tobytes() for seed in range(16)]
    paths = [folder / f"image_{number}.jpg" for number in range(setting.n_frames)]
    for number, path in enumerate(paths):
        path.write_bytes(kinds[number % len(kinds)])
    return paths


def _colored(seed: int, setting: Setting) -> Any:
    planes = [noise(seed + 100 * channel, setting.height, setting.width) for channel in range(3)]
    return np.stack(planes, axis=2)


def requests(paths: Sequence[Path], setting: Setting) -> pa.Table:
    """Return frames as a model pass hands them to a process."""
    with Clips() as clips:
        ids = [open_frame(str(path), None, ImageParams(), clips).content() for path in paths]
    rows = [
        {
            "block": 0,
            "stream_id": "a",
            "frame_idx": number,
            "uri": str(path),
            "input_id": content,
            "width": setting.width,
            "height": setting.height,
            "replaces": False,
            "wanted": True,
        }
        for number, (path, content) in enumerate(zip(paths, ids, strict=True))
    ]
    return pa.Table.from_pylist(rows, REQUEST)


def our_rate(model: FrameModel, asked: pa.Table, setting: Setting) -> float:
    """Return frames per second of what a process does with a block, the first batch excluded."""
    infer_batches(asked.slice(0, setting.batch), model, ("x",), ImageParams(), setting.batch, setting.threads)
    started = time.perf_counter()
    found = infer_batches(asked, model, ("x",), ImageParams(), setting.batch, setting.threads)
    seconds = time.perf_counter() - started
    assert not found.faults, found.faults[:1]
    assert found.n_frames == asked.num_rows
    return asked.num_rows / seconds


def dfine(paths: Sequence[Path], place: Path, setting: Setting) -> tuple[FrameModel, Callable[[], float]]:
    """D-FINE, next to the loop that the documents of transformers show, in batches (its pipeline takes none of it)."""
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, DFineConfig, DFineForObjectDetection, RTDetrImageProcessor

    folder = place / "dfine"
    if setting.device == "cpu":
        write_dfine(folder)
    else:
        DFineForObjectDetection(DFineConfig()).save_pretrained(folder)
        RTDetrImageProcessor(size={"height": setting.side, "width": setting.side}).save_pretrained(folder)
    names = tuple(str(number) for number in range(200))
    spec = PretrainedSpec("DFineForObjectDetection", "d-fine", folder, "", "", names, _LIMITS, "auto", setting.batch)
    model = DFineForObjectDetection.from_pretrained(folder).eval().to(setting.device)
    processor = AutoImageProcessor.from_pretrained(folder)

    def predict(some: Sequence[Path]) -> None:
        opened = [Image.open(path).convert("RGB") for path in some]
        given = processor(images=opened, return_tensors="pt").to(setting.device)
        sizes = [(each.height, each.width) for each in opened]
        for result in processor.post_process_object_detection(model(**given), 0.25, sizes):
            result["boxes"].cpu()

    def rate() -> float:
        with torch.inference_mode():
            predict(paths[: setting.batch])
            started = time.perf_counter()
            for first in range(0, len(paths), setting.batch):
                predict(paths[first : first + setting.batch])
        return len(paths) / (time.perf_counter() - started)

    return Annotator(PretrainedDetector(spec, setting.threads), "key"), rate


def yolo26(paths: Sequence[Path], place: Path, setting: Setting) -> tuple[FrameModel, Callable[[], float]]:
    """YOLO26n, next to its own `predict` on the folder."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from ultralytics import YOLO

    weights = place / "yolo26n.pt"
    YOLO("yolo26n.yaml").save(weights)
    spec = YoloSpec(weights, "", "", _LIMITS, setting.side, batch=setting.batch)
    theirs = YOLO(weights)
    given = {"imgsz": setting.side, "device": setting.device, "half": setting.device != "cpu", "verbose": False}

    def rate() -> float:
        for _ in theirs.predict(str(paths[0]), batch=1, **given):
            pass
        started = time.perf_counter()
        n = sum(1 for _ in theirs.predict(str(paths[0].parent), stream=True, batch=setting.batch, **given))
        return n / (time.perf_counter() - started)

    return Annotator(YoloDetector(spec, setting.threads), "key"), rate


def clip(paths: Sequence[Path], place: Path, setting: Setting) -> tuple[FrameModel, Callable[[], float]]:
    """An image tower, ViT-B-32 on a GPU, next to open-clip as its documents show it."""
    folder = place / "clip"
    write_clip_model(folder) if setting.device == "cpu" else write_clip_model(folder, architecture=_VIT_B_32)
    params = EmbedParams(weights=str(folder), precision="fp32" if setting.device == "cpu" else "fp16")
    embedder = Embedder(EmbedderSpec(folder, "0" * 32, params), setting.threads)
    return embedder, lambda: embedding_rate(list(paths), folder, setting.batch)


MODELS = {"d-fine": dfine, "yolo26": yolo26, "clip": clip}


@contextmanager
def busy(device: str) -> Iterator[list[float]]:
    """Note how busy the GPU is, in percent, while the block runs; nothing on a CPU."""
    seen: list[float] = []
    done = Event()

    def watch() -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not done.wait(0.2):
            said = subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()
            seen.extend(float(word) for word in said[:1])

    watcher = Thread(target=watch, daemon=True)
    if device != "cpu":
        watcher.start()
    yield seen
    done.set()
    if device != "cpu":
        watcher.join()


def measure(name: str, setting: Setting) -> dict[str, Any]:
    """Return the median rates of both, in turn, and how busy the GPU was with ours."""
    with tempfile.TemporaryDirectory() as place:
        paths = frames(Path(place) / "frames", setting)
        model, rate = MODELS[name](paths, Path(place), setting)
        asked = requests(paths, setting)
        ours, theirs, ratios, shares = [], [], [], []
        for _ in range(_ROUNDS if setting.device != "cpu" else 1):
            theirs.append(rate())
            with busy(setting.device) as seen:
                ours.append(our_rate(model, asked, setting))
            shares += seen
            ratios.append(ours[-1] / theirs[-1])
    return {
        "model": name,
        "device": setting.device,
        "frames": setting.n_frames,
        "size": f"{setting.width}x{setting.height}",
        "batch": setting.batch,
        "ours_fps": round(statistics.median(ours), 1),
        "library_fps": round(statistics.median(theirs), 1),
        "ratio": round(statistics.median(ratios), 2),
        "target": None if setting.device == "cpu" else _TARGET,
        "gpu_percent": round(statistics.mean(shares)) if shares else None,
    }


def main() -> int:
    """Print one JSON line per model, and return 1 if one misses its target on a GPU."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[*MODELS, []], help="which, all if none is named")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--frames", type=int)
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    small = Setting("cpu", given.frames or 12, 90, 160, 4, 64, 2)
    large = Setting("cuda", given.frames or 2000, 720, 1280, 32, 640, cores)
    missed = 0
    for name in given.models or MODELS:
        found = measure(name, small if given.device == "cpu" else large)
        print(json.dumps(found))
        missed += found["target"] is not None and found["ratio"] < found["target"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
