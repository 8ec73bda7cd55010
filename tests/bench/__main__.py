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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.storage.workspace import Workspace
from tests.bench import bare, material, queueing
from tests.environments import interpreter

_ROUNDS = 5
_FEWER_ROUNDS = 3
_FRAMES = 10_000
_FEWER = 1_000
_REVIEW_S = 60
_OTHERS = {"imagededup": "imagededup==0.3.3", "cleanvision": "cleanvision==0.3.7"}
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


def pixel_pass() -> Iterator[Figure]:
    """The pixel pass on the same frames as a bare decode and two other programs, all of them in turn."""
    frames = material.frames_720p(_FRAMES)
    paths = [frames / f"image_{number}.jpg" for number in range(_FRAMES)]
    python = interpreter("bench", "install", *_OTHERS.values())
    rates: dict[str, list[float]] = {name: [] for name in ("bare", "ours", *_OTHERS)}
    first = []
    with tempfile.TemporaryDirectory() as place:
        some = Path(place) / "some"
        some.mkdir()
        for path in paths[:_FEWER]:
            (some / path.name).symlink_to(path)
        for number in range(_ROUNDS):
            bare.warm(paths)
            rates["bare"].append(bare.rate(paths))
            bare.warm(paths)
            run = driver("run", f"{place}/{number}", frames)
            rates["ours"].append(run["frames_per_second"])
            first.append(run["counts"]["first_commit_ms"] / 1000)
            shutil.rmtree(f"{place}/{number}")
            bare.warm(paths)
            rates["imagededup"].append(_FRAMES / _other(python, "imagededup", frames))
            bare.warm(paths[:_FEWER])
            rates["cleanvision"].append(_FEWER / _other(python, "cleanvision", some))
            reported = ", ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items())
            sys.stderr.write(f"round {number + 1}, frames/s: {reported}; first commit {first[-1]:.1f} s\n")
    yield Figure("bare read and decode, 720p to 640x360", statistics.median(rates["bare"]), "frames/s")
    yield Figure("pixel pass of winnow run, the same frames", statistics.median(rates["ours"]), "frames/s")
    for name, what, least in (
        ("bare", "speed-of-light ratio: pixel pass to bare decode", 0.75),
        ("imagededup", "pixel pass to imagededup, hashes only", 3.0),
        ("cleanvision", "pixel pass to cleanvision, all checks", 15.0),
    ):
        ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[name], strict=True)]
        note = f"{min(ratios):.2f} to {max(ratios):.2f} in {_ROUNDS} rounds"
        if name in _OTHERS:
            note += f"; {name} {statistics.median(rates[name]):.0f} frames/s"
        yield Figure(what, statistics.median(ratios), "", least, at_most=False, note=note)
    yield Figure("start of a run to its first commit", statistics.median(first), "s", 8, note=f"best {min(first):.1f}")


def video() -> Iterator[Figure]:
    """The pixel pass on clips and a bare decode of the same, in turn; one clip per core, then one clip."""
    clips = material.clips_720p(_CPUS, 3000)
    ratios, ours = [], []
    with tempfile.TemporaryDirectory() as place:
        for number in range(_ROUNDS):
            rate = bare.clip_rate(sorted(clips.glob("*.mp4")))
            ours.append(driver("run", f"{place}/{number}", clips)["frames_per_second"])
            ratios.append(ours[-1] / rate)
    note = f"{min(ratios):.2f} to {max(ratios):.2f} in {_ROUNDS} rounds"
    yield Figure("pixel pass of winnow run on 720p clips", statistics.median(ours), "frames/s")
    yield Figure("the same to bare PyAV, one process per core", statistics.median(ratios), "", None, note=note)
    # So long that the start of the workers is no part of its rate.
    yield from _one_clip(next(material.clips_720p(1, 12_000).glob("*.mp4")))


