"""Run benchmarks and print one table: `python -m tests.bench [NAME …]`."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.bench import material

_ROUNDS = 5
_FRAMES = 10_000
_OTHERS_FRAMES = 2_000
_OTHERS = ("imagededup==0.3.3", "cleanvision==0.3.7")
_CHUNK = 250
_CPUS = os.cpu_count() or 1


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was measured, what came out, and what it is to reach."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_most: bool = True
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return whether the target is met."""
        if self.target is None:
            return ""
        met = self.value <= self.target if self.at_most else self.value >= self.target
        return "yes" if met else "NO"


def driver(*arguments: object) -> dict[str, Any]:
    """Run `tests.bench.driver` in a process of its own and return what it printed."""
    command = [sys.executable, "-m", "tests.bench.driver", *(str(a) for a in arguments)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def _decode(paths: list[str]) -> None:
    """Read and decode, and nothing else: what no program can be faster than."""
    cv2.setNumThreads(0)
    for path in paths:
        with open(path, "rb", buffering=0) as handle:
            data = handle.read()
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_2)


def bare_rate(frames: Path) -> float:
    """Return frames per second of a bare decode by as many processes as there are cores."""
    paths = [str(frames / f"image_{i}.jpg") for i in range(_FRAMES)]
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    with get_context("spawn").Pool(_CPUS) as pool:
        pool.map(_decode, [paths[:20]] * _CPUS * 2)
        started = time.perf_counter()
        for _ in pool.imap_unordered(_decode, chunks):
            pass
        return _FRAMES / (time.perf_counter() - started)


def speed_of_light() -> Iterator[Figure]:
    """The pixel pass beside a bare decode of the same files, in turn."""
    frames = material.frames_720p(_FRAMES)
    bare, ours, first = [], [], []
    with tempfile.TemporaryDirectory() as place:
        for number in range(_ROUNDS):
            bare.append(bare_rate(frames))
            run = driver("run", f"{place}/{number}", frames)
            ours.append(run["frames_per_second"])
            first.append(run["counts"]["first_commit_ms"] / 1000)
            shutil.rmtree(f"{place}/{number}")
    ratios = [o / b for o, b in zip(ours, bare, strict=True)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f} in {_ROUNDS} rounds"
    yield Figure("bare read and decode, 720p to 640x360", statistics.median(bare), "frames/s")
    yield Figure("pixel pass of winnow run, the same", statistics.median(ours), "frames/s")
    yield Figure("speed-of-light ratio", statistics.median(ratios), "", 0.75, at_most=False, note=spread)
    yield Figure("start of a run to its first commit", statistics.median(first), "s", 8, note=f"best {min(first):.1f}")


def others() -> Iterator[Figure]:
    """The pixel pass beside imagededup and CleanVision on the same frames."""
    frames = material.frames_720p(_OTHERS_FRAMES)
    python = _others_environment()
    with tempfile.TemporaryDirectory() as place:
        ours = driver("run", place, frames, f"unit_frames={_CHUNK}")["frames_per_second"]
    for name, at_least in (("imagededup", 3.0), ("cleanvision", 15.0)):
        script = Path(__file__).with_name("others.py")
        out = subprocess.run([python, script, name, frames], check=True, stdout=subprocess.PIPE, text=True).stdout
        rate = _OTHERS_FRAMES / json.loads(out.splitlines()[-1])["seconds"]
        what = "hashes only" if name == "imagededup" else "all checks"
        note = f"{ours:.0f} to {rate:.0f} frames/s"
        yield Figure(f"pixel pass to {name}, {what}", ours / rate, "times", at_least, at_most=False, note=note)


def _others_environment() -> Path:
    """Install the other programs beside our own environment, once."""
    place = Path(".venv-bench")
    if not (place / "done").exists():
        uv = shutil.which("uv") or ".uv/bin/uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, place], check=True)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(place / "bin/python")]
        subprocess.run([*install, *_OTHERS], check=True)
        (place / "done").touch()
    return (place / "bin/python").absolute()


