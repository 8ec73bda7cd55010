"""`winnow train`: a detector trained on a release, or one of Ultralytics on an export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.options import DryRunOption, JsonOption, WorkspaceOption
from jobs.core.choices import SplitBy
from jobs.training.option_texts import TEXTS
from transforms.training.preset import Preset

if TYPE_CHECKING:
    from jobs.storage.workspace import Workspace
    from jobs.training.options import TrainOptions


def train(
    release: Annotated[str | None, typer.Option("--release", help=TEXTS["release"])] = None,
    name: Annotated[str | None, typer.Option("--name", help=TEXTS["name"])] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="In place of --release: folder of an export of format yolo, for Ultralytics."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --data: new folder for weights and figures.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help=f"{TEXTS['model'][:-1]}; with --data: weights of Ultralytics, or an architecture as YAML.",
            show_default="torchvision:fasterrcnn-tiny; with --data yolo26n",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help=TEXTS["epochs"], show_default="50; with --data 100")
    ] = None,
    size: Annotated[int, typer.Option("--size", min=32, help=TEXTS["size"])] = 640,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help=TEXTS["batch"], show_default="8; with --data 16")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help=TEXTS["seed"])] = 0,
    augment: Annotated[Preset, typer.Option("--augment", help=TEXTS["augment"])] = "standard",
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", min=0, help=TEXTS["learning_rate"], show_default="what suits the model"),
    ] = None,
    patience: Annotated[int | None, typer.Option("--patience", min=1, help=TEXTS["patience"])] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0, help=TEXTS["minutes"])] = None,
    classes: Annotated[str | None, typer.Option("--classes", help=TEXTS["classes"], metavar="car,truck")] = None,
    where: Annotated[str | None, typer.Option("--where", help=TEXTS["where"])] = None,
    only_reviewed: Annotated[bool, typer.Option("--only-reviewed", help=TEXTS["only_reviewed"])] = False,
    pseudo: Annotated[
        float | None,
        typer.Option(
            "--pseudo",
            min=0,
            max=1,
            help=TEXTS["pseudo"],
            metavar="SCORE",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help=TEXTS["split"], metavar="NAME=SHARE,…")
    ] = "train=0.8,val=0.1,test=0.1",
    split_by: Annotated[SplitBy, typer.Option("--split-by", help=TEXTS["split_by"])] = "auto",
    split_seed: Annotated[int, typer.Option("--split-seed", min=0, help=TEXTS["split_seed"])] = 0,
    allow_leaks: Annotated[bool, typer.Option("--allow-leaks", help=TEXTS["allow_leaks"])] = False,
    onnx: Annotated[bool, typer.Option("--onnx/--no-onnx", help=TEXTS["onnx"])] = True,
    note: Annotated[str | None, typer.Option("--note", help=TEXTS["note"])] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help=TEXTS["threads"])] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", help="With --data: a setting of Ultralytics. May be repeated.", metavar="KEY=VALUE"),
    ] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Leave it to a gateway, and print the job's id.")] = False,
    resume: Annotated[
        str | None, typer.Option("--resume", help="Continue this training, in this process.", metavar="ID")
    ] = None,
    dry_run: DryRunOption = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a detector on a release, and register it as a version of a model.

    It is a job: `winnow job watch`, pause and resume work on it, and one that was killed continues where it was. The
    weights of the best epoch are kept, for annotate.weights=models:NAME@VERSION. --dry-run says what there is to learn
    from, and what speaks against it. With --data, Ultralytics (AGPL-3.0) trains on an export in its own way.

    Example: winnow train --release v1 --model torchvision:fasterrcnn-tiny --name yard
    """
    from jobs.core.errors import UserError
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace)
    if data is not None:
        if out is None or release is not None:
            raise UserError("--data: expected --out next to it, and no --release")
        _of_ultralytics(place, data, out, model, epochs, size, batch, seed, options, as_json)
        return
    if resume is not None:
        _run(place, _resumed(place, resume), as_json)
        return
    if release is None or name is None:
        raise UserError("expected --release and --name; `winnow release create` makes a release of what there is now")
    from jobs.datasets.split_fractions import fractions_of
    from jobs.dispatch import tasks
    from jobs.dispatch.task_options import parse
    from jobs.training.options import TrainOptions

    given: dict[str, Any] = {
        "release": release,
        "name": name,
        "model": model or "torchvision:fasterrcnn-tiny",
        "epochs": epochs,
        "size": size,
        "batch": batch,
        "seed": seed,
        "augment": augment,
        "learning_rate": learning_rate,
        "patience": patience,
        "minutes": minutes,
        "threads": threads,
        "classes": tuple(part for part in (classes or "").split(",") if part),
        "where": where,
        "only_reviewed": only_reviewed,
        "pseudo": pseudo,
        "split": fractions_of(split),
        "split_by": split_by,
        "split_seed": split_seed,
        "allow_leaks": allow_leaks,
        "onnx": onnx,
        "note": note,
    }
    chosen = parse("train", {key: value for key, value in given.items() if value is not None})
    assert isinstance(chosen, TrainOptions)
    if dry_run:
        _preflight(place, chosen, as_json)
        return
    job_id = tasks.submit(place, chosen)
    if submit:
        from jobs.cli.json_output import print_job_id

        print_job_id(job_id, as_json)
        return
    _run(place, job_id, as_json)


