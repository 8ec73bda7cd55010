"""`winnow inspect`: runs, streams, tables and the quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, SettingsOption, WorkspaceOption
from jobs.cli.places import store_of
from jobs.core.naming import many, shortened

_SHOWN_GAPS = 8

app = Commands(help="Inspect runs, streams, tables and quarantined frames.")


@app.command()
def job(
    job_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Id of the run, its beginning, or `last`, `last~1`, …", show_default="last"),
    ] = None,
    named: Annotated[str | None, typer.Option("--id", help="The same, as an option.", metavar="ID")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one run: its inputs, what each stage did, and how it ended.

    Example: winnow inspect job last
    """
    from jobs.analysis import inspect_tables
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out, print_table
    from jobs.core.errors import UserError

    if job_id and named and job_id != named:
        raise UserError(f"inspect job {job_id} --id {named}: expected one run, found two")
    found = inspect_tables.job(store_of(workspace), job_id or named or "last")
    if as_json:
        print_json(found)
        return
    kept = (found["counts"] or {}).get("kept")
    of_these = "" if kept is None else f", {kept:,} kept"
    out.print(
        f"run {found['job_id']}: {found['state']}, profile {found['profile']}, "
        f"{many(found['frames'], 'frame')}{of_these}"
    )
    if found["parent"]:
        out.print(f"parent: {found['parent']}")
    for name in ("inputs", "streams"):
        out.print(f"{name}: {', '.join(found[name])}")
    if found["seconds"] is not None:
        rate = found["frames_per_second"]
        out.print(f"took {found['seconds']:.1f} s{f', {rate:,.0f} frames/s in the pixel pass' if rate else ''}")
    if found["error"]:
        out.print(f"error: {found['error']}")
    columns = ("stage", "stage_key", "state", "computed", "reused", "corrupt", "quarantined", "seconds")
    print_table(columns, [(name, *(s[c] for c in columns[1:])) for name, s in found["stages"].items()])


