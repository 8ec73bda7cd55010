"""`winnow tables`: optimize, vacuum, accept-loss."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, WorkspaceOption

app = Commands(help="Keep the tables small.")


@app.command()
def optimize(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Merge small files, sorted by stream and number. Rows and releases stay as they are.

    Example: winnow tables optimize
    """
    from dataclasses import asdict

    import schemas
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out, print_table
    from jobs.core.naming import new_job_id
    from jobs.diagnostics.losses import refuse_if_broken
    from jobs.storage.maintenance import compact
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(workspace).require().root)
    refuse_if_broken(store, "tables optimize")
    job_id = f"optimize-{new_job_id()}"
    changes = [compact(store, table, job_id) for table in schemas.ALL]
    if as_json:
        print_json([asdict(c) for c in changes])
        return
    merged = [(c.table, c.files_before, c.files_after) for c in changes if c.files_before != c.files_after]
    if merged:
        print_table(("table", "files before", "files after"), merged)
    else:
        out.print("nothing to merge: no table has small files that belong together")


@app.command()
def vacuum(
    workspace: WorkspaceOption = None,
    retention_hours: Annotated[int, typer.Option(min=0, help="Spare files younger than this.")] = 24,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how much would be deleted; delete nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete what nothing refers to: stale configurations and unreferenced files.

    What the current version, every release and the last 20 runs refer to stays. Use a retention below 24 hours only
    while no run is in progress: a file that a worker has just written is not referenced yet. A workspace that has lost
    something is refused, with what is missing and how to bring it back.

    Example: winnow tables vacuum --dry-run
    """
    from dataclasses import asdict

    from jobs.cli.json_output import print_json
    from jobs.cli.show import out, print_table
    from jobs.core.naming import new_job_id
    from jobs.diagnostics.losses import refuse_if_broken
    from jobs.storage.maintenance import vacuum as clean
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(workspace).require().root)
    refuse_if_broken(store, "tables vacuum")
    changes = clean(store, f"vacuum-{new_job_id()}", retention_hours, dry_run)
    if as_json:
        print_json([asdict(c) for c in changes])
        return
    done = "to delete" if dry_run else "deleted"
    rows = [(c.table, len(c.stale_keys), len(c.deleted)) for c in changes if c.stale_keys or c.deleted]
    if rows:
        print_table(("table", "stale configurations", f"files {done}"), rows)
    else:
        out.print(f"nothing to delete: everything is referred to, or younger than {retention_hours} hours")


@app.command("accept-loss")
def accept_loss(
    names: Annotated[list[str], typer.Argument(metavar="TABLE…", help="Tables that were lost.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give up what tables have lost, where no backup has it, so that runs and clean-ups continue.

    What is there of a table counts as all of it, or the table as one that was never written. Runs and releases that
    recorded it before say that it was lost. A table that cannot be read is moved to .lost-TABLE-TIME in the workspace.

    Example: winnow tables accept-loss duplicates
    """
    import schemas
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out
    from jobs.core.errors import UserError
    from jobs.core.naming import new_job_id
    from jobs.diagnostics.losses import accept_loss as accept
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    if unknown := [name for name in names if name not in schemas.BY_NAME]:
        raise UserError(f"there is no table {unknown[0]!r}; there are: {', '.join(schemas.BY_NAME)}")
    store = Store(Workspace.at(workspace).require().root)
    said = [accept(store, schemas.BY_NAME[name], f"accept-loss-{new_job_id()}") for name in names]
    if as_json:
        print_json([{"table": name, "now": text} for name, text in zip(names, said, strict=True)])
        return
    for text in said:
        out.print(text, markup=False, soft_wrap=True)
