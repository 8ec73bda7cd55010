"""The program `winnow`."""

from __future__ import annotations

import os
import sys

import typer

from jobs.cli import (
    demo,
    doctor,
    evaluate,
    export,
    gateway,
    inspection,
    job,
    labels,
    models,
    profiles,
    release,
    report,
    review,
    run,
    schedule,
    select_frames,
    serve_models,
    sql,
    submit,
    tables,
    top,
    train,
    watch,
)
from jobs.cli.commands import Commands
from jobs.cli.error_output import (
    asks_json,
    nobody_listens,
    open_closed_streams,
    print_problems,
    shows_help,
    usage_problem,
)
from jobs.cli.exit import INTERRUPTED

_ABOUT_PLACES = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
_WRONG_PLACE = 2

app = Commands(
    name="winnow",
    help="Turn recorded camera streams into curated, versioned datasets.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("submit")(submit.submit)
app.command("top")(top.top)
app.command("demo")(demo.demo)
app.command("sql")(sql.sql)
app.command("report")(report.report)
app.command("select")(select_frames.select)
app.command("export")(export.export)
app.command("train")(train.train)
app.command("doctor")(doctor.doctor)
app.command("serve-models")(serve_models.serve_models)
app.add_typer(inspection.app, name="inspect")
app.add_typer(gateway.app, name="gateway")
app.add_typer(schedule.app, name="schedule")
job.app.command("watch")(watch.watch)
app.add_typer(job.app, name="job")
app.add_typer(release.app, name="release")
app.add_typer(review.app, name="review")
app.add_typer(labels.app, name="labels")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(profiles.app, name="profiles")
app.add_typer(models.app, name="models")
app.add_typer(tables.app, name="tables")


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as installed

        typer.echo(f"winnow {installed('winnow')}")
        raise typer.Exit


@app.callback()
def _options(
    _: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_show_version
    ),
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the program; errors that a user can fix are lines on standard error, not tracebacks.

    With `--json` they are an object on standard output as well, whichever command it is.
    """
    from jobs.core.errors import InterruptedRunError, StoppedRunError, UserError, one_line
    from jobs.core.memory import share_one_allocator
    from jobs.core.os_errors import as_problem, damage_in

    open_closed_streams()
    share_one_allocator()
    as_json = asks_json(sys.argv[1:])
    try:
        # In standalone mode the parser would print its errors in boxes, and end the program.
        sys.exit(app(standalone_mode=False) or 0)
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
