from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conf import OPTIONAL_STAGES, STAGE_NAMES, ConfigError, PipelineConfig, load, profile_names
from conf.loader import parse, to_dict
from conf.pipeline import dotted_keys


def problems(**given: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(**given)  # type: ignore[arg-type]
    return caught.value.problems


def test_the_default_profile_runs_everything_with_default_parameters() -> None:
    loaded = load()
    assert loaded.profile == "quality"
    assert loaded.config == PipelineConfig()
    assert loaded.config.closed_stages == tuple(stage for stage in STAGE_NAMES if stage not in OPTIONAL_STAGES)


@pytest.mark.parametrize("name", profile_names())
def test_every_built_in_profile_is_valid(name: str) -> None:
    assert load(name).profile == name


def test_settings_win_over_files_and_files_over_profiles(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("duplicates: {hamming: 3, scope: stream}\nidle: {keep: 2}\n")
    config = load("quality", str(path), ["duplicates.hamming=9"]).config
    assert (config.duplicates.hamming, config.duplicates.scope, config.idle.keep) == (9, "stream", 2)


def test_a_file_can_name_the_profile_it_builds_on(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("description: mine\nprofile: quality\nidle: {keep: 2}\n")
    assert load(config=str(path)).profile == "quality"


@pytest.mark.parametrize(
    "text",
    [
        "import conf\nfrom transforms.curate import idle\ncfg = conf.PipelineConfig(idle=idle.IdleParams(keep=4))",
        "cfg = {'idle': {'keep': 4}}",
    ],
)
def test_python_configurations(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pipeline.py"
    path.write_text(text)
    assert load(config=f"{path}:cfg").config == replace(PipelineConfig(), idle=replace(PipelineConfig().idle, keep=4))


def test_an_unknown_profile_is_named_with_the_nearest() -> None:
    there_are = f"there are: {', '.join(profile_names())}"
    assert problems(profile="qualty") == [f"unknown profile 'qualty' (did you mean 'quality'?); {there_are}"]


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("duplicates.haming=8", "unknown key 'duplicates.haming' (did you mean 'duplicates.hamming'?)"),
        ("hamming=8", "unknown key 'hamming' (did you mean 'duplicates.hamming'?)"),
        ("zzz.qqq=1", "unknown key 'zzz'"),
        ("blur=3", "blur is a section, expected keys below it, found 3"),
        ("duplicates.hamming", "--set duplicates.hamming: expected KEY=VALUE, as in --set duplicates.hamming=8"),
        ("stages=[qualty]", "stages: unknown stage 'qualty' (did you mean 'quality'?)"),
        ("duplicates.hamming=99", "duplicates.hamming: input should be less than or equal to 16, found 99"),
        ("duplicates.hamming='8'", "duplicates.hamming: input should be a valid integer, found '8'"),
        ("idle.keep=yes", "idle.keep: input should be a valid integer, found True"),
        ("curation.blurry_below=low", "curation.blurry_below: input should be a valid number, found 'low'"),
        ("curation.ignore=[idel]", "curation.ignore.0: input should be 'corrupt'"),
        ("blur.method=sobel", "blur.method: input should be 'acutance', 'laplacian_var' or 'tenengrad', found 'sobel'"),
    ],
)
def test_a_bad_setting_says_what_was_expected(setting: str, hint: str) -> None:
    found = problems(settings=[setting])
    assert len(found) == 1
    assert found[0].startswith(hint)


def test_an_error_about_numbers_and_words_names_no_types() -> None:
    assert problems(settings=["ingest.fps=0"]) == [
        "ingest.fps: input should be greater than 0, found 0",
        "ingest.fps: input should be 'native' or 'keyframes', found 0",
    ]


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
def test_numbers_have_to_be_finite(value: str) -> None:
    with pytest.raises(ConfigError, match=r"curation\.dark_mean: expected a finite number"):
        load(settings=[f"curation.dark_mean={value}"])


def test_all_problems_come_at_once() -> None:
    found = problems(profile="nope", config="/nowhere/x.yaml", settings=["idle.keep=a", "duplicates.haming=8", "blur"])
    assert len(found) == 5


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("idle: {keep: 2", "is not valid YAML"),
        ("idle: {keep: 2}\nidle: {keep: 3}", "idle is there twice"),
        ("idle: {keep: 2, keep: 2}", "keep is there twice"),
        ("- 1\n- 2\n", "holds a list, expected sections with keys"),
        ("idle: {kept: 2}\n", "unknown key 'idle.kept' (did you mean 'idle.keep'?)"),
    ],
)
def test_bad_yaml_files(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    assert hint in problems(config=str(path))[0]


@pytest.mark.parametrize(
    ("suffix", "hint"),
    [
        ("", "name the attribute"),
        (":confg", "has no attribute 'confg' (did you mean 'config'?)"),
        (":number", "is a number, expected a PipelineConfig or a mapping"),
    ],
)
def test_bad_python_configurations(tmp_path: Path, suffix: str, hint: str) -> None:
    path = tmp_path / "pipeline.py"
    path.write_text("config = {}\nnumber = 3\n")
    assert hint in problems(config=f"{path}{suffix}")[0]


def test_a_python_file_that_fails_says_how(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.py"
    path.write_text("import nothing_of_the_kind")
    assert "ModuleNotFoundError" in problems(config=f"{path}:config")[0]


def test_a_recorded_configuration_reads_back() -> None:
    config = load(settings=["duplicates.hamming=9", "curation.ignore=[idle]", "ingest.step=3"]).config
    assert parse(to_dict(config)) == config


def test_stages_bring_what_they_need() -> None:
    assert PipelineConfig(stages=("curation",)).closed_stages == ("frames", "quality", "curation")
    assert PipelineConfig(stages=("idle",)).closed_stages == ("frames", "fingerprints", "motion", "scenes", "idle")
    assert PipelineConfig(stages=()).closed_stages == ("frames",)


def test_every_key_can_be_set_from_its_recorded_value() -> None:
    values = to_dict(PipelineConfig())
    for key in dotted_keys():
        section, _, name = key.rpartition(".")
        value = values[section][name] if section else values[name]
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        assert load(settings=[f"{key}={text}"]).config == PipelineConfig()


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("blur.method=2020-13-45", "tenengrad', found '2020-13-45'"),
        ("curation.dark_mean=2020-12-01", "curation.dark_mean: input should be a valid number, found '2020-12-01'"),
        ("idle.keep=!!timestamp 2020-13-45", "found '!!timestamp 2020-13-45'"),
        (f"idle.keep={'9' * 5000}", "idle.keep: input should be a valid integer, found '9999"),
        (f"idle.keep={'[' * 3000}", "idle.keep: input should be a valid integer, found '[[[["),
    ],
)
def test_a_value_that_the_parser_trips_over_is_named_in_a_line(setting: str, hint: str) -> None:
    (problem,) = problems(settings=[setting])
    assert hint in problem
    assert len(problem) < 300


