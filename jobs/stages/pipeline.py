"""The pipeline: every stage, what it reads, and which parameters decide its result. Reads from top to bottom."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import schemas
from conf import PipelineConfig
from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from jobs.core.stage import Stage
from jobs.models import embedder
from jobs.stages import detection, routing_stages, segmentation, text
from transforms.core import identity, intervals
from transforms.curate import curation, idle, scenes
from transforms.curate.duplicates import grouping
from transforms.frames import clip, image, pixel_block
from transforms.metrics import hashing, motion, quality, sketch
from transforms.metrics.measure import PixelParams
from transforms.models import track
from transforms.models.embeddings import Embedder

MEASURE = "measure"
"""The name under which the stages that read pixels pause and step: they are one pass."""

_OF_EVERY_RUN = (
    schemas.STREAMS,
    schemas.LISTING,
    schemas.QUARANTINE,
    schemas.RUNS,
    schemas.STAGE_RUNS,
    schemas.HEADS,
    schemas.SCOPES,
)


def build(config: PipelineConfig) -> tuple[Stage, ...]:
    """Return the stages that a configuration runs, each after those that it reads."""
    clips = (clip.ClipFrame.digest, clip.ClipFrame.gray, *clip.DAMAGE_RULES)
    decode = (image.read_header, image.decode_gray, image.shrink, *clips)
    picture = _params("image", config.image)
    frames = Stage("frames", "pixels", schemas.FRAMES, decode, picture)
    quality_ = Stage(
        "quality",
        "pixels",
        schemas.QUALITY,
        (*decode, image.to_small, quality.measure_picture, quality.tone_histogram, quality.tone_statistics),
        picture | _params("blur", config.blur),
    )
    fingerprints = Stage(
        "fingerprints",
        "pixels",
        schemas.FINGERPRINTS,
        (*decode, image.to_small, hashing.phash, image.to_tiles, hashing.layouts),
        picture,
    )
    motion_ = Stage(
        "motion",
        "pixels",
        schemas.MOTION,
        (
            *(*decode, image.to_small, image.to_tiles, motion.motion_scores),
            *(motion.keeps_tiles, motion.still_tiles, sketch.sketch, identity.pair_ids),
        ),
        picture | _params("motion", config.motion),
    )
    media = Stage("media", "pixels", schemas.MEDIA, (clip.ClipFrame.color, image.encode_jpeg), picture)
    scenes_ = Stage(
        "scenes",
        "table",
        schemas.SCENES,
        (scenes.find_scenes,),
        _params("scenes", config.scenes),
        upstream=(fingerprints, frames),
        scope="stream",
    )
    idle_ = Stage(
        "idle",
        "table",
        schemas.IDLE,
        (idle.find_idle, motion.drift, sketch.repeats),
        _params("idle", config.idle, leave_out=("keep",)),
        upstream=(motion_, fingerprints, scenes_),
        scope="stream",
    )
    chosen = config.closed_stages
    embeddings = (_embeddings(config),) if "embeddings" in chosen else ()
    duplicates_ = Stage(
        "duplicates",
        "table",
        schemas.DUPLICATES,
        (grouping.group_frames,),
        _params("duplicates", config.duplicates, leave_out=("rebuild", "join", "shuffle_above")),
        upstream=(fingerprints, *embeddings) if config.duplicates.uses == "vector" else (fingerprints,),
        scope=config.duplicates.scope,
    )
    verdicts = tuple(s for s in (idle_, duplicates_) if s.name in chosen)
    curation_ = Stage(
        "curation",
        "table",
        schemas.CURATION,
        (curation.curate, intervals.place_in_intervals, curation.CurationParams.blur_limits),
        _params("curation", config.curation) | {"blur.method": config.blur.method, "idle.keep": config.idle.keep},
        upstream=(frames, quality_, *verdicts),
        scope="stream",
    )
    stages = (
        frames,
        quality_,
        fingerprints,
        motion_,
        media,
        *embeddings,
        scenes_,
        idle_,
        duplicates_,
        curation_,
        *_on_objects(config, frames, scenes_),
    )
    by_name = {s.name: s if s.kind != "model" else replace(s, rule=config.rule(s.name)) for s in stages}
    if "propagate" in chosen:
        by_name["propagate"] = segmentation.propagate_stage(config, by_name)
    return tuple(by_name[name] for name in chosen)


def _on_objects(config: PipelineConfig, frames: Stage, scenes_: Stage) -> list[Stage]:
    """Return the stages that find objects and words, and those that work on what was found or doubt it."""
    chosen = config.closed_stages
    stages = []
    if "track" in chosen:
        require("annotate", *track.PACKAGES)
    if "annotate" in chosen:
        annotate = detection.annotate_stage(config)
        followed = (annotate, scenes_)
        params = _params("track", config.track)
        follow = Stage("track", "table", schemas.TRACKS, (track.follow,), params, upstream=followed, scope="stream")
        tracks = [follow] if "track" in chosen else []
        masks = [segmentation.segment_stage(config, annotate)] if "segment" in chosen else []
        stages += [*routing_stages.with_doubts(config, frames, [annotate], *tracks), *masks, *tracks]
    if "ocr" in chosen:
        stages.append(text.ocr_stage(config))
    if "caption" in chosen:
        stages.append(text.caption_stage(config))
    return stages


def _embeddings(config: PipelineConfig) -> Stage:
    spec = embedder.embedder(config)
    seen = _params("embed", config.embed, leave_out=("weights", "frames"))
    return Stage(
        "embeddings",
        "model",
        schemas.EMBEDDINGS,
        (image.decode_color, clip.ClipFrame.color, Embedder),
        seen | {"embed.weights_hash": spec.weights_hash},
        make=partial(Embedder, spec),
    )


def step_named(stage: str, config: PipelineConfig) -> str:
    """Return the step of a pipeline that a stage belongs to: all that read pixels are one. Raises `UserError`."""
    chosen = config.closed_stages
    if stage == MEASURE:
        return stage
    if stage in chosen:
        return MEASURE if stage in pixel_block.TABLES else stage
    known = ", ".join([MEASURE, *(name for name in chosen if name not in pixel_block.TABLES)])
    raise UserError(f"stage {stage!r} is not part of the job; expected one of {known}, or a stage that reads pixels")


def written_by(stages: Sequence[Stage]) -> list[schemas.Table]:
    """Return the tables that a run of these stages writes to."""
    names = {table.name for table in _OF_EVERY_RUN} | {stage.table.name for stage in stages}
    names |= {schemas.OBJECTS_OF[name].name for name in names & schemas.OBJECTS_OF.keys()}
    if names & {schemas.ANNOTATED.name, schemas.OCR.name}:
        names.add(schemas.CATEGORIES.name)
    if any(stage.kind == "calls" for stage in stages):
        names.add(schemas.ESCALATIONS.name)
    return [table for table in schemas.ALL if table.name in names]


def pixel_params(config: PipelineConfig) -> PixelParams:
    """Return what the pixel pass of a configuration is given."""
    names = tuple(name for name in config.closed_stages if name in pixel_block.TABLES)
    return PixelParams(config.image, config.blur, config.motion, names)


def _params(section: str, values: Any, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(values) if f.name not in leave_out]
    return {f"{section}.{name}": getattr(values, name) for name in names}
