"""`winnow train`: a detector trained on an export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JsonOption, WorkspaceOption


def train(
    data: Annotated[Path, typer.Option("--data", help="Folder of an export of format yolo, yolo-segment or yolo-obb.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for weights and figures.")],
    base: Annotated[
        str, typer.Option("--model", help="Weights to start from (file or name), or an architecture as YAML.")
    ] = "yolo26n",
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the images.")] = 100,
    size: Annotated[int, typer.Option("--size", min=32, help="Side of the square to fit images into.")] = 640,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images at a time.")] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random numbers.")] = 0,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", help="A setting of Ultralytics. Repeat for several.", metavar="KEY=VALUE"),
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a detector of Ultralytics (AGPL-3.0) on an export, and record in the table models what it was trained on.

    The best weights are in OUT, under its name, for annotate.weights with the detector yolo26.

    Example: winnow train --data yard-yolo --model yolo26n --out yard-first --epochs 50
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import err
    from jobs.cli.show import out as console
    from jobs.storage.workspace import Workspace
    from jobs.training.train import LICENCE, TrainRequest
    from jobs.training.train import train as run

    err.print(f"note: Ultralytics, and what it trains, is under {LICENCE}", soft_wrap=True)
    request = TrainRequest(data, base, out, epochs, size, batch, seed, tuple(_settings(options or ())))
    row = run(Workspace.at(workspace), request)
    if as_json:
        print_json(row)
        return
    console.print(f"{row['path']}, SHA-256 {row['model_id']}, in {row['seconds']:.0f} s", soft_wrap=True)
    console.print(row["metrics"], soft_wrap=True)


def _settings(options: list[str] | tuple[str, ...]) -> list[tuple[str, object]]:
    from jobs.core.errors import UserError
    from transforms.core.plain_yaml import YamlError, read_yaml

    problems: list[str] = []
    found: list[tuple[str, object]] = []
    for text in options:
        key, sign, value = text.partition("=")
        try:
            found.append((key, read_yaml(value)))
        except YamlError as error:
            problems.append(f"--option {text}: {error}")
        if not sign:
            problems.append(f"--option {text}: expected KEY=VALUE")
    if problems:
        raise UserError(problems)
    return found
