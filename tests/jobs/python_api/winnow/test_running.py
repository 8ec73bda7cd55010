"""Configurations and requests as Python programs give them."""

from __future__ import annotations

from pathlib import Path

import pytest

import winnow
from conf import load
from winnow.running import Settings


@pytest.mark.parametrize(
    "settings",
    [
        ["duplicates.hamming=4", "stages=[frames, quality, curation]", "when.embeddings=keep"],
        {"duplicates.hamming": 4, "stages": ("frames", "quality", "curation"), "when.embeddings": "keep"},
        {"duplicates": {"hamming": 4}, "stages": ["frames", "quality", "curation"], "when": {"embeddings": "keep"}},
    ],
    ids=["texts", "dotted", "nested"],
)
def test_settings_are_texts_or_a_mapping(settings: Settings) -> None:
    by_hand = load(settings=["duplicates.hamming=4", "stages=[frames, quality, curation]", "when.embeddings=keep"])
    assert winnow.load(settings=settings) == by_hand


def test_text_that_yaml_would_take_for_something_else_stays_text() -> None:
    with pytest.raises(winnow.ConfigError, match="valid integer, found '8'"):
        winnow.load(settings={"duplicates.hamming": "8"})


def test_a_configuration_file_is_a_path_or_a_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("profile: annotate\ncuration:\n  dark_mean: 21\n")
    loaded = winnow.load(config=path)
    assert (loaded.profile, loaded.config.curation.dark_mean) == ("annotate", 21)
    assert winnow.load(config=str(path)) == loaded


def test_wrong_settings_are_named_together() -> None:
    with pytest.raises(winnow.ConfigError) as caught:
        winnow.load(settings={"curation.dark_mean": object(), "duplicates": {"hamming": {1, 2}}})
    assert caught.value.problems == [
        "curation.dark_mean: expected numbers, text and lists, found object",
        "duplicates.hamming: expected numbers, text and lists, found set",
    ]
    with pytest.raises(winnow.ConfigError, match="expected a mapping, or a list of key=value texts"):
        winnow.load(settings="duplicates.hamming=4")


def test_a_run_says_all_that_is_wrong_with_it_before_it_does_anything(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    with pytest.raises(winnow.UserError) as caught:
        winnow.run(tmp_path / "nowhere", taken, config="no.yaml", settings={"duplicates.hamming": object()})
    said = caught.value.problems
    assert len(said) == 4
    for part in ("duplicates.hamming: expected", "no.yaml does not exist", f"{taken} is a file", "nowhere"):
        assert any(part in problem for problem in said), part


def test_a_loaded_configuration_has_its_profile_and_takes_settings(tmp_path: Path) -> None:
    with pytest.raises(winnow.UserError) as caught:
        winnow.run(tmp_path, tmp_path / "w", config=winnow.load("annotate"), profile="quality", settings=["haming=4"])
    assert caught.value.problems[0].startswith("unknown key 'haming'")
    assert caught.value.problems[1].startswith("profile 'quality': expected none")


def test_wrong_options_are_reported_by_the_name_of_the_option(tmp_path: Path) -> None:
    with pytest.raises(winnow.UserError, match="limit: input should be greater than or equal to 0, found -1"):
        winnow.run(tmp_path / "nowhere", tmp_path / "tables", limit=-1)
