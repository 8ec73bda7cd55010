"""What a stage sees on one frame: its rows, and the named intermediates of its kernels under any settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

import schemas
from conf import ConfigError, PipelineConfig
from conf.loader import override
from jobs.core.errors import UserError
from jobs.core.os_errors import as_problem
from jobs.runs.replay import of_job
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from transforms.frames.frame_image import Clips, FrameImage, open_frame
from transforms.frames.image import CorruptImageError, ImageParams
from transforms.probes import PROBES, Intermediates, ProbedFrame

MaySee = Callable[[str, int], bool]


def rows_of_stage(view: View, stream: str, frame_idx: int, stage: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a frame in the tables of a stage, by table. Raises `UserError` for a stage without such."""
    tables = [t for t in schemas.of_stage(stage) if {"stream_id", "frame_idx"} <= set(t.arrow_schema.names)]
    if not tables:
        known = sorted({t.written_by for t in schemas.ALL if t.has_stage_key and "frame_idx" in t.arrow_schema.names})
        raise UserError(f"--stage: expected a stage with rows of frames: {', '.join(known)}; found {stage!r}")
    at = (pl.col("stream_id") == stream) & (pl.col("frame_idx") == frame_idx)
    return {t.name: view.lazy(t.name).filter(at).collect().to_dicts() for t in tables}


def probe_frame(
    workspace: Workspace,
    view: View,
    stream: str,
    frame_idx: int,
    stage: str,
    settings: Sequence[str] = (),
    may_see: MaySee = lambda _stream, _idx: True,
) -> Intermediates:
    """Return the intermediates of a stage on a frame, with the parameters of the run that is shown and `settings`.

    `settings` are `KEY=VALUE` of the stage's own section. `may_see` says which other frames it may be compared with.
    Raises `UserError` for stages without a probe, wrong settings, and frames that are not there, have changed or do
    not decode.
    """
    probe = PROBES.get(stage)
    if probe is None:
        raise UserError(f"--stage: expected one of {', '.join(sorted(PROBES))} to look into; found {stage[:80]!r}")
    for setting in settings:
        if setting.partition(".")[0] != probe.section:
            raise UserError(f"settings: expected {probe.section}.…=…, those of the stage; found {setting[:80]!r}")
    frames = view.lazy("frames")
    config = _config(workspace, stream, settings)
    with Clips() as clips:
        image = _opened(frames, stream, frame_idx, config.image, clips)
        pixels = _pixels(image, stream, frame_idx)
        color = image.color()
        other = None
        if probe.other is not None:
            place = (_before if probe.other == "before" else _representative)(view, stream, frame_idx)
            if place is not None and may_see(*place):
                compared = _pixels(_opened(frames, *place, config.image, clips), *place)
                other = (compared.small, compared.tiles)
        regions = _regions(view, stream, frame_idx) if probe.with_regions else ()
        shown = ProbedFrame(color, pixels.gray, pixels.small, pixels.tiles, other, regions)
    return probe.function(shown, {probe.section: getattr(config, probe.section)})


def write_probed(probed: Intermediates, folder: Path, about: dict[str, Any]) -> list[Path]:
    """Write images as PNG and all values as JSON into a folder, and return the files. Raises `UserError`."""
    stage = about["stage"]
    written = []
    images = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in probed.images.items():
            path = folder / f"{stage}-{name}.png"
            path.write_bytes(as_png(image))
            images.append({"name": name, "file": path.name, "shape": list(image.shape)})
            written.append(path)
        path = folder / f"{stage}.json"
        path.write_text(json.dumps({**about, "images": images, "values": probed.values}, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise UserError(as_problem(error, "--out")) from None
    return [*written, path]


def as_png(image: np.ndarray[Any, Any]) -> bytes:
    """Return an image, uint8 of shape (H, W) or (H, W, 3), as PNG."""
    return bytes(cv2.imencode(".png", image)[1])


def _config(workspace: Workspace, stream: str, settings: Sequence[str]) -> PipelineConfig:
    heads = Store(workspace.require().root).read(schemas.HEADS, ("job_id", "stage", "stream_id")).to_pylist()
    jobs = [row["job_id"] for row in heads if row["stage"] == schemas.FRAMES.written_by and row["stream_id"] == stream]
    config = of_job(workspace, max(jobs)).loaded.config if jobs else PipelineConfig()
    try:
        return override(config, settings)
    except ConfigError as error:
        raise UserError(error.problems) from None


def _opened(frames: pl.LazyFrame, stream: str, frame_idx: int, params: ImageParams, clips: Clips) -> FrameImage:
    at = (pl.col("stream_id") == stream) & (pl.col("frame_idx") == frame_idx)
    found = frames.filter(at).select("uri", "input_id").collect().to_dicts()
    if not found:
        raise UserError(f"there is no frame {frame_idx} of a stream {stream[:100]!r}; winnow inspect stream lists them")
    image = open_frame(found[0]["uri"], None, params, clips)
    try:
        changed = image.content() != found[0]["input_id"]
    except OSError as error:
        raise UserError(as_problem(error, f"frame {frame_idx}")) from None
    if changed:
        raise UserError(f"frame {frame_idx} has changed since it was measured; run its stream again")
    return image


def _pixels(image: FrameImage, stream: str, frame_idx: int) -> Any:
    try:
        pixels = image.pixels()
    except (OSError, CorruptImageError) as error:
        raise UserError(f"frame {frame_idx} of stream {stream[:100]}: {error}") from None
    if pixels is None:
        raise UserError(f"frame {frame_idx} of stream {stream[:100]} does not decode: {image.corrupt}")
    return pixels


def _before(view: View, stream: str, frame_idx: int) -> tuple[str, int] | None:
    at = (pl.col("stream_id") == stream) & (pl.col("frame_idx") < frame_idx) & (pl.col("status") == "ok")
    before = view.lazy("frames").filter(at).select(pl.col("frame_idx").max()).collect().item()
    return None if before is None else (stream, int(before))


def _representative(view: View, stream: str, frame_idx: int) -> tuple[str, int] | None:
    at = (pl.col("stream_id") == stream) & (pl.col("frame_idx") == frame_idx) & ~pl.col("is_representative")
    columns = ("representative_stream", "representative_idx")
    found = view.lazy("duplicates").filter(at).select(columns).collect().rows()
    return (str(found[0][0]), int(found[0][1])) if found else None


def _regions(view: View, stream: str, frame_idx: int) -> list[dict[str, Any]]:
    at = (pl.col("stream_id") == stream) & (pl.col("frame_idx") == frame_idx) & pl.col("is_read")
    corners = pl.concat_list([f"{axis}{number}" for number in range(1, 5) for axis in "xy"]).alias("corners")
    return view.lazy("regions").filter(at).sort("region_id").select("region_id", "kind", corners).collect().to_dicts()
