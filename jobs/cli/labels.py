"""`winnow labels`: existing labels, brought onto frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.core.choices import LabelFormat, LabelledPixels, LabelRole
from jobs.core.naming import many

app = Commands(help="Bring existing labels onto frames.")


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="The folder, `.zip` or file of the dataset.")],
    format_: Annotated[LabelFormat, typer.Option("--format", "-f", help="The format of the dataset.")],
    name: Annotated[str, typer.Option("--name", help="The labels' name; their `source` is import:NAME.")],
    role: Annotated[
        LabelRole,
        typer.Option(
            "--as",
            help="Whether the labels say what is on the frames, as a person's review does, or wait for a review.",
        ),
    ] = "ground-truth",
    workspace: WorkspaceOption = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(help="Only frames of this stream; may be repeated.", metavar="ID"),
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option("--map", help="Import a class as another category; may be repeated.", metavar="truck=car"),
    ] = None,
    skip_unmatched: Annotated[
        bool, typer.Option("--skip-unmatched", help="Import the rest where images are no frames of the workspace.")
    ] = False,
    skip_unsupported: Annotated[
        bool,
        typer.Option(
            "--skip-unsupported",
            help="Import the rest of a dataset with shapes of other kinds, and list what is left out.",
        ),
    ] = False,
    exif: Annotated[
        LabelledPixels,
        typer.Option(
            "--exif",
            help="Which pixels of images that EXIF turns the labels are of: as displayed, or as stored; `auto` goes by "
            "the sizes in the dataset.",
        ),
    ] = "auto",
    reviewed: Annotated[
        Path | None,
        typer.Option(
            "--reviewed",
            help="File with the names of the images that were reviewed, one a line: their labels are ground truth, "
            "those of all others are suggestions.",
            metavar="FILE",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the result, and write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Import the labels of a dataset, for frames that are in the workspace already.

    Frames are found by the bytes of the images, by folders and name, or by name. All problems are printed at once,
    and then nothing is imported. Importing the same again changes nothing; a changed dataset under the same name
    replaces what it said before. What people have reviewed stays as it is.

    Example: winnow labels import coco/annotations/instances_train.json --format coco --name coco
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.datasets.export_classes import renames_of
    from jobs.ingest.label_import.label_import import LabelRequest, import_labels
    from jobs.storage.workspace import Workspace

    request = LabelRequest(
        path,
        format_,
        name,
        role,
        tuple(stream or ()),
        renames_of(renamed or []),
        skip_unmatched,
        skip_unsupported,
        dry_run,
        exif,
        reviewed,
    )
    found = import_labels(Workspace.at(workspace), request)
    if as_json:
        print_json(found)
        return
    ways = ", ".join(f"{n:,} by {way}" for way, n in found["matched"].items() if n)
    console.print(
        f"{many(found['frames'], 'frame')} with {many(found['objects'], 'object')}, as {_role(found)}; matched: {ways}"
    )
    console.print(
        f"{many(found['added'], 'object')} added, {found['removed']:,} removed, {found['unchanged']:,} unchanged"
    )
    if found["reviewed_by_people"]:
        console.print(
            f"reviewed by a person: {many(found['reviewed_by_people'], 'frame')} of these, and those decisions stay"
        )
    if found["not_matched"]:
        console.print(f"{many(found['not_matched'], 'image', 'are')} no frames of the workspace, and are left out")
    for text in found["notes"]:
        console.print(text, markup=False)


def _role(found: Mapping[str, Any]) -> str:

    rest = found["frames"] - found["ground_truth"]
    if not rest or not found["ground_truth"]:
        return str(found["role"])
    return f"ground truth ({many(found['ground_truth'], 'frame')}) and suggestions ({rest:,})"


@app.command("list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the labels that were imported.

    Example: winnow labels list
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.cli.show import print_table
    from jobs.ingest.label_import.label_import import sources
    from jobs.storage.workspace import Workspace

    found = sources(Workspace.at(workspace))
    if as_json:
        print_json(found)
    elif found:
        columns = ("name", "role", "frames", "objects", "classes")
        print_table(columns, ([row[name] for name in columns] for row in found))
    else:
        console.print("no labels were imported")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The name under which they were imported.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove imported labels; releases that have them keep them, and reviews stay.

    Example: winnow labels remove coco
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.ingest.label_import.label_import import remove_labels
    from jobs.storage.workspace import Workspace

    found = remove_labels(Workspace.at(workspace), name)
    if as_json:
        print_json(found)
    else:
        console.print(f"removed {many(found['objects'], 'object')} on {many(found['frames'], 'frame')}")
