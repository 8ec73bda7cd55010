from __future__ import annotations

from conf import load
from conf.pipeline import dotted_keys
from jobs.web.setting_forms import form, settings_of


def test_every_key_of_the_configuration_is_in_the_form_once() -> None:
    found = form(load().config)
    keys = [setting["key"] for section in found["sections"] for setting in section["settings"]]
    assert len(keys) == len(set(keys))
    without_rules = {key for key in keys if not key.startswith("when.")}
    assert without_rules == set(dotted_keys()) - {"stages", "when"}


def test_a_setting_has_its_type_bounds_unit_choices_and_explanation() -> None:
    settings = {
        setting["key"]: setting for section in form(load().config)["sections"] for setting in section["settings"]
    }
    dark = settings["curation.dark_mean"]
    assert (dark["form"], dark["low"], dark["high"], dark["none"]) == ("number", 0, 255, False)
    assert dark["text"] == "A frame is dark if its mean luma is below."
    below = settings["curation.blurry_below"]
    assert (below["form"], below["value"], below["low"], below["high"], below["none"]) == (
        "number",
        None,
        0,
        None,
        True,
    )
    ignore = settings["curation.ignore"]
    assert (ignore["form"], ignore["value"], ignore["choices"][0]) == ("choices", [], "corrupt")
    assert settings["ingest.fps"]["form"] == "text"
    assert settings["resources.num_cpus"]["form"] == "integer"
    assert settings["resources.commit_seconds"]["unit"] == "s"
    assert settings["image.long_side"]["unit"] == "px"
    assert settings["annotate.prompts"]["form"] == "list"
    assert settings["duplicates.rebuild"]["form"] == "switch"


def test_stages_and_sections_say_what_a_profile_runs() -> None:
    found = form(load("annotate").config)
    stages = {stage["name"]: (stage["chosen"], stage["optional"]) for stage in found["stages"]}
    assert stages["annotate"] == (True, True)
    assert stages["track"] == (False, True)
    sections = {section["name"]: section["stages"] for section in found["sections"]}
    assert sections["image"] == []
    assert sections["track"] == ["track"]
    assert "annotate" in sections["moving"]
    assert {"quality", "annotate"} <= {profile["name"] for profile in found["profiles"]}


def test_values_are_those_of_the_configuration() -> None:
    config = load(settings=("curation.dark_mean=40", "when.annotate=curation.keep")).config
    [dark] = [each for each in settings_of(config, "curation") if each["key"] == "curation.dark_mean"]
    assert (dark["value"], dark["default"]) == (40, 32)
    [rules] = [section for section in form(config)["sections"] if section["name"] == "when"]
    [rule] = [each for each in rules["settings"] if each["key"] == "when.annotate"]
    assert (rule["value"], rule["kind"]) == ("curation.keep", "SQL condition")