@pytest.mark.parametrize(
    "text", ["idle: {keep: !!timestamp 2020-13-45}", f"idle: {{keep: {'9' * 5000}}}", f"idle: {'[' * 3000}"]
)
def test_a_file_that_the_parser_trips_over_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    (problem,) = problems(config=str(path))
    assert problem.startswith(f"{path} is not valid YAML: ")


def test_a_mapping_that_holds_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("&a\nidle: *a\n")
    assert problems(config=str(path))


def test_a_date_in_a_file_is_text(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("curation:\n  dark_mean: 2020-13-45\n")
    assert problems(config=str(path)) == ["curation.dark_mean: input should be a valid number, found '2020-13-45'"]


@pytest.mark.parametrize("status", ["0", "3", "'no'", ""])
def test_a_configuration_that_ends_the_program_is_refused(tmp_path: Path, status: str) -> None:
    path = tmp_path / "c.py"
    path.write_text(f"import sys\nsys.exit({status})\n")
    (problem,) = problems(config=f"{path}:config")
    assert f"{path} ends the program" in problem


def test_all_invalid_values_are_reported_at_once(tmp_path: Path) -> None:
    settings = (
        "duplicates.hamming=1e400",
        "unit_frames=99999999999999999999",
        "blur.method=\udcff",
        "stages=[[a]]",
    )
    with pytest.raises(ConfigError) as refused:
        load(config=str(tmp_path), settings=settings)
    problems = refused.value.problems
    assert len(problems) == 5, problems
    assert problems[0].startswith(f"config file {tmp_path} is a folder; expected a YAML file")
    assert "duplicates.hamming: expected a finite number, found inf" in problems
    assert "blur.method: expected text in UTF-8, found '\\udcff'" in problems
    assert any(p.startswith("unit_frames: input should be less than") for p in problems)
    assert any(p.startswith("stages.0: ") for p in problems)


def test_a_run_without_stages_is_refused() -> None:
    with pytest.raises(ConfigError, match="stages: expected at least one, found none; there are: frames, "):
        load(settings=["stages=[]"])


def test_a_name_no_file_can_have_is_no_config() -> None:
    with pytest.raises(ConfigError, match=r"config file a+\.yaml cannot be read: File name too long"):
        load(config=f"{'a' * 300}.yaml")


@pytest.mark.parametrize(("text", "kind"), [("just words", "text"), ("[1]", "a list"), ("3", "a number")])
def test_a_config_file_of_another_type_is_described_in_the_error(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"holds {kind}, expected sections with keys"):
        load(config=str(tmp_path / "c.yaml"))


def test_stages_with_a_plus_are_added_to_those_before(tmp_path: Path) -> None:
    usual = load().config.stages
    assert load(settings=["stages=[+track, +annotate, +track]"]).config.stages == (*usual, "track", "annotate")
    file = tmp_path / "own.yaml"
    file.write_text("profile: annotate\nstages: [+route]\n")
    assert load(config=str(file), settings=["stages=[+track]"]).config.stages == (
        *load("annotate").config.stages,
        "route",
        "track",
    )
    assert load(settings=["stages=[frames]", "stages=[+quality]"]).config.stages == ("frames", "quality")
    with pytest.raises(ConfigError, match=r"expected names alone, or \+ before each one to add them, found both"):
        load(settings=["stages=[+track, annotate]"])
    with pytest.raises(ConfigError, match="unknown stage 'trak'"):
        load(settings=["stages=[+trak]"])


@pytest.mark.parametrize(
    ("settings", "unread"),
    [
        (["annotate.min_score=0.3", "duplicates.hamming=4", "unit_frames=64"], ["annotate.min_score"]),
        (["annotate.min_score=0.3", "stages=[+annotate]"], []),
        (["moving.history=100", "stages=[+annotate]"], []),
        (["moving.history=100", "annotate.detector=onnx", "stages=[+annotate]"], ["moving.history"]),
        (["idle.keep=2", "stages=[frames, quality]"], ["idle.keep"]),
        (["ingest.fps=2", "image.long_side=320", "resources.num_cpus=1"], []),
    ],
)
def test_keys_that_no_chosen_stage_reads_are_known(settings: list[str], unread: list[str]) -> None:
    assert load(settings=settings).unread() == unread
