"""Declarations of the stages that find brands: those that measure frames, and those that follow from them."""

from __future__ import annotations

import schemas
from conf import stage_checks
from conf.stage_spec import REACH, CallWork, ModelWork, Params, Read, StageSpec, TableWork
from transforms.brands import (
    asking,
    crop_models,
    crops,
    emblems,
    exposure,
    logos,
    match,
    match_logos,
    match_words,
    playing_field,
    regions,
    text_lines,
    vote,
)
from transforms.frames import clip, clip_frame, image

_IMAGE_KEY = Params("image")
_ASKS = (asking.brand_question, asking.enlarged)
_ANSWERS_OF = {"licence": "terms"}
_SEES = (image.decode_color, clip_frame.ClipFrame.color)
_DECODES = (
    *(image.read_header, image.decode_checked, image.shrink),
    *(clip_frame.ClipFrame.digest, clip_frame.ClipFrame.gray, *clip.DAMAGE_RULES),
)

MEASURED = (
    StageSpec(
        "field",
        "pixels",
        schemas.FIELDS,
        code=(*_SEES, playing_field.find_field),
        params=(_IMAGE_KEY, Params("field")),
        optional=True,
        measure=playing_field.FieldMeasure,
    ),
    StageSpec(
        "edges",
        "pixels",
        schemas.EDGES,
        code=(*_DECODES, text_lines.find_lines, emblems.find_emblems, crops.line_rows),
        params=(_IMAGE_KEY, Params("edges")),
        optional=True,
        measure=crops.EdgeMeasure,
    ),
)

FOLLOWED = (
    StageSpec(
        "regions",
        "table",
        schemas.REGIONS,
        code=(regions.compute_regions,),
        params=(Params("regions"),),
        reads=(
            Read("edges"),
            Read("field"),
            Read("frames"),
            Read("scenes"),
            Read("annotate", needed=False, if_there=True),
        ),
        optional=True,
        work=TableWork(regions.compute_regions),
    ),
    StageSpec(
        "rectify",
        "model",
        schemas.RECTIFIED,
        code=(*_SEES, crop_models.Rectifier),
        params=(Params("rectify"),),
        more_tables=(schemas.CROPS,),
        reads=(Read("regions"),),
        optional=True,
        model=ModelWork("none", "rectify", crop_models.make_rectifier, shown="crops"),
    ),
    StageSpec(
        "read",
        "model",
        schemas.READ,
        code=(*_SEES, crop_models.CropReader),
        params=(Params("rectify"), Params("read")),
        more_tables=(schemas.READINGS,),
        reads=(Read("regions"),),
        after=("rectify",),
        optional=True,
        packages=crop_models.PACKAGES,
        extra="ocr",
        model=ModelWork("rapidocr", "read", crop_models.make_crop_reader, shown="lines", like="rectify"),
    ),
    StageSpec(
        "logos",
        "table",
        schemas.LIKENESSES,
        code=(logos.references, logos.likenesses, logos.compute_logos),
        reads=(Read("rectify"),),
        optional=True,
        work=TableWork(logos.compute_logos, lists=(schemas.BRANDS,)),
    ),
    StageSpec(
        "match",
        "table",
        schemas.MENTIONS,
        code=(match_words.mentions_of, match_logos.logo_mentions, match.compute_mentions),
        params=(Params("match"),),
        reads=(Read("read"), Read("logos")),
        optional=True,
        work=TableWork(match.compute_mentions, lists=(schemas.BRANDS,)),
    ),
    StageSpec(
        "ask_local",
        "calls",
        schemas.ASKED_LOCAL,
        code=_ASKS,
        params=(Params("ask_local", without=REACH, also=_ANSWERS_OF),),
        more_tables=(schemas.ESCALATIONS,),
        reads=(Read("match"), Read("rectify")),
        optional=True,
        joins=lambda config, chosen: "match" in chosen and bool(config.ask_local.model),
        calls=CallWork("brands", "ask_local"),
        checks=(stage_checks.safe_calls,),
    ),
    StageSpec(
        "ask_cloud",
        "calls",
        schemas.ASKED_CLOUD,
        code=_ASKS,
        params=(Params("ask_cloud", without=REACH, also=_ANSWERS_OF),),
        more_tables=(schemas.ESCALATIONS,),
        reads=(Read("match"), Read("rectify"), Read("ask_local", needed=False, if_there=True)),
        optional=True,
        joins=lambda config, chosen: "match" in chosen and bool(config.ask_cloud.model),
        calls=CallWork("brands", "ask_cloud"),
        checks=(stage_checks.safe_calls,),
    ),
    StageSpec(
        "vote",
        "table",
        schemas.APPEARANCES,
        code=(vote.appearances, vote.frame_seconds, vote.with_answers),
        params=(Params("vote"),),
        reads=(
            Read("match"),
            Read("regions"),
            Read("frames"),
            Read("ask_local", needed=False, if_there=True),
            Read("ask_cloud", needed=False, if_there=True),
        ),
        optional=True,
        work=TableWork(vote.compute_appearances),
    ),
    StageSpec(
        "exposure",
        "table",
        schemas.EXPOSURE,
        code=(exposure.exposures,),
        params=(Params("exposure"),),
        reads=(Read("vote"),),
        optional=True,
        work=TableWork(exposure.compute_exposure),
    ),
)
