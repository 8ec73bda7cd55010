"""Declarations of all stages, in the order in which they run: what each reads and writes, and when it runs.

Embeddings of kept frames come after curation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import schemas
from conf import brand_stages, stage_checks
from conf.stage_spec import (
    REACH,
    Alternative,
    CallWork,
    Comparison,
    Counted,
    Finds,
    ModelWork,
    Params,
    Read,
    StageSpec,
    TableWork,
)
from transforms.assess import escalation, uncertainty
from transforms.core import identity, intervals
from transforms.curate import curation, curation_input, idle, scenes
from transforms.curate.duplicates import grouping, incremental_groups
from transforms.frames import clip, clip_frame, image
from transforms.metrics import frame_measures, hashing, imagehashes, motion, quality, sketch
from transforms.models import (
    caption,
    embeddings,
    ocr,
    propagate,
    propagate_package,
    sam2_package,
    segment,
    segment_package,
    track,
)
from transforms.models.model_input import ModelInput

_CLIPS = (clip_frame.ClipFrame.digest, clip_frame.ClipFrame.gray, *clip.DAMAGE_RULES)
_DECODES = (image.read_header, image.decode_checked, image.shrink, *_CLIPS)
_SEES = (image.decode_color, clip_frame.ClipFrame.color)
_IMAGE_KEY = Params("image")
_INTERVALS = ("stream_id", "start_idx", "end_idx")
"""An interval is identified by its ends; its number in its stream follows from the other intervals."""

_OBJECTS = (schemas.ANNOTATIONS, schemas.CATEGORIES)


def _sam2_package(
    setting: str, model: Callable[..., Any], make: Callable[[ModelInput], Callable[[int], Any]]
) -> Alternative:
    """Return the choice of the package of the makers of SAM 2, in place of transformers."""
    code, packages = (*_SEES, model), sam2_package.PACKAGES
    return Alternative(setting, "sam2-package", code, packages, "sam2", "sam2_package", make, replaces_code=True)


STAGES = (
    StageSpec(
        "frames",
        "pixels",
        schemas.FRAMES,
        code=_DECODES,
        params=(_IMAGE_KEY,),
        joins=lambda config, chosen: True,
    ),
    StageSpec(
        "quality",
        "pixels",
        schemas.QUALITY,
        code=(*_DECODES, image.to_small, quality.measure_picture, quality.tone_histogram, quality.tone_statistics),
        params=(_IMAGE_KEY, Params("blur")),
        measure=frame_measures.QualityMeasure,
    ),
    StageSpec(
        "fingerprints",
        "pixels",
        schemas.FINGERPRINTS,
        code=(*_DECODES, image.to_small, hashing.phash, image.to_tiles, hashing.layouts),
        params=(
            _IMAGE_KEY,
            Params("fingerprints", without=("also",), also={"also": "chosen"}, unless_default=True),
        ),
        choices=(
            Alternative(
                "fingerprints.also",
                code=(*_SEES, imagehashes.imagehashes),
                packages=imagehashes.PACKAGES,
                extra="imagehash",
            ),
        ),
        measure=frame_measures.FingerprintMeasure,
    ),
    StageSpec(
        "motion",
        "pixels",
        schemas.MOTION,
        code=(
            *(*_DECODES, image.to_small, image.to_tiles, motion.motion_scores),
            *(motion.keeps_tiles, motion.still_tiles, sketch.sketch, identity.pair_ids),
        ),
        params=(_IMAGE_KEY, Params("motion")),
        of_pairs=True,
        measure=frame_measures.MotionMeasure,
    ),
    *brand_stages.MEASURED,
    StageSpec(
        "media",
        "pixels",
        schemas.MEDIA,
        code=(clip_frame.ClipFrame.color, image.encode_jpeg),
        params=(_IMAGE_KEY,),
        optional=True,
        joins=lambda config, chosen: config.ingest.materialize != "none",
        measure=frame_measures.MediaMeasure,
    ),
    StageSpec(
        "embeddings",
        "model",
        schemas.EMBEDDINGS,
        code=(*_SEES, embeddings.Embedder),
        params=(Params("embed", without=("weights", "frames")),),
        optional=True,
        model=ModelWork("open_clip", "embed", embeddings.make_embedder, kept_setting="embed.frames", credit=8),
    ),
    StageSpec(
        "scenes",
        "table",
        schemas.SCENES,
        code=(scenes.find_scenes,),
        params=(Params("scenes"),),
        reads=(Read("fingerprints"), Read("frames")),
        work=TableWork(scenes.compute_scenes),
        comparison=Comparison(_INTERVALS, frozenset({"n_frames", "scene_idx"})),
    ),
    StageSpec(
        "idle",
        "table",
        schemas.IDLE,
        code=(idle.find_idle, motion.drift, sketch.repeats),
        params=(Params("idle", without=("keep",)),),
        reads=(Read("motion"), Read("fingerprints"), Read("scenes")),
        work=TableWork(idle.compute_idle),
        comparison=Comparison(_INTERVALS, frozenset({"n_frames"})),
    ),
    StageSpec(
        "duplicates",
        "table",
        schemas.DUPLICATES,
        code=(grouping.group_frames,),
        params=(Params("duplicates", without=("rebuild", "join", "shuffle_above")),),
        reads=(
            Read("fingerprints"),
            Read("embeddings", needed=lambda config: config.duplicates.uses == "vector"),
        ),
        checks=(stage_checks.vectors_of_every_frame,),
        work=TableWork(
            incremental_groups.compute_duplicates,
            scope_setting="duplicates.scope",
            rebuild_setting="duplicates.rebuild",
            incremental=True,
            counted=(Counted("fingerprints", "phash"), Counted("embeddings")),
            on_cluster=True,
        ),
        comparison=Comparison(groups=True),
    ),
    StageSpec(
        "curation",
        "table",
        schemas.CURATION,
        code=(curation.curate, intervals.place_in_intervals, curation.CurationParams.blur_limits),
        params=(Params("curation"), Params("blur", only=("method",)), Params("idle", only=("keep",))),
        reads=(
            Read("frames"),
            Read("quality"),
            Read("idle", needed=False, if_there=True),
            Read("duplicates", needed=False, if_there=True),
        ),
        work=TableWork(curation_input.compute_curation, groups="duplicates"),
        comparison=Comparison(verdicts=True),
    ),
    StageSpec(
        "annotate",
        "model",
        schemas.ANNOTATED,
        more_tables=_OBJECTS,
        optional=True,
        model=ModelWork(
            "detector",
            "annotate",
            kept_setting="annotate.frames",
            finds=Finds(param="annotate.names"),
            is_final=True,
            credit=1,
        ),
    ),
    StageSpec(
        "segment",
        "model",
        schemas.SEGMENTED,
        code=(*_SEES, segment.Segmenter),
        params=(Params("segment", only=("segmenter", "precision")),),
        more_tables=(schemas.MASKS,),
        reads=(Read("annotate"),),
        optional=True,
        packages=segment.PACKAGES,
        choices=(
            _sam2_package(
                "segment.segmenter", segment_package.PackageSegmenter, segment_package.make_package_segmenter
            ),
        ),
        model=ModelWork(
            "folder",
            "segment",
            segment.make_segmenter,
            segment.KINDS,
            shown="objects",
            like="annotate",
            is_final=True,
            credit=4,
        ),
    ),
    StageSpec(
        "propagate",
        "model",
        schemas.PROPAGATED,
        code=(*_SEES, propagate.Propagator),
        params=(Params("propagate", only=("propagator", "precision", "reach", "min_presence")),),
        more_tables=(schemas.PROPAGATIONS,),
        # Which frames were annotated decides where each object is carried from.
        reads=(Read("annotate", rule_param="propagate.origins"), Read("scenes")),
        optional=True,
        packages=propagate.PACKAGES,
        choices=(
            _sam2_package(
                "propagate.propagator",
                propagate_package.PackagePropagator,
                propagate_package.make_package_propagator,
            ),
        ),
        model=ModelWork(
            "folder",
            "propagate",
            propagate.make_propagator,
            propagate.KINDS,
            shown="stretches",
            context_setting="propagate.reach",
            is_final=True,
            credit=5,
        ),
    ),
    StageSpec(
        "track",
        "table",
        schemas.TRACKS,
        code=(track.follow,),
        params=(Params("track"),),
        reads=(Read("annotate"), Read("scenes")),
        optional=True,
        packages=track.PACKAGES,
        work=TableWork(track.compute_tracks),
    ),
    StageSpec(
        "ocr",
        "model",
        schemas.OCR,
        code=(*_SEES, ocr.TextReader),
        params=(Params("ocr", without=("frames",)),),
        more_tables=(schemas.TEXTS, schemas.CATEGORIES),
        optional=True,
        packages=ocr.PACKAGES,
        extra="ocr",
        model=ModelWork(
            "rapidocr",
            "ocr",
            ocr.make_reader,
            kept_setting="ocr.frames",
            finds=Finds(ocr.TextReader.names),
            is_final=True,
            credit=6,
        ),
    ),
    StageSpec(
        "caption",
        "model",
        schemas.CAPTIONS,
        code=(*_SEES, caption.Captioner),
        params=(Params("caption", without=("weights", "frames")),),
        optional=True,
        model=ModelWork(
            "folder",
            "caption",
            caption.make_captioner,
            caption.KINDS,
            kept_setting="caption.frames",
            name_column="caption_model",
            credit=7,
        ),
    ),
    # What a second detector finds is only compared with what the first one does.
    StageSpec(
        "second",
        "model",
        schemas.ANNOTATED,
        more_tables=_OBJECTS,
        after=("annotate",),
        optional=True,
        model=ModelWork(
            "detector", "annotate", other=("route.second", "route.second_detector"), like="annotate", credit=3
        ),
    ),
    StageSpec(
        "route",
        "table",
        schemas.ROUTING,
        code=(uncertainty.doubts_of, uncertainty.routed),
        params=(
            Params("route", without=("second", "second_detector", "larger", "larger_detector")),
            Params("annotate", only=("min_score",)),
        ),
        reads=(
            Read("annotate"),
            Read("second", needed=lambda config: bool(config.route.second), if_there=True),
            Read("track", needed=False, if_there=True),
            Read("curation", needed=False, if_there=True),
            Read("duplicates", needed=False, if_there=True),
            Read("frames"),
        ),
        optional=True,
        checks=(stage_checks.other_detectors,),
        work=TableWork(uncertainty.compute_routing, scope="run", reads_reviews=True),
    ),
    StageSpec(
        "larger",
        "model",
        schemas.ANNOTATED,
        more_tables=_OBJECTS,
        after=("route",),
        optional=True,
        joins=lambda config, chosen: "route" in chosen and bool(config.route.larger),
        model=ModelWork(
            "detector",
            "annotate",
            other=("route.larger", "route.larger_detector"),
            route="larger",
            finds=Finds(param="annotate.names"),
            is_final=True,
            credit=2,
        ),
    ),
    StageSpec(
        "escalate",
        "calls",
        schemas.ESCALATED,
        code=(escalation.question, escalation.read_answer, escalation.as_jpeg),
        params=(Params("escalate", without=REACH, also={"licence": "terms"}),),
        more_tables=(schemas.ESCALATIONS,),
        reads=(Read("route"), Read("frames")),
        optional=True,
        calls=CallWork("vlm", "escalate"),
        checks=(stage_checks.budget_of_calls,),
    ),
    *brand_stages.FOLLOWED,
    # A stage of your own goes here, or before the stages that read it.
)
"""Every stage, in the order in which they run."""

SPECS: Mapping[str, StageSpec] = {spec.name: spec for spec in STAGES}
STAGE_NAMES = tuple(SPECS)
MODEL_STAGES = frozenset(spec.name for spec in STAGES if spec.kind == "model")
"""The stages that show frames to a model."""

OPTIONAL_STAGES = frozenset(spec.name for spec in STAGES if spec.optional)
"""The stages that run only where they are requested."""


def spec_of(table: schemas.Table) -> StageSpec | None:
    """Return the first stage that writes a table, None for tables that are no stage's."""
    return next((spec for spec in STAGES if table in spec.tables), None)
