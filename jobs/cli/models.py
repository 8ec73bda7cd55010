"""`winnow models`: weights by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption

if TYPE_CHECKING:
    from jobs.models.weights_store import WeightsEntry

app = Commands(
    help="Weights by name: their sources and licences (that of yolo26 is AGPL-3.0, which obliges anybody who offers a "
    "service with it to publish the source of the whole program)."
)

Names = Annotated[list[str] | None, typer.Argument(help="Names; all of them if none is given.", show_default=False)]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the weights that can be pulled by name, and which are here: in $WINNOW_WEIGHTS, or the user's cache.

    Example: winnow models list
    """
    from jobs.models.weights_store import entries

    _show(entries(), as_json)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="Name, as winnow models list shows it.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Read it from this URL or file instead.", metavar="URL|FILE")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Accept another hash than an earlier pull recorded; never another than the catalogue names."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Download weights, which must have the hash that the catalogue names, if any; later pulls must have the same.

    Example: winnow models pull yolox-nano --from yolox_nano.onnx
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from jobs.cli.json_output import print_json
    from jobs.cli.show import err
    from jobs.cli.show import out as console
    from jobs.models.weights_store import pull as download

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        entry = download(
            name,
            source,
            lambda done, total: bar.update(task, completed=done, total=total),
            force,
            lambda text: err.print(f"note: {text}", soft_wrap=True, markup=False),
        )
    if entry.model.restriction:
        err.print(f"{name} is under {entry.model.licence}: {entry.model.restriction}", soft_wrap=True)
    if as_json:
        print_json(entry.to_dict())
    else:
        console.print(f"{name}: {entry.path}, {entry.model.licence}, SHA-256 {entry.sha256}", soft_wrap=True)


@app.command()
def verify(names: Names = None, as_json: JsonOption = False) -> None:
    """Compare the weights that are here with their hashes; exit with 1 if one is altered.

    Example: winnow models verify
    """
    from jobs.models.weights_store import entries

    found = [entry for entry in entries(names or (), verify=True) if names or entry.state != "missing"]
    _show(found, as_json)
    if any(entry.state != "present" for entry in found):
        raise typer.Exit(1)


def _show(listed: list[WeightsEntry], as_json: bool) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.cli.show import print_table
    from jobs.models.locations import folder

    if as_json:
        print_json([entry.to_dict() for entry in listed])
        return
    rows = [
        (e.model.name, e.state, e.model.licence, e.model.extra, e.revision[:12], (e.sha256 or "")[:16], _pinned(e))
        for e in listed
    ]
    print_table(("name", "state", "licence", "extra", "revision", "SHA-256", "pinned by"), rows)
    console.print(f"in {folder()}", soft_wrap=True)


def _pinned(entry: WeightsEntry) -> str:
    return entry.pinned or "not yet: by the first pull"
