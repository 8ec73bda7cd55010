"""The command that does in a terminal what a job of these options does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jobs.core.errors import UserError
from jobs.dispatch.task_options import (
    ExportOptions,
    FollowOptions,
    LoopJobOptions,
    MapOptions,
    ReleaseOptions,
    SelectOptions,
    TaskOptions,
)
from jobs.evaluation.options import EvaluateOptions
from jobs.training.options import TrainOptions

EXPORT_FOLDER = "dataset"
"""Where such a command writes its dataset; an export that a job makes is a file to download instead."""

CLASS_FILE = "classes.txt"
"""A file with the names of `class_order`, one on each line, which the command line reads instead of a list."""

_EXPORT_SWITCHES = {"everything": "--all"}


def command_of(options: TaskOptions, workspace: str) -> list[str]:
    """Return the words of the command; options that have their defaults are left out. Raises `UserError` for none."""
    defaults = type(options).model_fields
    given = {
        name: value
        for name, value in options.model_dump(mode="json").items()
        if defaults[name].is_required() or getattr(options, name) != defaults[name].default
    }
    if isinstance(options, ReleaseOptions):
        name, streams = str(given.pop("name")), given.pop("streams", None)
        words = ["release", "create", name, *_plain(given)]
        words += ["--streams", ",".join(options.streams)] if streams else []
    elif isinstance(options, SelectOptions):
        words = ["select", *_plain(given)]
    elif isinstance(options, MapOptions):
        words = ["map", *_plain(given)]
    elif isinstance(options, TrainOptions):
        words = ["train", *_of_train(options, given)]
    elif isinstance(options, EvaluateOptions):
        given.pop("by", None)
        words = ["evaluate", "model", str(given.pop("model")), *_plain(given)]
    elif isinstance(options, LoopJobOptions):
        words = ["loop", "resume", options.loop]
    elif isinstance(options, FollowOptions):
        raise UserError("objects are followed from the page of review alone, which has no command")
    else:
        words = ["export", *_of_export(options, given)]
    return ["winnow", *words, "--workspace", workspace]


def _of_train(options: TrainOptions, given: dict[str, object]) -> Iterator[str]:
    split, classes = given.pop("split", None), given.pop("classes", None)
    if given.pop("onnx", None) is False:
        yield "--no-onnx"
    yield from _plain(given)
    if split:
        yield from ("--split", ",".join(f"{name}={share:g}" for name, share in options.split.items()))
    if classes:
        yield from ("--classes", ",".join(options.classes))


def _of_export(options: ExportOptions, given: dict[str, object]) -> Iterator[str]:
    split, classes, renamed, order = (given.pop(n, None) for n in ("split", "classes", "renamed", "class_order"))
    yield from _plain({"format": given.pop("format"), **given})
    if split:
        yield from ("--split", ",".join(f"{name}={share:g}" for name, share in options.split.items()))
    if classes:
        yield from ("--classes", ",".join(options.classes))
    for old, new in options.renamed.items() if renamed else ():
        yield from ("--map", f"{old}={new}")
    if order:
        yield from ("--class-file", CLASS_FILE)
    yield from ("--out", EXPORT_FOLDER)


def _plain(given: Mapping[str, object]) -> Iterator[str]:
    """Yield options that are named as their fields are."""
    for name, value in given.items():
        option = _EXPORT_SWITCHES.get(name, f"--{name.replace('_', '-')}")
        if value is True:
            yield option
        elif isinstance(value, list):
            for each in value:
                yield from (option, str(each))
        elif value is not None and value is not False:
            yield from (option, str(value))