def _run(place: Workspace, job_id: str, as_json: bool) -> None:
    """Run a training in this process; an interrupt pauses it after the step."""
    from jobs.cli.json_output import print_json
    from jobs.cli.run_task import run_task
    from jobs.cli.show import out as console

    result = run_task(place, job_id, as_json, f"training {job_id}", f"winnow train --resume {job_id}")
    if as_json:
        print_json({"job_id": job_id, "state": "done", **result})
        return
    figures = ", ".join(f"{key} {result[key]:.3f}" for key in ("AP", "AP50") if key in result)
    console.print(
        f"{result['model']}: {figures} on val after epoch {result['best_epoch']} of {result['epochs']}", soft_wrap=True
    )
    console.print(f"weights {result['folder']}, under {result['licence']}", soft_wrap=True)
    if "onnx" in result:
        text = result["onnx"] or f"none: {result['onnx_reason']}"
        console.print(f"ONNX {text}", soft_wrap=True, markup=False)
    on = f"release:{result['release']}/test"
    console.print(f"next: winnow evaluate model {result['model']} --on {on} --workspace {place.root}", soft_wrap=True)


def _resumed(place: Workspace, named: str) -> str:
    """Put a training back into the queue and return its id."""
    from jobs.core.errors import UserError
    from jobs.dispatch import job_control
    from jobs.dispatch.job_queue import JobQueue

    job = job_control.find(place, named)
    kind = next(queued.kind for queued in JobQueue(place.root).jobs() if queued.job_id == job.job_id)
    if kind != "train":
        raise UserError(f"--resume {named}: it is a job of the kind {kind}; use `winnow job resume {job.job_id}`")
    if job.state().state in {"paused", "failed"}:
        job_control.resume(place, job.job_id)
    return job.job_id


def _preflight(place: Workspace, options: TrainOptions, as_json: bool) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.cli.show import print_table
    from jobs.storage.spare_files import temporary_folder
    from jobs.training.estimate import estimate
    from jobs.training.networks import base_of
    from jobs.training.preflight import preflight
    from jobs.training.training_data import tried

    options.check()
    base = base_of(options.model)
    with temporary_folder() as folder:
        data = tried(place, options, folder)
    found = preflight(data, options, base.kind)
    expected = estimate(base, data, options) if all(data.images.values()) and data.classes else None
    if as_json:
        print_json({"dry_run": True, **found, "estimate": vars(expected) if expected else None})
        return
    rows = [
        (
            name,
            each["train"]["objects"],
            each["train"]["frames"],
            each["val"]["objects"],
            " / ".join(f"{side:g}" for side in each["short_side_px"] or ()),
            "" if each["interval"] is None else f"+- {each['interval']:.0%}",
        )
        for name, each in found["classes"].items()
    ]
    print_table(("category", "train", "in frames", "val", "short side px", "recall known to"), rows)
    images = found["images"]
    console.print(f"images: {', '.join(f'{split} {n:,}' for split, n in images.items())}", soft_wrap=True)
    for line in found["warnings"]:
        console.print(f"! {line}", soft_wrap=True, markup=False)
    for each in found["recommended"]:
        console.print(f"> --{each['option']} {each['value']}: {each['reason']}", soft_wrap=True, markup=False)
    if expected:
        console.print(
            f"{options.epochs} epochs take about {expected.minutes:.1f} min here ({expected.step_s:.2f} s a step), and "
            f"{expected.memory_bytes / 2**30:.1f} GiB of memory",
            soft_wrap=True,
        )


def _of_ultralytics(
    place: Workspace,
    data: Path,
    out: Path,
    model: str | None,
    epochs: int | None,
    size: int,
    batch: int | None,
    seed: int,
    options: list[str] | None,
    as_json: bool,
) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.key_values import key_values
    from jobs.cli.show import err
    from jobs.cli.show import out as console
    from jobs.training.train import LICENCE, TrainRequest
    from jobs.training.train import train as run

    err.print(f"note: Ultralytics, and what it trains, is under {LICENCE}", soft_wrap=True)
    settings = tuple(key_values("--option", options or ()))
    row = run(place, TrainRequest(data, model or "yolo26n", out, epochs or 100, size, batch or 16, seed, settings))
    if as_json:
        print_json(row)
        return
    console.print(f"{row['path']}, SHA-256 {row['model_id']}, in {row['seconds']:.0f} s", soft_wrap=True)
    console.print(row["metrics"], soft_wrap=True)