@app.command()
def runs(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show the runs as a tree, oldest first: inputs, frames, kept, duration; replays below what they replay.

    Example: winnow inspect runs
    """
    from jobs.analysis import inspect_tables
    from jobs.cli.json_output import print_json
    from jobs.cli.show import print_tree

    found = inspect_tables.runs(store_of(workspace))
    if as_json:
        print_json(found)
        return
    print_tree([(row["job_id"], row["parent"], _run_line(row)) for row in found])


def _run_line(row: dict[str, Any]) -> str:
    took = "" if row["seconds"] is None else f", {row['seconds']:.1f} s"
    kept = "" if row["kept"] is None else f", {row['kept']:,} kept"
    text = f"{row['job_id']} {row['state']}, profile {row['profile']}, {many(row['frames'], 'frame')}{kept}{took}"
    if not row["parent"]:
        text += f", {shortened(row['inputs'])}"
    if row["error"]:
        text += f", {row['error']}"
    if row["parent"]:
        changed = "; ".join(f"{key} {_shown(was)} -> {_shown(now)}" for key, (was, now) in row["changed"].items())
        text += f" | {row['asked']}{f': {changed}' if changed else ''}"
    return text


def _shown(value: Any) -> str:
    return ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)


@app.command("run-diff")
def run_diff(
    one: Annotated[
        str, typer.Argument(metavar="A", help="Id of a run, its beginning, or `last`, `last~1`, …", show_default=False)
    ],
    other: Annotated[str, typer.Argument(metavar="B", help="Id of the run to compare it with.", show_default=False)],
    tolerance: Annotated[
        float, typer.Option(min=0, help="By how much measured numbers may differ.", metavar="NUMBER")
    ] = 0.0,
    examples: Annotated[int, typer.Option(min=0, help="Show so many rows of each stage.", metavar="N")] = 5,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two finished runs, each at the versions it ended with: settings, and the rows of every stage.

    Groups of duplicates are compared by their members, intervals by where they are. Exits with 1 if rows differ.

    Example: winnow inspect run-diff 20261120-020000-123abcd 20261121-020000-456cdef --tolerance 0.01
    """
    from jobs.analysis.run_diff import run_diff as compare
    from jobs.cli.json_output import print_json
    from jobs.cli.print_diff import print_diff
    from jobs.cli.show import out

    found = compare(store_of(workspace), one, other, tolerance, examples)
    if as_json:
        print_json(found)
    else:
        print_diff(out, found)
    if not found["same"]:
        raise typer.Exit(1)


@app.command()
def stream(
    path: Annotated[str | None, typer.Option(help="The folder the stream was read from.", metavar="DIR")] = None,
    stream_id: Annotated[str | None, typer.Option("--id", help="Its id, instead of the folder.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one stream: its numbers and gaps, sizes, and what was found in it.

    Example: winnow inspect stream --path /data/cam1
    """
    from jobs.analysis import inspect_tables
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out, print_table

    found: dict[str, Any] = inspect_tables.stream(store_of(workspace), path, stream_id)
    if as_json:
        print_json(found)
        return
    out.print(f"stream {found['stream_id']} at {found['uri']}")
    print_table(None, _described(found))
    for name, title in (("scenes", "scenes"), ("idle", "idle intervals")):
        if found[name]:
            names = [column.removesuffix("_idx").replace("n_frames", "frames") for column in found[name][0]]
            print_table(names, [tuple(i.values()) for i in found[name]], title=title)


def _described(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the row of a stream as names and texts, without what does not apply to it."""
    from jobs.cli.show import moment

    gaps = [f"{g['start']}" if g["start"] == g["end"] else f"{g['start']} to {g['end']}" for g in found["gaps"]]
    if len(gaps) > _SHOWN_GAPS:
        gaps[_SHOWN_GAPS:] = [f"{len(gaps) - _SHOWN_GAPS:,} more gaps"]
    texts = {
        "kind": found["kind"],
        "frames": f"{found['n_frames']:,}",
        "numbers": f"{found['first_idx']} to {found['last_idx']}, step {found['step']}" if found["n_frames"] else None,
        "numbers missing": f"{found['n_missing']:,} in {', '.join(gaps)}" if found["n_missing"] else "none",
        "other files": f"{found['n_ignored']:,}",
        "files with a repeated number": f"{found['n_repeated']:,}" if found["n_repeated"] else None,
        "sampling": found["sampling"],
        "frames that do not decode": f"{found['n_bad']:,}",
        "sizes": ", ".join(f"{s['width']}x{s['height']} ({s['n_frames']:,})" for s in found["sizes"]),
        "listed": moment(found["listed_ns"]),
        "kept": f"{found['kept']:,}",
        **{f"dropped for {reason}": f"{n:,}" for reason, n in found["reasons"].items()},
    }
    return [(name, text) for name, text in texts.items() if text]


@app.command()
def frame(
    stream_id: Annotated[str, typer.Argument(metavar="STREAM", help="Id of the stream.")],
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="Number of the frame.")],
    stage: Annotated[str, typer.Option(help="The stage.", metavar="NAME")],
    debug: Annotated[
        bool, typer.Option("--debug", help="Run the stage's kernels on the frame, and write what they see on the way.")
    ] = False,
    out_folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for images and values, with --debug.", metavar="DIR")
    ] = None,
    settings: SettingsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Show what a stage found on one frame, or with --debug how: its intermediates, as PNG and JSON.

    Settings of the stage are those of the run that is shown, and those of --set; nothing is stored in the workspace.

    Example: winnow inspect frame match 120 --stage field --debug --out debug --set field.hue_low=38
    """
    from jobs.analysis.frame_debug import probe_frame, rows_of_stage, write_probed
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out
    from jobs.core.errors import UserError
    from jobs.storage.workspace import Workspace
    from jobs.views.view import View

    if debug != (out_folder is not None):
        raise UserError("--debug, --out: expected both or neither, the images and a folder for them")
    if settings and not debug:
        raise UserError("--set: expected --debug with it: rows are as the run computed them")
    place = Workspace.at(workspace).require()
    view = View.of(place)
    if out_folder is None:
        print_json(rows_of_stage(view, stream_id, number, stage))
        return
    probed = probe_frame(place, view, stream_id, number, stage, settings or ())
    about = {"stage": stage, "stream_id": stream_id, "frame_idx": number, "settings": settings or []}
    for path in write_probed(probed, out_folder, about):
        out.print(str(path), soft_wrap=True, markup=False)


@app.command()
def tables(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the tables: version, rows, files and configurations.

    Example: winnow inspect tables
    """
    from jobs.analysis import inspect_tables
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out, print_table

    found = inspect_tables.tables(store_of(workspace))
    if as_json:
        print_json(found)
        return
    columns = ("table", "version", "rows", "files", "bytes", "stage_keys")
    print_table(columns, [tuple(row[c] for c in columns) for row in found if row["rows"]])
    out.print(f"without rows: {', '.join(row['table'] for row in found if not row['rows']) or 'none'}", soft_wrap=True)


@app.command()
def quarantine(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the quarantined frames, which a fault kept from being computed; every run retries them.

    Example: winnow inspect quarantine
    """
    import schemas
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out, print_table

    rows = store_of(workspace).read(schemas.QUARANTINE)
    found = rows.sort_by([(n, "ascending") for n in ("stream_id", "frame_idx", "stage")]).to_pylist()
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("the quarantine is empty")
        return
    # One fault can quarantine a frame for several stages.
    frames: dict[tuple[Any, ...], list[str]] = {}
    for row in found:
        key = tuple(row[c] for c in ("stream_id", "frame_idx", "attempts", "error_type", "error"))
        frames.setdefault(key, []).append(row["stage"])
    shown = [(*key[:3], ", ".join(stages), *key[3:]) for key, stages in frames.items()]
    print_table(("stream_id", "frame_idx", "attempts", "stages", "error_type", "error"), shown)
