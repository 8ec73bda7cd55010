"""`winnow export`: datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.options import JsonOption, ReleaseOption, RunOption, WorkspaceOption
from jobs.core.choices import ExportFormat, MediaMode, SplitBy
from jobs.core.naming import many

if TYPE_CHECKING:
    from jobs.datasets.export import ExportRequest
    from jobs.storage.workspace import Workspace

_LISTS = frozenset({"jsonl", "parquet"})
"""Formats that are of use without annotations."""


def export(
    format_: Annotated[ExportFormat, typer.Option("--format", "-f", help="What to write.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder for the dataset, or s3://BUCKET/PREFIX.")],
    workspace: WorkspaceOption = None,
    run: RunOption = None,
    release: ReleaseOption = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Only frames for which this SQL condition on `curated` holds, or on one of their `objects`, as in "
            "\"objects.category = 'car'\".",
            metavar="SQL",
        ),
    ] = None,
    selection: Annotated[
        str | None, typer.Option(help="Only the frames of this selection: see winnow select.", metavar="NAME")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also frames that are not kept (corrupt ones never).")
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="Names and fractions that add up to 1.", metavar="train=0.8,val=0.2")
    ] = None,
    split_by: Annotated[
        SplitBy,
        typer.Option(
            help="Keep blocks of time, tracks, scenes, streams or only groups of duplicates together; auto divides by "
            "time videos of one scene, as of a fixed camera, by scene those of many, and by group unrelated images."
        ),
    ] = "auto",
    block: Annotated[
        str | None,
        typer.Option(
            help="Length of the blocks of --split-by time, in frame numbers or as 90s, 5min, 1h.",
            metavar="LENGTH",
            show_default="by the length of the stream",
        ),
    ] = None,
    guard: Annotated[
        str | None,
        typer.Option(
            help="Leave out frames that are nearer than this to a frame of another split, with --split-by time.",
            metavar="LENGTH",
            show_default="a quarter of a block",
        ),
    ] = None,
    near_duplicates: Annotated[
        bool,
        typer.Option(
            "--near-duplicates",
            help="Let near-duplicates be in several splits, for fixed cameras that show hardly anything else; never "
            "frames of equal content.",
        ),
    ] = False,
    max_leak: Annotated[
        float | None,
        typer.Option(
            help="Refuse a split of which a larger share of frames is next to a training frame, or shares a track or a "
            "duplicate with one.",
            min=0,
            max=1,
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse to split frames in which no stage has searched for duplicates.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed gives another split, with a record of its own.", min=0)] = 0,
    media: Annotated[
        MediaMode | None,
        typer.Option(
            help="What to do with the images; the hash of each is checked.",
            show_default="none for jsonl and parquet, else copy",
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Leave out objects with a lower score; their frames stay.", min=0, max=1)
    ] = None,
    only_reviewed: Annotated[
        bool, typer.Option("--only-reviewed", help="Only frames that a person has reviewed: see winnow review.")
    ] = False,
    classes: Annotated[
        str | None,
        typer.Option(help="Only objects of these classes, numbered in this order; frames stay.", metavar="car,bus"),
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option("--map", help="Export a category as another class; may be repeated.", metavar="truck=car"),
    ] = None,
    class_file: Annotated[
        str | None,
        typer.Option(help="File with a class on each line, in the order of their numbers.", metavar="FILE"),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a dataset of another release or workspace, or in another format, and files that were edited.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the kept frames as a dataset, with a manifest that identifies the data.

    Exit code 1 if no frame fits, so that the dataset is empty.

    Example: winnow export --format coco --out night-v1 --release night-v1 --split train=0.8,val=0.2
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.next_steps import print_next_steps
    from jobs.cli.print_splits import print_split_report
    from jobs.cli.show import out as console
    from jobs.datasets.export import ExportRequest
    from jobs.datasets.export import export as write
    from jobs.datasets.export_classes import ClassChoice, names_in, names_of, renames_of
    from jobs.datasets.split_fractions import fractions_of
    from jobs.datasets.splitting import length_of
    from jobs.storage import paths
    from jobs.storage.workspace import Workspace

    request = ExportRequest(
        format_,
        paths.absolute(out),
        run,
        release,
        where,
        selection,
        everything,
        fractions_of(split),
        split_by,
        seed,
        media,
        min_score,
        only_reviewed,
        ClassChoice(
            names_of("--classes", classes),
            renames_of(renamed or []),
            names_in("--class-file", paths.absolute(class_file)) if class_file else (),
        ),
        length_of("--block", block),
        length_of("--guard", guard),
        near_duplicates,
        max_leak,
        strict,
        overwrite,
    )
    manifest = write(Workspace.at(workspace), request)
    total = sum(manifest["frames"].values())
    if as_json:
        print_json({"out": str(out), **manifest})
        if not total:
            raise typer.Exit(1)
        return
    parts = ", ".join(f"{n:,} {name}" for name, n in sorted(manifest["frames"].items()))
    objects = f" with {many(manifest['objects'], 'object')}" if "objects" in manifest else ""
    console.print(
        f"{many(total, 'frame')} ({parts}){objects} to {out}"
        if total
        else f"no frame fits; {out} holds an empty dataset"
    )
    if manifest["selection"] and manifest["selection"]["left_out"]:
        console.print(
            f"left out: {many(manifest['selection']['left_out'], 'frame')} of the selection: "
            "they are no longer kept, were replaced by other images, or do not fit --where"
        )
    never = "objects" not in manifest
    if never and total and request.format not in _LISTS:
        console.print("none of these frames was annotated (winnow run --profile annotate): what they show is not known")
    elif not never and manifest["not_annotated"]:
        console.print(
            f"{manifest['not_annotated']:,} of these frames were not annotated (annotate.frames=all annotates all): "
            "whether they hold objects is not known"
        )
    for what, n in (manifest.get("left_out", {}) | manifest.get("simplified", {})).items():
        if what in _LOSSES:
            console.print(f"{many(n, 'object', _LOSSES[what][0])} {_LOSSES[what][1]}")
    if manifest.get("classes", {}).get("objects_left_out"):
        console.print(f"left out: {many(manifest['classes']['objects_left_out'], 'object')} of other classes")
    if n := manifest["exif"]["turned"] if manifest["media"] == "link" else 0:
        console.print(
            f"{n:,} linked images are turned by EXIF: readers that ignore it see other pixels than the boxes are of; "
            "--media copy writes them as displayed"
        )
    if report := manifest.get("split_report"):
        print_split_report(report)
    if not total:
        raise typer.Exit(1)
    print_next_steps(Workspace.at(workspace).root, *_next(Workspace.at(workspace), request, manifest))


def _next(workspace: Workspace, request: ExportRequest, manifest: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the commands that are of use after an export, without their workspace."""
    from jobs.datasets.release import free_name
    from jobs.storage.store import Store

    steps: list[tuple[str, ...]] = []
    if request.format.startswith("yolo") and manifest.get("objects") and "train" in request.split:
        steps.append(("train", "--data", str(request.out), "--out", f"{request.out}-trained"))
    if manifest.get("objects"):
        steps.append(("review export", "--format", "cvat", "--out", f"{request.out}-review", "--where", "keep"))
    if request.release:
        return [*steps, ("release show", request.release)]
    return [*steps, ("release create", free_name(Store(workspace.root)))]


_LOSSES = {
    "too_thin": ("are", "left out: too thin for this format"),
    "crowds": ("are", "left out: this format has no crowds"),
    "turned": ("are", "written as upright boxes: this format has no turned ones"),
    "cut": ("are", "cut at the edge of the image, as this format has it for turned boxes"),
    "holes": ("have", "holes that are filled, which this format does not have"),
    "joined": ("have", "several parts, which lines of no width join: this format has one outline for each object"),
}
"""What to print of what a format does not hold; masks, tracks, texts and attributes that it never has are in the
manifest alone."""
