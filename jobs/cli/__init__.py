"""The command line: commands parse, call and print."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run the program. A Ctrl-C while its modules are still being imported ends it without a traceback, too."""
    from jobs.cli.exit import INTERRUPTED, leave
    from jobs.core.processes import mark_as_command

    mark_as_command()
    try:
        from jobs.cli.app import main as run

        run()
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    leave(code)
