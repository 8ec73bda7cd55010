"""What the commands about accounts share: the server's database, people by name, and passwords that no shell sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.serve import settings_of

if TYPE_CHECKING:
    from jobs.accounts.audit import Actor
    from jobs.accounts.database import Database

UserArgument = Annotated[str, typer.Argument(help="Name to sign in with, jane or jane@example.org.", metavar="NAME")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking for it.")
]


@contextmanager
def accounts(workspace: str | None, root: Path | None, database: str | None) -> Iterator[Database]:
    """Open the accounts of a server, which may run or not."""
    settings = settings_of(workspace, root, database)
    from jobs.web.serve import database_of

    opened = database_of(settings)
    try:
        yield opened
    finally:
        opened.close()


def this_machine() -> Actor:
    """Return who the audit names for what a command does: the account of the system."""
    import getpass

    from jobs.accounts.audit import Actor

    return Actor(f"command line ({getpass.getuser()})")


def new_password(from_stdin: bool) -> str:
    """Return a password that somebody types twice, or the first line of standard input.

    Raises `UserError` where there is neither a terminal nor the option.
    """
    import sys

    from jobs.core.errors import UserError

    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise UserError("password: no terminal to ask for it; give it on standard input with --password-stdin")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