def _one_clip(path: Path) -> Iterator[Figure]:
    ours, loop, threaded = [], [], []
    with tempfile.TemporaryDirectory() as place:
        for number in range(_ROUNDS):
            loop.append(bare.loop_rate(path))
            ours.append(driver("run", f"{place}/{number}", path)["frames_per_second"])
            threaded.append(bare.loop_rate(path, "AUTO"))
    yield Figure("a loop of PyAV over one 720p clip", statistics.median(loop), "frames/s")
    yield Figure("pixel pass of winnow run on that clip", statistics.median(ours), "frames/s")
    for theirs, what, least in (
        (loop, "the same to the loop", 0.8),
        (threaded, "the same to the loop, its decoder on all cores", None),
    ):
        ratios = [mine / its for mine, its in zip(ours, theirs, strict=True)]
        note = f"{min(ratios):.2f} to {max(ratios):.2f} in {_ROUNDS} rounds"
        yield Figure(what, statistics.median(ratios), "", least, at_most=False, note=note)


def _other(python: Path, name: str, frames: Path) -> float:
    """Return the seconds that another program takes over the frames."""
    script = Path(__file__).with_name("others.py")
    command = [str(python), str(script), name, str(frames)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return float(json.loads(out.splitlines()[-1])["seconds"])


def embeddings() -> Iterator[Figure]:
    """Vectors of a model of the usual size and random weights, and a bare loop over the same frames, in turn."""
    n, batch = 256 if torch_sees_gpu() else 96, 32
    frames = material.frames_720p(n)
    weights = material.open_clip_weights("ViT-B-32")
    settings = (
        f"embed.weights={weights}",
        "stages=[embeddings]",
        f"resources.model_batch={batch}",
        "resources.models=1",
    )
    loop = ("embed", weights, frames, batch)
    ours, ratio, note = _beside_loop("embeddings", frames, settings, loop)
    yield Figure("embeddings of winnow run, ViT-B-32", ours, "frames/s")
    yield Figure("the same to a bare open-clip loop", ratio, "", 0.85, at_most=False, note=note)


def annotate() -> Iterator[Figure]:
    """An exported detector of the usual size and random weights, and a bare loop over the same frames, in turn."""
    frames, weights = material.frames_720p(_FEWER), material.detector_weights()
    model = ("annotate.detector=onnx", f"annotate.weights={weights}")
    settings = (*model, "annotate.frames=all", "stages=[annotate]", "resources.models=1")
    ours, ratio, note = _beside_loop("annotate", frames, settings, ("detect", weights, frames))
    yield Figure("annotations of winnow run, YOLO26n by ONNX Runtime", ours, "frames/s")
    yield Figure("the same to a bare loop", ratio, "", 0.9, at_most=False, note=note)


def _beside_loop(name: str, frames: Path, settings: Sequence[str], loop: Sequence[object]) -> tuple[float, float, str]:
    """Return a model stage's frames per second, what they are of a bare loop's, taken in turn, and within what."""
    ratios, ours = [], []
    with tempfile.TemporaryDirectory() as place:
        for number in range(_FEWER_ROUNDS):
            rate = driver(*loop)["frames_per_second"]
            stage = driver("run", f"{place}/{number}", frames, *settings)["stages"][name]
            ours.append(stage["computed"] / stage["seconds"])
            ratios.append(ours[-1] / rate)
    note = f"{min(ratios):.2f} to {max(ratios):.2f} in {_FEWER_ROUNDS} rounds"
    return statistics.median(ours), statistics.median(ratios), note


def refresh() -> Iterator[Figure]:
    """A run that finds a thousand new frames behind 99,000, and one that finds the thousand alone."""
    frames = sorted(material.small_frames(100_000).iterdir(), key=lambda path: int(path.stem.split("_")[1]))
    seconds = {}
    with tempfile.TemporaryDirectory(dir=material.folder()) as place:
        for name, known in (("alone", []), ("behind", frames[:-_FEWER])):
            cam = Path(place) / name / "cam"
            cam.mkdir(parents=True)
            for path in known:
                os.link(path, cam / path.name)
            if known:
                driver("run", f"{place}/{name}/tables", cam)
            for path in frames[-_FEWER:]:
                os.link(path, cam / path.name)
            result = driver("run", f"{place}/{name}/tables", cam)
            assert result["stages"]["frames"]["computed"] == _FEWER
            seconds[name] = result["process_s"]
    yield Figure("a run over 1,000 frames, start-up included", seconds["alone"], "s")
    more = seconds["behind"] - seconds["alone"]
    yield Figure("the same where 99,000 were there before, more by", more, "s", 5)


def torch_sees_gpu() -> bool:
    """Say whether models run on a GPU here."""
    import torch

    return bool(torch.cuda.is_available())


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


def many_streams() -> Iterator[Figure]:
    """Commands on ten million finished frames in a thousand streams, each in a process of its own."""
    from tests.bench.many_streams import commands, many_streams

    home = many_streams(1_000, 10_000)
    decided = driver("decide", home)
    note = f"{decided['peak_mb']:.0f} MB"
    yield Figure(
        "table stages over ten million frames in 1,000 streams, from nothing", decided["seconds"], "s", note=note
    )
    for took in commands(home, decided["job_id"]):
        yield Figure(took.what, took.wall_s, "s", 60, note=f"{took.cpu_s:.1f} s of processor time")
        yield Figure("the same, peak memory of its processes", took.peak_mb, "MB", 4000)
    # It is not what it was, and takes four gigabytes.
    shutil.rmtree(home)


def grouping() -> Iterator[Figure]:
    """Groups of near-duplicates: hashes of which half are in clusters, and streams, whose neighbours are alike."""
    by_hash = ("duplicates.verify=none", "duplicates.hamming=6")
    for kind, n, old, settings, most in (
        ("clusters", 100_000, 0, by_hash, 2),
        ("clusters", 1_000_000, 0, by_hash, 12),
        ("clusters", 1_000_000, 990_000, by_hash, 2),
        ("stream", 1_000_000, 0, by_hash, 5),
        ("clusters", 1_000_000, 0, (), None),
        ("stream", 1_000_000, 0, (), None),
    ):
        result = driver("group", kind, n, old, *settings)
        how = "within 6 bits" if settings else "within 10 bits, verified"
        what = f"grouping {n:,} hashes, {kind}, {how}" if not old else f"grouping {n - old:,} new hashes with {old:,}"
        note = f"{result['groups']:,} groups, {result['peak_mb']:.0f} MB"
        yield Figure(what, result["seconds"], "s", most, note=note)


def near_pairs() -> Iterator[Figure]:
    """Near hashes found by the driver's index, and by a Ray Data shuffle on the cores of this machine."""
    for n in (250_000, 1_000_000):
        took = {join: driver("group", "clusters", n, 0, f"duplicates.join={join}") for join in ("local", "shuffle")}
        assert took["local"]["groups"] == took["shuffle"]["groups"]
        for join, result in took.items():
            note = f"{result['peak_mb']:.0f} MB of the driver"
            yield Figure(f"grouping {n:,} hashes by default, {join}", result["seconds"], "s", note=note)
        ratio = took["shuffle"]["seconds"] / took["local"]["seconds"]
        yield Figure(f"the shuffle on {_CPUS} cores takes, of the time of the index on one", ratio, "times")


def grouping_10m() -> Iterator[Figure]:
    """Groups of near-duplicates among ten million hashes."""
    result = driver("group", "clusters", 10_000_000, 0, "duplicates.verify=none", "duplicates.hamming=6")
    yield Figure(
        "grouping 10,000,000 hashes, clusters", result["seconds"], "s", 900, note=f"{result['groups']:,} groups"
    )
    yield Figure("the same, peak memory", result["peak_mb"], "MB", 8000)


def queue() -> Iterator[Figure]:
    """A gateway that waits, and a job that it runs, pauses and continues with."""
    frames = material.frames_720p(_FRAMES)
    with tempfile.TemporaryDirectory() as place:
        root = Workspace.at(f"{place}/tables").create().folder
        with queueing.gateway(root) as pid:
            cpu, memory = queueing.idle_cost(pid, 30)
            took = queueing.life_of_a_job(root, frames)
    yield Figure("an idle gateway, of one core", cpu, "%", 2)
    yield Figure("the same, memory", memory, "MB", 150)
    yield Figure("from winnow submit to the first commit", took["first_commit_s"], "s")
    yield Figure("from winnow job pause to paused", took["paused_s"], "s", 5)
    yield Figure("from winnow job resume to the next commit", took["resumed_s"], "s")


def pages() -> Iterator[Figure]:
    """From a command to a grid in a browser, memory and filters: ours next to LightlyStudio, on the same frames."""
    from tests.bench.pages import both

    mine, other = both()
    for what, unit, name in (
        ("from files to a grid in a browser, frames listed and hashed", "s", "listed_s"),
        ("from files to a grid in a browser, all measures computed", "s", "measured_s"),
        ("from winnow serve to a grid in a browser", "s", "again_s"),
        ("memory of the server with the grid shown", "MB", "memory_mb"),
        ("a new filter over 6,000 frames, its first 100", "ms", "filter_ms"),
    ):
        value, theirs = getattr(mine, name), getattr(other, name)
        yield Figure(
            what,
            value,
            unit,
            theirs,
            note=f"LightlyStudio {theirs:.4g}, which measures nothing"
            if name == "fresh_s"
            else f"LightlyStudio {theirs:.4g}",
        )


def million() -> Iterator[Figure]:
    """A server of a workspace with a million frames."""
    from tests.bench.million import measure

    found = measure()
    yield Figure("winnow serve of a million frames, from the command to ready", found.start_s, "s", 2)
    yield Figure("its memory before any query", found.idle_mb, "MB", 150)
    yield Figure("its memory with counts of all frames", found.counted_mb, "MB", 280)
    yield Figure("its memory with conditions and thresholds as well", found.end_mb, "MB")
    for each in found.answers:
        yield Figure(each.what, each.median_ms, "ms", each.target_ms, note=f"at most {each.most_ms:.0f}")


def review() -> Iterator[Figure]:
    """Edits of twenty people, acknowledged when they are on disk."""
    from tests.bench.reviewing import acknowledging
    from tests.jobs.review.material import annotated

    with tempfile.TemporaryDirectory() as place:
        found = acknowledging(annotated(Path(place)), _REVIEW_S)
    parts = f"an empty request {found.p99_ms('empty'):.1f}, a flush {found.p99_ms('flushes'):.1f} ms"
    yield Figure("an edit acknowledged, 20 people, 100 a second, p50", found.p50_ms("edits"), "ms")
    yield Figure("the same, p99 by that of an empty request and a flush", found.ratio, "x", 2, note=parts)
    yield Figure("edits that were not acknowledged", found.lost, "", 0)


BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "pixel-pass": pixel_pass,
    "nothing-to-do": nothing_to_do,
    "planning": planning,
    "many-streams": many_streams,
    "video": video,
    "embeddings": embeddings,
    "annotate": annotate,
    "refresh": refresh,
    "grouping": grouping,
    "near-pairs": near_pairs,
    "grouping-10m": grouping_10m,
    "queue": queue,
    "pages": pages,
    "million": million,
    "review": review,
}


def main() -> None:
    """Run the benchmarks that the arguments name, or all, and print the table."""
    os.environ.setdefault("COLUMNS", "130")
    from jobs.cli.show import print_table

    chosen = sys.argv[1:] or list(BENCHMARKS)
    rows = []
    for name in chosen:
        for figure in BENCHMARKS[name]():
            sign = "" if figure.target is None else f"{'≤' if figure.at_most else '≥'} {figure.target:g}"
            rows.append((figure.name, figure.value, figure.unit, sign, figure.verdict, figure.note))
            sys.stderr.write(f"{figure.name}: {figure.value:.4g} {figure.unit} {figure.note}\n")
    machine = f"{_CPUS} cores, Python {platform.python_version()}, {platform.machine()}"
    print_table(("figure", "value", "", "target", "met", "note"), rows, title=f"winnow benchmarks ({machine})")


if __name__ == "__main__":
    main()
