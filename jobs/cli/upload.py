"""`winnow upload`: files to a server, continued after any cut."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.json_output import print_json
from jobs.cli.options import JsonOption

if TYPE_CHECKING:
    from jobs.uploads.client import Progress, SentResult
    from jobs.uploads.sent_file import SentFile

_FAILED = 1
_MOST_PARALLEL = 16


def upload(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|FOLDER…", help="Clips, recordings and images; of folders, all that are in them."),
    ],
    to: Annotated[str, typer.Option("--to", help="Address of the server.", metavar="URL", envvar="WINNOW_SERVER")],
    key: Annotated[
        str,
        typer.Option(
            "--key",
            help="Key with the scope upload; `winnow key add` makes one.",
            envvar="WINNOW_KEY",
            show_envvar=True,
            metavar="KEY",
        ),
    ],
    project: Annotated[
        str | None,
        typer.Option("--project", help="Where the files belong.", show_default="the only one of the key"),
    ] = None,
    folder: Annotated[
        str | None, typer.Option("--folder", help="Folder of the uploads that the files come into.", metavar="NAME")
    ] = None,
    parallel: Annotated[int, typer.Option(help="Files at a time.", min=1, max=_MOST_PARALLEL)] = 3,
    patience: Annotated[
        float, typer.Option(help="Seconds for which the server may be away.", min=0, metavar="SECONDS")
    ] = 600.0,
    as_json: JsonOption = False,
) -> None:
    """Send files to a project of a server, where runs take them as --input upload:NAME.

    What is cut off, by a network, a server or Ctrl-C, continues where it was: run the same command again. Files that
    are there already are not sent. Exit code 1 if one of them could not be sent, or cannot be used.

    Example: winnow upload match.mp4 --to https://winnow.example.org --key wnw_…
    """
    from jobs.cli.error_output import print_problems
    from jobs.uploads.client import UploadClient
    from jobs.uploads.sent_file import listed

    files, others = listed(paths, folder)
    client = UploadClient(to, project, key, patience, parallel)
    if others and not as_json:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        typer.echo(f"not sent, since no run reads such files: {others[0]}{more}")
    done: list[SentResult] = []
    for result in client.send_all(files, parallel, _progress(files, as_json)):
        done.append(result)
        if as_json:
            print_json(vars(result))
        else:
            typer.echo(_line(result))
    wrong = [f"{result.path}: {'; '.join(result.why)}" for result in done if result.state != "ready"]
    if wrong:
        if not as_json:
            print_problems(wrong, _FAILED, as_json=False)
        raise typer.Exit(_FAILED)


def _line(result: SentResult) -> str:
    if result.state != "ready":
        return f"{result.name}: {result.state}"
    said = "was there already" if result.already_there else f"{result.bytes_sent:,} bytes sent"
    return f"{result.name}: {said}; --input {result.input}"


def _progress(files: list[SentFile], as_json: bool) -> Progress:
    """Return what shows how far all files are: a line of a terminal that is written over, or nothing."""
    there: dict[str, int] = {}
    total = sum(file.length for file in files) or 1

    def show(file: SentFile, n_bytes: int) -> None:
        there[file.name] = n_bytes
        now = sum(there.values())
        end = "\n" if now >= total else ""
        sys.stderr.write(f"\r{100 * now // total:3d} %  {now / 1e6:,.0f} of {total / 1e6:,.0f} MB{end}")
        sys.stderr.flush()

    def nothing(file: SentFile, n_bytes: int) -> None:
        """Show nothing where no terminal is."""

    return show if sys.stderr.isatty() and not as_json else nothing
