from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf import load
from jobs.core.stage import UnstableParameterError, canonical
from jobs.stages.build import build


def keys(*settings: str) -> dict[str, str]:
    return {stage.name: stage.key for stage in build(load(settings=settings).config)}


def changed(*settings: str) -> set[str]:
    before, after = keys(), keys(*settings)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("setting", "stages"),
    [
        ("curation.dark_mean=20", {"curation"}),
        ("idle.keep=3", {"curation"}),
        ("idle.threshold=0.02", {"idle", "curation"}),
        ("scenes.cut=0.6", {"scenes", "idle", "curation"}),
        ("blur.method=tenengrad", {"quality", "curation"}),
        ("duplicates.hamming=4", {"duplicates", "curation"}),
        ("motion.percentile=99", {"motion", "idle", "curation"}),
        (
            "image.long_side=320",
            {"frames", "quality", "fingerprints", "motion", "scenes", "idle", "duplicates", "curation"},
        ),
        # What changes no result changes no key.
        ("duplicates.rebuild=true", set()),
        ("unit_frames=17", set()),
        ("resources.num_cpus=1", set()),
        ("resources.block_frames=64", set()),
        ("ingest.strict_sequence=false", set()),
        # Numbers that are equal are the same parameter, however they are written.
        ("curation.dark_mean=32", set()),
    ],
)
def test_a_parameter_changes_the_keys_of_its_stage_and_those_below(setting: str, stages: set[str]) -> None:
    assert changed(setting) == stages


def test_a_stage_left_out_changes_the_key_of_what_read_it() -> None:
    some = keys("stages=[curation, duplicates]")
    every = keys()
    assert some["duplicates"] == every["duplicates"]
    assert some["curation"] != every["curation"]


@pytest.mark.process
def test_keys_are_the_same_in_another_process() -> None:
    code = "from conf import load; from jobs.stages.build import build\n"
    code += "print({s.name: s.key for s in build(load().config)})"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "5"}
    )
    assert run.stdout.strip() == str(keys())


@dataclass(frozen=True)
class Point:
    x: int
    y: float


def test_canonical_forms_have_known_values() -> None:
    value = {"b": (1, 2.0), "a": frozenset({"y", "x"}), "p": Point(1, 0.5), "n": None, "t": True}
    assert canonical(value) == {"a": ["x", "y"], "b": [1, 2], "n": None, "p": {"x": 1, "y": 0.5}, "t": True}


@pytest.mark.parametrize("value", [object(), float("nan"), lambda: 0, b"bytes"])
def test_values_without_a_canonical_form_are_refused(value: object) -> None:
    with pytest.raises(UnstableParameterError, match=r"image\.size"):
        canonical({"size": value}, "image")


@given(st.dictionaries(st.text(max_size=4), st.integers(), max_size=6))
def test_canonical_form_does_not_depend_on_order(values: dict[str, int]) -> None:
    backwards = dict(reversed(list(values.items())))
    assert list(canonical(values).items()) == list(canonical(backwards).items())
