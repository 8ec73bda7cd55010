"""Short ways to make streams, run jobs and read tables, for tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from typer.testing import CliRunner, Result

import schemas
from conf import load
from jobs.cli.program import program
from jobs.core.errors import UserError
from jobs.ingest.catalogue import IngestOverrides
from jobs.records.run_record import RunRecord
from jobs.runs.dry_run import StageForecast, forecast
from jobs.runs.prepare import prepare
from jobs.runs.run import RunRequest, run
from jobs.storage.paths import Place
from jobs.storage.workspace import Workspace
from jobs.views.view import View
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
    *inputs: Path | str,
    settings: Iterable[str] = (),
    overrides: IngestOverrides | None = None,
    limit: int | None = None,
) -> RunRecord:
    """Run the default profile on some folders."""
    loaded = load(settings=("resources.commit_seconds=0.2", *settings))
    return run(RunRequest(workspace, [str(i) for i in inputs], loaded, overrides or IngestOverrides(), limit))


def computed(record: RunRecord) -> dict[str, int]:
    """Return how many frames each stage of a run computed, without those that computed none."""
    return {name: outcome.computed for name, outcome in record.outcomes.items() if outcome.computed}


def rows(workspace: Workspace, table: schemas.Table, without: Sequence[str] = ()) -> pl.DataFrame:
    """Return the current rows of a table in order of their keys."""
    return View.of(workspace).lazy(table.name).collect().drop(without).sort(table.file_key)


def table_of(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Return a table of a schema from some of its columns; the others are null."""
    n = len(next(iter(columns.values())))
    return pa.table({f.name: columns.get(f.name, pa.nulls(n, f.type)) for f in schema}, schema=schema)


def assert_same_tables(one: Workspace, other: Workspace, without: Sequence[str] = ()) -> None:
    """Assert that every stage table shows the same rows in two workspaces."""
    for table in STAGE_TABLES:
        dropped = [name for name in without if name in table.arrow_schema.names]
        left, right = rows(one, table, dropped), rows(other, table, dropped)
        assert left.equals(right), f"{table.name} differs:\n{left}\n{right}"


def assert_one_live_row(workspace: Workspace) -> None:
    """Assert that no key has two rows in any stage table, of any configuration."""
    for table in STAGE_TABLES:
        every = View.of(workspace).lazy(f"{table.name}_all").collect()
        assert every.height == every.unique(table.key).height, table.name


def log_events(log: Path, n: int) -> list[dict[str, Any]]:
    """Return the last `n` events of a log of JSON lines, oldest first; none where there is no log."""
    lines = log.read_text().splitlines() if log.exists() else []
    # The last line may still be being written.
    return [json.loads(line) for line in lines[-n:] if line.endswith("}")]


OURS = ("conf", "jobs", "schemas", "transforms")


def write_hiding(folder: Path, are_modules: bool, names: Sequence[str] = OURS) -> None:
    """Write packages or modules with the names of ours that cannot be imported, as a user's folder may have them."""
    for name in names:
        file = folder / f"{name}.py" if are_modules else folder / name / "__init__.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("raise SystemError('that of the user was imported')\n")


def write_pictures(folder: Path, pictures: Iterable[npt.NDArray[np.uint8]], start: int = 0) -> Path:
    """Write arrays as image_N.png, which keeps every value."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, start):
        cv2.imwrite(str(folder / f"image_{number}.png"), picture)
    return folder


def noise(seed: int, height: int = 90, width: int = 160) -> npt.NDArray[np.uint8]:
    """Return a textured grey image that resembles that of no other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 16), dtype=np.uint8)
    large = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 12, (height, width))
    return np.clip(large + grain, 0, 255).astype(np.uint8)


