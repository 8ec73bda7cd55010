"""`winnow release`: named versions of the tables."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.cli.places import root_of, store_of
from jobs.core.naming import many

app = Commands(help="Freeze the current version of the tables under a name, for exports.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a release.")]


@app.command()
def create(
    name: NameArgument,
    workspace: WorkspaceOption = None,
    run: Annotated[
        str | None,
        typer.Option(help="Freeze the versions that this run ended with, not the newest rows.", metavar="ID"),
    ] = None,
    note: Annotated[str | None, typer.Option(help="A note on what it is for.")] = None,
    streams: Annotated[
        str | None, typer.Option(help="Only these streams, instead of all.", metavar="STREAM,…", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a release.

    Example: winnow release create night-v1 --note "first set for the night detector"
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.next_steps import print_next_steps
    from jobs.cli.show import out
    from jobs.datasets import release

    chosen = None if streams is None else [name.strip() for name in streams.split(",") if name.strip()]
    manifest = release.create(store_of(workspace), name, run, note, chosen)
    if as_json:
        print_json({"name": name, **manifest})
    else:
        n_streams = sum(len(group["streams"]) for group in manifest["selections"])
        written = [table for table, version in manifest["tables"].items() if version]
        out.print(f"release {name}: {many(n_streams, 'stream')}, {many(len(written), 'table')} frozen")
        print_next_steps(root_of(workspace), ("export", "--format", "coco", "--release", name, "--out", f"{name}-coco"))


@app.command("list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the releases.

    Example: winnow release list
    """
    import schemas
    from jobs.cli.json_output import print_json
    from jobs.cli.show import moment, print_table

    rows = store_of(workspace).read(schemas.RELEASES).sort_by("created_ns").to_pylist()
    if as_json:
        print_json([{k: v for k, v in row.items() if k != "manifest"} for row in rows])
        return
    table = [(r["name"], moment(r["created_ns"]), r["job_id"], r["note"]) for r in rows]
    print_table(("release", "created", "run", "note"), table)


@app.command()
def delete(
    name: NameArgument,
    workspace: WorkspaceOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete it without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a release, after printing what refers to it. Exports, splits and selections that were made of it stay.

    Its rows and images stay, too, until winnow tables vacuum finds that nothing else needs them.

    Example: winnow release delete night-v1
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out
    from jobs.core.errors import UserError
    from jobs.datasets import release

    store = store_of(workspace)
    found = release.references(store, name)
    if not as_json:
        for line in found:
            out.print(line, markup=False, soft_wrap=True)
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise UserError(f"release {name} is not deleted: expected --yes, since nobody can be asked here")
        if not typer.confirm(f"Delete release {name}? Exports of it can then not be repeated."):
            out.print(f"release {name} stays")
            return
    release.delete(store, name)
    if as_json:
        print_json({"name": name, "deleted": True, "references": found})
    else:
        out.print(f"release {name} is deleted")


@app.command()
def show(name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show the versions that a release froze, what is in it, and how far its splits leak.

    Example: winnow release show night-v1
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.print_splits import print_leaks
    from jobs.cli.show import out, print_table
    from jobs.datasets.label_diff import class_counts, reviewed_frames
    from jobs.datasets.split_report import reports_of_release
    from jobs.storage.workspace import Workspace
    from jobs.views import snapshot_spec
    from jobs.views.curation_counts import verdicts
    from jobs.views.view import View

    store = store_of(workspace)
    row = snapshot_spec.find_release(store, name)
    manifest = json.loads(row["manifest"])
    view = View.of(Workspace.at(workspace), release=name)
    found = verdicts(view)
    splits = reports_of_release(store, view)
    labels = {"classes": class_counts(view), "reviewed_frames": reviewed_frames(view)}
    if as_json:
        counts = {"frames": found.frames, "kept": found.kept, "reasons": found.reasons, **labels, "splits": splits}
        print_json({"name": name, "note": row["note"], "job_id": row["job_id"], **counts, **manifest})
        return
    out.print(f"release {name}: kept {found.kept:,} of {found.frames:,} frames")
    if labels["classes"]:
        print_table(("class", "objects on kept frames"), labels["classes"].items())
    for reviewer, n in labels["reviewed_frames"].items():
        out.print(f"{many(n, 'frame')} reviewed by {reviewer}")
    for seed, report in splits.items():
        parts = ", ".join(f"{n:,} {split}" for split, n in report["frames"].items())
        out.print(f"in splits for good{f' under seed {seed}' if seed else ''}: {parts}")
        print_leaks(report)
    print_table(("table", "version"), [(table, n) for table, n in manifest["tables"].items() if n])
    for group in manifest["selections"]:
        out.print(f"streams {', '.join(group['streams'])}")
        print_table(("stage", "key"), group["stages"].items())


@app.command()
def diff(
    before: NameArgument, after: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Compare two releases: frames added, gone, changed, newly kept or dropped, and how labels differ.

    Example: winnow release diff night-v1 night-v2
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out, print_table
    from jobs.datasets import release
    from jobs.datasets.label_diff import label_difference
    from jobs.storage.workspace import Workspace
    from jobs.views.view import View

    place = Workspace.at(workspace)
    views = View.of(place, release=before), View.of(place, release=after)
    found, labels = release.difference(*views).values(), label_difference(*views)
    if as_json:
        print_json({"before": before, "after": after, **found, "labels": labels})
        return
    reasons = found.pop("newly_dropped_for")
    rows = [(name.replace("_", " "), count) for name, count in found.items()]
    rows += [(f"newly dropped for {reason}", count) for reason, count in reasons.items()]
    print_table(("frames", f"{before} → {after}"), rows)
    if labels["classes"]:
        counts = list(next(iter(labels["classes"].values())))
        print_table(("objects", *counts), [(name, *each.values()) for name, each in labels["classes"].items()])
    if labels["relabelled"]:
        print_table(("relabelled", "objects"), labels["relabelled"].items())
    if labels["moved_iou"] is not None:
        out.print(f"median overlap of moved boxes with what they were: {labels['moved_iou']:.2f}")
    for reviewer, n in labels["reviewed_frames"].items():
        out.print(f"{many(n, 'frame')} reviewed by {reviewer}")
