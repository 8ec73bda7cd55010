"""The end of every command: results on standard output, errors as lines, and an exit code."""

from __future__ import annotations

import os
import sys

from jobs.cli.error_output import (
    asks_json,
    nobody_listens,
    open_closed_streams,
    print_problems,
    shows_help,
    usage_problem,
)
from jobs.cli.exit import INTERRUPTED
from jobs.cli.program import program

_ABOUT_PLACES = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
_WRONG_PLACE = 2


def main() -> None:
    """Run the program; errors that a user can fix are lines on standard error, not tracebacks.

    With `--json` they are an object on standard output as well, whichever command it is.
    """
    from jobs.core.errors import InterruptedRunError, StoppedRunError, UserError, one_line
    from jobs.core.memory import collect_rarely, share_one_allocator
    from jobs.core.optional_packages import keep_arrow_from_pandas
    from jobs.core.os_errors import as_problem, damage_in

    open_closed_streams()
    collect_rarely()
    share_one_allocator()
    # No command converts anything to pandas, whose import takes longer than most of them do.
    keep_arrow_from_pandas()
    as_json = asks_json(sys.argv[1:])
    try:
        # In standalone mode the parser would print its errors in boxes, and end the program.
        sys.exit(program(sys.argv[1] if len(sys.argv) > 1 else None)(standalone_mode=False) or 0)
    except UserError as error:
        stopped = isinstance(error, StoppedRunError)
        # The result of a run that was stopped has been printed.
        as_json = as_json and not (isinstance(error, StoppedRunError) and error.printed)
        print_problems([one_line(p) for p in error.problems], error.exit_code, as_json, "" if stopped else "error: ")
        if isinstance(error, (InterruptedRunError, StoppedRunError)):
            # A signal to the whole group has ended the engine as well, for which its atexit handlers wait a minute.
            os._exit(error.exit_code)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        nobody_listens()
        sys.exit(1)
    except OSError as error:
        # An output that cannot be written, or a file of the tables that is not there.
        code = _WRONG_PLACE if isinstance(error, _ABOUT_PLACES) else 1
        print_problems([as_problem(error)], code, as_json)
        sys.exit(code)
    except Exception as error:
        if not as_json and shows_help(error):
            sys.exit(2)
        if damage := damage_in(error):
            # Polars and DuckDB pass on in errors of their own what Arrow says.
            print_problems([damage], 1, as_json)
            sys.exit(1)
        if type(error).__name__ == "Abort":
            print_problems(["interrupted"], INTERRUPTED, as_json, prefix="")
            sys.exit(INTERRUPTED)
        if (found := usage_problem(error)) is None:
            raise
        print_problems([found[0]], found[1], as_json)
        sys.exit(found[1])
