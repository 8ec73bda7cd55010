from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from conf import load, profile_names, to_dict
from conf.pipeline import dotted_keys
from jobs.cli.program import program
from jobs.core.errors import UserError


def call(*words: str) -> Result:
    return CliRunner().invoke(program(), ["profiles", *words])


def problems(*words: str) -> list[str]:
    error = call(*words).exception
    assert isinstance(error, UserError)
    return error.problems


def test_profiles_are_listed_with_what_they_are_for() -> None:
    listed = json.loads(call("list", "--json").stdout)
    assert [p["name"] for p in listed] == profile_names()
    assert all(p["description"] and p["stages"][0] == "frames" for p in listed)


@pytest.mark.parametrize("name", profile_names())
def test_a_printed_profile_loads_as_the_same_configuration(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(call("show", name).stdout)
    assert load(config=str(file)).config == load(name).config


@pytest.mark.parametrize("name", profile_names())
def test_a_copy_has_every_key_with_what_it_does_and_no_key_that_nothing_reads(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    assert call("copy", name, str(file)).exit_code == 0
    text, copied = file.read_text(), load(config=str(file))
    assert copied.config == load(name).config
    assert copied.unread() == []
    lines = text.splitlines()
    for key in dotted_keys():
        section, _, last = key.rpartition(".")
        read = not section or section in copied.config.read_sections
        start = lines.index(f"{section}:" if read else f"# {section}:") if section else 0
        line = f"{'  ' if section else ''}{last}: "
        at = next(i for i, t in enumerate(lines) if i >= start and t.startswith(line if read else f"# {line}"))
        # What it does, or the end of that, is right above.
        assert lines[at - 1].lstrip("# ").strip(), key
        assert lines[at - 1].strip().startswith("#"), key
    # With one # less before each of its lines, what no stage reads holds as well.
    marker = "# Sections of stages that this profile does not run."
    at = lines.index(marker) if marker in lines else len(lines)
    whole = yaml.safe_load("\n".join([*lines[:at], *(line[2:] for line in lines[at + 1 :])]))
    del whole["description"]
    assert whole == to_dict(copied.config)


def test_a_copy_is_a_configuration_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    assert call("copy", "high-throughput", str(file)).exit_code == 0
    assert load(config=str(file)).config == load("high-throughput").config
    (problem,) = problems("copy", "quality", str(file))
    assert "exists" in problem
    file.write_text("profile: curate\nduplicates: {hamming: 4}\n")
    shown = json.loads(call("show", str(file), "--json").stdout)
    assert (shown["duplicates"]["hamming"], shown["embed"]["frames"]) == (4, "kept")


def test_every_problem_of_every_file_is_named(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("duplicates: {haming: 4, agreement: 2}\nstages: [idel]\n")
    other.write_text("duplicates: {by: embedding}\nembed: {frames: kept}\n")
    found = problems("check", str(one), "quality", str(other), "nosuch")
    assert [p.split(":")[0] for p in found] == [str(one)] * 3 + [str(other), "nosuch"]
    assert "did you mean 'duplicates.hamming'" in found[0]
    assert call("check", "quality", "curate").exit_code == 0


def test_a_checked_configuration_is_printed_as_json(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("stages: [frames, idle]\n")
    (found,) = json.loads(call("check", str(mine), "--json").stdout)
    assert found == {"file": str(mine), "stages": list(load(config=str(mine)).config.closed_stages)}
    mine.write_text("stages: [idel]\n")
    assert problems("check", "quality", str(mine), "--json")[0].startswith(f"{mine}: ")


@pytest.mark.parametrize("name", ["mine.yaml", "folder/mine.yml", "mine.py:config"])
def test_a_file_given_as_profile_is_refused_with_the_option_config(name: str) -> None:
    for command in (["run", "--input", "cam"], ["doctor", "--quick"]):
        error = CliRunner().invoke(program(), [*command, "--profile", name]).exception
        assert isinstance(error, UserError)
        assert error.problems[0].endswith(f"a file is given as --config {name}")


def test_embeddings_of_kept_frames_come_after_curation() -> None:
    assert load("curate").config.closed_stages[-2:] == ("curation", "embeddings")
    early = load("curate", settings=["embed.frames=all"]).config.closed_stages
    assert early.index("embeddings") < early.index("duplicates")


def test_stages_of_kept_frames_need_curation() -> None:
    for settings in (["stages=[embeddings]", "embed.frames=kept"], ["stages=[annotate]", "annotate.frames=kept"]):
        assert "curation" in load(settings=settings).config.closed_stages
    for settings in (["stages=[embeddings]", "embed.frames=all"], ["stages=[annotate]", "annotate.frames=all"]):
        assert "curation" not in load(settings=settings).config.closed_stages
