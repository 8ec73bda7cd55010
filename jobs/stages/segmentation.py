"""The stages that cut objects out, and carry them from frame to frame, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import schemas
from conf import PipelineConfig
from jobs.core.optional_packages import require
from jobs.core.stage import Stage
from jobs.models.transformers import in_folder
from transforms.frames import clip, image
from transforms.models import propagate, segment


def segment_stage(config: PipelineConfig, annotate: Stage) -> Stage:
    """Return the stage that makes masks of what `annotate` finds. Raises `UserError` with what is wrong."""
    params = config.segment
    require("annotate", *segment.PACKAGES)
    found = in_folder("segment.weights", params.weights, params.weights, segment.KINDS)
    weights = found.weights
    batch = config.resources.model_batch
    spec = segment.SegmenterSpec(found.kind, weights.path, weights.name, weights.sha256, params, batch)
    decisive = {
        "segment.segmenter": params.segmenter,
        "segment.precision": params.precision,
        "segment.weights_hash": weights.sha256,
        "segment.licence": found.licence,
    }
    code = (image.decode_color, clip.ClipFrame.color, segment.Segmenter)
    make = partial(segment.Segmenter, spec)
    return Stage("segment", "model", schemas.SEGMENTED, code, decisive, upstream=(annotate,), make=make)


def propagate_stage(config: PipelineConfig, stages: Mapping[str, Stage]) -> Stage:
    """Return the stage that carries what `annotate`, among these stages, finds to the frames after it.

    Raises `UserError` with what is wrong.
    """
    params = config.propagate
    require("annotate", *propagate.PACKAGES)
    found = in_folder("propagate.weights", params.weights, params.weights, propagate.KINDS)
    weights = found.weights
    spec = propagate.PropagatorSpec(found.kind, weights.path, weights.name, weights.sha256, params)
    rule = stages["annotate"].rule
    decisive = {
        "propagate.propagator": params.propagator,
        "propagate.precision": params.precision,
        "propagate.reach": params.reach,
        "propagate.min_presence": params.min_presence,
        "propagate.weights_hash": weights.sha256,
        "propagate.licence": found.licence,
        # Which frames were annotated decides where each is carried from.
        "propagate.origins": rule and rule.sql,
    }
    asked = sorted(rule.stages) if rule else []
    above = tuple(stages[name] for name in ("annotate", "scenes", *asked))
    code = (image.decode_color, clip.ClipFrame.color, propagate.Propagator)
    stage = Stage("propagate", "model", schemas.PROPAGATED, code, decisive, above, context=params.reach)
    own = replace(stage, rule=config.rule("propagate"))
    return replace(own, make=partial(propagate.Propagator, spec, stage.key))
