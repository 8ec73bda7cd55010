from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from jobs.cli.program import program
from jobs.dispatch.task_commands import CLASS_FILE, command_of
from jobs.dispatch.task_options import ExportOptions, LoopJobOptions, ReleaseOptions, SelectOptions, TaskOptions
from jobs.evaluation.options import EvaluateOptions
from jobs.training.options import TrainOptions


def parsed(words: list[str]) -> dict[str, Any]:
    """Return the parameters that the command line makes of the words of a command."""
    command: Any = get_command(program(words[1]))
    at = 1
    with command.make_context("winnow", list(words[1:]), resilient_parsing=False) as context:
        while hasattr(command, "commands"):
            command = command.commands[words[at]]
            at += 1
        return dict(command.make_context(words[at - 1], list(words[at:]), parent=context).params)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (SelectOptions(n=50), {"n": 50, "strategy": "diverse", "name": "selection", "workspace": "here"}),
        (
            SelectOptions(
                name="some", fraction=0.25, balance=("stream", "hour"), after=("a", "b"), by="layout", seed=7
            ),
            {"name": "some", "fraction": 0.25, "balance": ["stream", "hour"], "after": ["a", "b"], "seed": 7},
        ),
        (ReleaseOptions(name="v1", note="by night"), {"name": "v1", "note": "by night", "run": None}),
        (ReleaseOptions(name="v1", streams=("cam1", "cam 2")), {"name": "v1", "streams": "cam1,cam 2"}),
        (LoopJobOptions(loop="yard"), {"name": "yard", "submit": False, "workspace": "here"}),
        (ExportOptions(format="coco"), {"format_": "coco", "out": "dataset", "split": None, "everything": False}),
        (
            ExportOptions(
                format="yolo-obb",
                release="v1",
                everything=True,
                split={"train": 0.75, "val": 0.25},
                split_by="time",
                block="90s",
                guard="5s",
                near_duplicates=True,
                max_leak=0.05,
                strict=True,
                only_reviewed=True,
                media="copy",
                min_score=0.5,
                where="stream_id = 'a b'",
                classes=("car", "bus"),
                renamed={"truck": "car", "van": "car"},
                class_order=("bus", "car"),
            ),
            {
                "release": "v1",
                "everything": True,
                "split": "train=0.75,val=0.25",
                "split_by": "time",
                "block": "90s",
                "guard": "5s",
                "near_duplicates": True,
                "max_leak": 0.05,
                "strict": True,
                "only_reviewed": True,
                "media": "copy",
                "min_score": 0.5,
                "where": "stream_id = 'a b'",
                "classes": "car,bus",
                "renamed": ["truck=car", "van=car"],
                "class_file": CLASS_FILE,
            },
        ),
        (
            TrainOptions(
                release="v1",
                model="torchvision:fasterrcnn-tiny",
                name="yard",
                epochs=7,
                only_reviewed=True,
                split={"train": 0.75, "val": 0.25},
                split_by="group",
                split_seed=3,
                classes=("car", "bus"),
                onnx=False,
            ),
            {
                "release": "v1",
                "onnx": False,
                "model": "torchvision:fasterrcnn-tiny",
                "name": "yard",
                "epochs": 7,
                "only_reviewed": True,
                "split": "train=0.75,val=0.25",
                "split_by": "group",
                "split_seed": 3,
                "classes": "car,bus",
            },
        ),
        (
            EvaluateOptions(model="yard@3", on="release:v1/test", against="@champion", by="ann", fresh=True),
            {"version": "yard@3", "on": "release:v1/test", "against": "@champion", "fresh": True},
        ),
    ],
)
def test_a_command_says_to_the_command_line_what_the_options_say(
    options: TaskOptions, expected: dict[str, Any]
) -> None:
    found = parsed(command_of(options, "here"))
    assert {name: found[name] for name in expected} == expected
