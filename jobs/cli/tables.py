"""`winnow tables`: maintenance."""

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
    from jobs.storage.maintenance import compact
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(workspace).require().root)
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
    while no run is in progress: a file that a worker has just written is not referenced yet.

    Example: winnow tables vacuum --dry-run
    """
    from dataclasses import asdict

    from jobs.cli.json_output import print_json
    from jobs.cli.show import out, print_table
    from jobs.core.naming import new_job_id
    from jobs.storage.maintenance import vacuum as clean
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(workspace).require().root)
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