def nothing_to_do() -> Iterator[Figure]:
    """Driver memory at two sizes, and a second run over the larger."""
    peaks = {}
    with tempfile.TemporaryDirectory() as place:
        for n in (10_000, 100_000):
            frames = material.small_frames(n)
            peaks[n] = driver("run", f"{place}/{n}", frames)["peak_mb"]
        again = driver("run", f"{place}/{n}", frames)
    assert again["counts"]["frames_read"] == 0
    yield Figure("a run with nothing to do over 100,000 frames, start-up included", again["process_s"], "s", 5)
    yield Figure("peak memory of the driver, 10,000 frames", peaks[10_000], "MB")
    grown = 100 * (peaks[100_000] / peaks[10_000] - 1)
    yield Figure("the same at 100,000 frames, more by", grown, "%", 20, note=f"{peaks[100_000]:.0f} MB")


def planning() -> Iterator[Figure]:
    """A plan over ten million finished rows."""
    workspace = material.finished_tables(10, 1_000_000)
    result = driver("plan", workspace.root, 10, 1_000_000)
    assert (result["frames"], result["open"]) == (10_000_000, 0)
    yield Figure("planning over ten million finished frames", result["seconds"], "s", 60)
    yield Figure("the same, peak memory", result["peak_mb"], "MB", 1000)


def grouping() -> Iterator[Figure]:
    """Groups of near-duplicates among hashes of which half lie in clusters."""
    import pyarrow as pa

    import schemas
    from transforms.duplicates import INPUT, DuplicateParams, group_frames
    from transforms.hashing import to_hex

    nothing = schemas.DUPLICATES.file_schema.empty_table()
    for n, most in ((100_000, 2.0), (1_000_000, None)):
        words = clustered_hashes(n)
        columns = [pa.repeat(pa.scalar("s"), n), np.arange(n), np.arange(n), to_hex(words)]
        frames = pa.table(dict(zip(INPUT.names, columns, strict=True)), schema=INPUT)
        group_frames(frames.slice(0, 100), nothing, DuplicateParams())
        started = time.perf_counter()
        grouped = group_frames(frames, nothing, DuplicateParams()).added
        seconds = time.perf_counter() - started
        groups = len(set(grouped["group_id"].to_pylist()))
        yield Figure(f"grouping {n:,} hashes, half in clusters", seconds, "s", most, note=f"{groups:,} groups")


def clustered_hashes(n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return hashes of which half lie within three bits of one of n/20 centres, in random order."""
    rng = np.random.default_rng(0)
    alone = rng.integers(0, 2**64, n - n // 2, dtype=np.uint64)
    near = rng.integers(0, 2**64, n // 20, dtype=np.uint64)[rng.integers(0, n // 20, n // 2)]
    for _ in range(3):
        near = near ^ (np.uint64(1) << rng.integers(0, 64, len(near), dtype=np.uint64))
    return rng.permutation(np.concatenate([alone, near]))


BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "speed-of-light": speed_of_light,
    "others": others,
    "nothing-to-do": nothing_to_do,
    "planning": planning,
    "grouping": grouping,
}


def main() -> None:
    """Run the benchmarks that the arguments name, or all, and print the table."""
    from jobs.cli.show import print_table

    chosen = sys.argv[1:] or list(BENCHMARKS)
    rows = []
    for name in chosen:
        for figure in BENCHMARKS[name]():
            sign = "" if figure.target is None else f"{'≤' if figure.at_most else '≥'} {figure.target:g}"
            rows.append((figure.name, figure.value, figure.unit, sign, figure.verdict, figure.note))
    machine = f"{_CPUS} cores, Python {platform.python_version()}, {platform.machine()}"
    print_table(("figure", "value", "", "target", "met", "note"), rows, title=f"winnow benchmarks ({machine})")


if __name__ == "__main__":
    main()
