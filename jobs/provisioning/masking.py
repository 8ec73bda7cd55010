"""The stage that cuts objects out, checked before any work."""

from __future__ import annotations

from functools import partial

import schemas
from conf import PipelineConfig
from jobs.provisioning.extras import require
from jobs.provisioning.pretrained import in_folder
from jobs.stage import Stage
from transforms import clip, image, segment


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
