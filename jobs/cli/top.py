"""`winnow top`: a live screen of the workspace."""

from __future__ import annotations

from jobs.cli.options import WorkspaceOption


def top(workspace: WorkspaceOption = None) -> None:
    """Show the workspace on a live screen: the queue, the progress of jobs, frames in and out, and errors.

    Keys: p pauses, r resumes and c cancels the job under the cursor, Enter opens it, q quits.

    Example: winnow top
    """
    import sys

    from jobs.core.errors import UserError
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace).require()
    if not sys.stdout.isatty():
        raise UserError("winnow top is for a terminal; programs read `winnow gateway status --json`")
    from jobs.dispatch.top_screen import Top

    Top(place).run()
