"""`winnow review`: exchange with annotation tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, WhereOption, WorkspaceOption
from jobs.core.choices import LabelledPixels, MediaMode, ReviewedFrames, ReviewFormat
from jobs.core.naming import many
from transforms.formats.reviewing.annotator_policy import Policy

app = Commands(help="Let people review annotations in an annotation tool.")


@app.command("export")
def export(
    format_: Annotated[ReviewFormat, typer.Option("--format", "-f", help="The tool that reads it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the files.")],
    workspace: WorkspaceOption = None,
    where: WhereOption = None,
    selection: Annotated[
        str | None, typer.Option("--selection", help="Only frames of this selection.", metavar="NAME")
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", "-n", help="Only this many frames, the most uncertain.", min=1)
    ] = None,
    spread: Annotated[
        float | None,
        typer.Option(
            help="Of frames of a stream that are no more seconds apart, and of duplicates, only the most uncertain "
            "one; 0 for all of them.",
            show_default="route.spread with --n",
            metavar="SECONDS",
        ),
    ] = None,
    include_reviewed: Annotated[bool, typer.Option("--again", help="Also frames that somebody has reviewed.")] = False,
    media: Annotated[MediaMode, typer.Option(help="What to do with the images; the hash of each is checked.")] = "copy",
    root: Annotated[
        str, typer.Option(help="Prefix of the images' names in Label Studio's tasks.", metavar="URL")
    ] = "/data/local-files/?d=",
    category: Annotated[
        list[str] | None,
        typer.Option(help="Offer this category as well as the known ones. Repeat for several.", metavar="NAME"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export the frames of the review queue with their objects; or those of --selection, or that --where selects.

    Example: winnow review export --format cvat --out review-1
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.review.export_reviews import QueueRequest, export_queue
    from jobs.storage.workspace import Workspace

    categories = tuple(category or ())
    request = QueueRequest(format_, out, where, n, include_reviewed, media, root, categories, spread, selection)
    exported = export_queue(Workspace.at(workspace), request)
    if as_json:
        print_json(exported)
    elif exported["frames"]:
        console.print(f"{many(exported['frames'], 'frame')} with {many(exported['objects'], 'object')} to {out}")
        if exported["near"] and not exported["near_left_out"]:
            console.print(
                f"{exported['near']:,} of them are duplicates or neighbours of others; --spread 1 leaves these out"
            )
    else:
        console.print("no frame waits for review")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The file that the tool has written.")],
    workspace: WorkspaceOption = None,
    format_: Annotated[
        ReviewFormat | None,
        typer.Option("--format", "-f", help="The tool.", show_default="found out from the content"),
    ] = None,
    reviewer: Annotated[
        str | None,
        typer.Option(
            help="Who reviewed the frames; of several who annotated a task, the one that counts.",
            show_default="as the file says",
            metavar="NAME",
        ),
    ] = None,
    note: Annotated[str | None, typer.Option(help="Recorded with every decision.")] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="Accept this category as well as the known ones. Repeat for several.", metavar="NAME"),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            help="File with the object that each number of a COCO file refers to.",
            show_default="ids.json in the folder of the file",
        ),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            help="File with the images of a CVAT task, for `CVAT for video`.",
            show_default="frames.json in the folder of the file",
        ),
    ] = None,
    annotator_policy: Annotated[
        Policy | None,
        typer.Option(
            help="What counts where several people annotated a task: what the latest did, what most of them have, or "
            "what any of them has.",
            show_default="latest",
        ),
    ] = None,
    reviewed: Annotated[
        ReviewedFrames | None,
        typer.Option(
            help="Which frames of a file of CVAT or COCO were reviewed: all; those in which something differs; or "
            "those that --list names.",
            show_default="all, if something differs at all",
        ),
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="File with the names of the reviewed images, one a line.")
    ] = None,
    skip_unsupported: Annotated[
        bool,
        typer.Option(
            "--skip-unsupported",
            help="Import the rest of a file with shapes of other kinds, and list what is left out.",
        ),
    ] = False,
    exif: Annotated[
        LabelledPixels,
        typer.Option(
            "--exif",
            help="Which pixels of images that EXIF turns the objects are of: as displayed, which is what was sent, or "
            "as stored; `auto` goes by the sizes in the file and by where the objects were.",
        ),
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the result, and write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Import reviewed frames: objects approved, corrected, rejected and added.

    All problems of the file are printed at once, and then nothing of it is imported. A file can be imported again.
    Exports then read the reviewed objects; what the models found stays in `annotations`.

    Example: winnow review import annotations.xml --reviewer ada
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.review.import_reviews import ImportRequest, import_file
    from jobs.storage.workspace import Workspace

    request = ImportRequest(
        file,
        format_,
        reviewer,
        note,
        tuple(category or ()),
        ids,
        dry_run,
        frames,
        annotator_policy,
        reviewed,
        listed,
        skip_unsupported,
        exif,
    )
    imported = import_file(Workspace.at(workspace), request)
    if as_json:
        print_json(imported)
        return
    said = ("approve", "approved"), ("correct", "corrected"), ("reject", "rejected"), ("add", "added")
    console.print(
        f"{many(imported['frames'], 'frame')}: {', '.join(f'{imported[key]:,} {word}' for key, word in said)}"
    )
    for key, text in (("unchanged", "are unchanged"), ("older", "have a later review, which stays")):
        if imported[key]:
            console.print(f"{imported[key]:,} of them {text}")
    if imported["not_reviewed"]:
        console.print(f"not taken for reviewed: {many(imported['not_reviewed'], 'frame')} of the file")
    for text in imported["notes"]:
        console.print(text, markup=False)