def write_noise_stream(folder: Path, seeds: Iterable[int], start: int = 0) -> Path:
    """Write one JPEG frame per seed; equal seeds give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded: dict[int, bytes] = {}
    for number, seed in enumerate(seeds, start):
        if seed not in encoded:
            encoded[seed] = encode(noise(seed), 90)
        (folder / f"image_{number}.jpg").write_bytes(encoded[seed])
    return folder


def copy_stream(source: Path, target: Path) -> Path:
    """Copy a folder of frames with its modification times."""
    shutil.copytree(source, target, copy_function=shutil.copy2)
    return target


def write_clip(
    path: Path,
    pictures: Sequence[npt.NDArray[np.uint8]],
    times_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    gop: int = 12,
    turn: int = 0,
    options_too: dict[str, str] | None = None,
) -> Path:
    """Write (H, W) uint8 images as a clip, 25 per second unless times are given, a keyframe every `gop` frames.

    `options_too` are options of the encoder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape
    options = {"preset": "ultrafast", "bf": "2", "sc_threshold": "0"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={**options, "g": str(gop), **(options_too or {})})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        # MPEG-2 and MPEG-4 know few rates.
        ticks = 25 if codec.startswith("mpeg") else 1000
        stream.codec_context.time_base = Fraction(1, ticks)
        if turn:
            stream.set_display_rotation(turn)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            frame.pts = times_ms[number] if times_ms else number * ticks // 25
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def scenery(n: int, height: int = 90, width: int = 160) -> list[npt.NDArray[np.uint8]]:
    """Return the images of a camera that moves over a still scene, two pixels per frame."""
    ground = cv2.GaussianBlur(noise(7, height, width + 2 * n), (0, 0), 2)
    ground = cv2.normalize(ground, None, 20, 235, cv2.NORM_MINMAX).astype(np.uint8)
    return [np.ascontiguousarray(ground[:, 2 * i : 2 * i + width]) for i in range(n)]


def damage(clip: Path, number: int) -> None:
    """Overwrite the middle of one packet of a clip with noise."""
    with av.open(str(clip)) as container:
        packet = [p for p in container.demux(video=0) if p.size][number]
        assert packet.pos is not None
        start, end = packet.pos + packet.size // 3, packet.pos + 2 * packet.size // 3
    data = bytearray(clip.read_bytes())
    data[start:end] = np.random.default_rng(0).bytes(end - start)
    clip.write_bytes(data)


TINY_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "patch_size": 8, "head_width": 24},
    "text_cfg": {"context_length": 8, "vocab_size": 32, "width": 24, "heads": 2, "layers": 1},
}


def write_clip_model(folder: Path, seed: int = 0, architecture: dict[str, Any] = TINY_CLIP) -> Path:
    """Write an open-clip model of random weights, as a repository of the hub has it; a small one by default."""
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    seen = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic", "resize_mode": "shortest"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": architecture, "preprocess_cfg": seen}))
    torch.manual_seed(seed)
    save_file(CLIP(**architecture).state_dict(), folder / "open_clip_model.safetensors")
    return folder


def on_disk(place: Place) -> Path:
    """Return a path that is on disk."""
    path = place.on_disk()
    assert path is not None
    return path


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, waited for by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def winnow(*words: object) -> Result:
    """Call the program in this process."""
    return CliRunner().invoke(program(), [str(word) for word in words])


def said(result: Result) -> Any:
    """Return the JSON on the last line of what a command that succeeded printed."""
    assert result.exception is None, result.exception
    return json.loads(result.stdout.splitlines()[-1])


def problems(result: Result) -> list[str]:
    """Return why a command refused to do anything."""
    assert isinstance(result.exception, UserError), result.output
    assert result.exception.exit_code == 2
    return result.exception.problems


def planned(
    workspace: Workspace, *inputs: Path, settings: tuple[str, ...] = (), overrides: IngestOverrides | None = None
) -> dict[str, StageForecast]:
    """Return what a run would do, for the stages that have something to do."""
    request = RunRequest(workspace, [str(i) for i in inputs], load(settings=settings), overrides or IngestOverrides())
    return {f.stage: f for f in forecast(prepare(request)) if f.compute or f.verify or f.remove}


def reads(record: RunRecord) -> tuple[int, int]:
    """Return how many frames a run read, and how many it decoded."""
    counts = record.counts
    return counts["frames_read"], counts["frames_decoded"]
