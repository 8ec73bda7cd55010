"""Declarations of stages agree with one another, and with the tables and algorithms that they name."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

import schemas
from conf import PipelineConfig
from conf.detectors import DETECTORS
from conf.stage_spec import StageSpec, setting
from conf.stages import SPECS, STAGE_NAMES, STAGES, spec_of
from transforms.models.detect.params import DetectorName

CONFIG = PipelineConfig()
SECTIONS = {f.name for f in dataclasses.fields(PipelineConfig) if dataclasses.is_dataclass(f.default)}


def named(spec: StageSpec) -> str:
    return spec.name


@pytest.mark.parametrize("spec", STAGES, ids=named)
def test_a_stage_comes_after_what_it_reads(spec: StageSpec) -> None:
    above = STAGE_NAMES[: STAGE_NAMES.index(spec.name)]
    others = [*(read.stage for read in spec.reads), *spec.after]
    if spec.model:
        others += [spec.model.like] if spec.model.like else []
    if spec.work:
        others += [counted.stage for counted in spec.work.counted]
        others += [spec.work.groups] if spec.work.groups else []
    assert set(others) <= set(above)


@pytest.mark.parametrize("spec", STAGES, ids=named)
def test_tables_and_code_named_in_stage_declarations_exist(spec: StageSpec) -> None:
    assert {params.section for params in spec.params} <= SECTIONS
    for params in spec.params:
        assert set(params.only) | set(params.without) <= set(vars(getattr(CONFIG, params.section)))
    keys = [spec.model.kept_setting, spec.model.context_setting] if spec.model else []
    keys += [spec.work.scope_setting, spec.work.rebuild_setting] if spec.work else []
    for key in filter(None, keys):
        setting(CONFIG, key)
    assert all(code.__module__.startswith("transforms.") for code in spec.code)
    assert all(table in schemas.ALL for table in spec.tables)


@pytest.mark.parametrize("spec", STAGES, ids=named)
def test_a_stage_has_the_work_of_its_kind(spec: StageSpec) -> None:
    assert (spec.work is not None, spec.model is not None) == (spec.kind == "table", spec.kind == "model")
    assert spec.kind == "table" or spec.table.per_frame
    assert spec.code or (spec.model and spec.model.weights == "detector")


def test_the_pixel_pass_measures_the_stages_that_read_pixels() -> None:
    pixels = [spec for spec in STAGES if spec.kind == "pixels"]
    # The rows of `frames` are the pass's own.
    assert [spec.name for spec in pixels if not spec.measure] == ["frames"]
    assert not [spec.name for spec in STAGES if spec.measure and spec not in pixels]
    for spec in pixels:
        assert [table.written_by for table in spec.tables] == [spec.name]


def test_every_table_of_a_stage_is_declared_by_it() -> None:
    for table in schemas.ALL:
        if table.has_stage_key:
            assert table in SPECS[table.written_by].tables
        spec = spec_of(table)
        assert spec is None or table in spec.tables


def test_every_detector_is_declared() -> None:
    assert set(DETECTORS) == set(get_args(DetectorName))
