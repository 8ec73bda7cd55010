"""Checks of values of a configuration against one another, declared by the stages that they concern."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_type_hints

from transforms.models.detect.params import AnnotateParams

if TYPE_CHECKING:
    from conf.pipeline import PipelineConfig


def vectors_of_every_frame(config: PipelineConfig, name: str) -> list[str]:
    """Return what is wrong where duplicates are found by embedding, and not every frame gets one."""
    found = []
    by_vector = config.duplicates.uses == "vector" and name in config.closed_stages
    if config.embed.frames == "kept" and by_vector:
        found.append(
            "embed.frames: duplicates by embedding are found before anything is kept; expected all, found 'kept'"
        )
    if config.when.get("embeddings") and by_vector:
        found.append("when.embeddings: duplicates by embedding need the vector of every frame; expected no rule")
    return found


def other_detectors(config: PipelineConfig, _: str) -> list[str]:
    """Return what is wrong with the detectors that frames are routed by, or to."""
    known = get_args(get_type_hints(AnnotateParams)["detector"])
    found = [
        f"route.{key}: expected one of {', '.join(known)}, found {given!r}"
        for key in ("second_detector", "larger_detector")
        if (given := getattr(config.route, key)) not in {None, *known}
    ]
    if bool(config.route.larger) != bool(config.route.budget_larger):
        found.append("route.larger, route.budget_larger: expected both or neither, weights and a number of frames")
    return found


def safe_calls(config: PipelineConfig, name: str) -> list[str]:
    """Return what is wrong with the settings of calls about brands; they are in the section of the stage's name."""
    return [line.replace("escalate.", f"{name}.") for line in getattr(config, name).unsafe()]


def budget_of_calls(config: PipelineConfig, name: str) -> list[str]:
    """Return what is wrong with the settings of calls of a vision language model."""
    found = [*config.escalate.unsafe()]
    if name in config.stages and not config.route.budget_vlm:
        found.append(f"route.budget_vlm: the stage {name} asks about no frame; expected a number above 0")
    if config.route.budget_vlm and "route" in config.closed_stages and name not in config.stages:
        found.append(f"route.budget_vlm: no stage sends these frames; expected the stage {name} among stages")
    return found
