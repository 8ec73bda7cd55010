"""Bringing the tables of accounts to the version of this program, and refusing those of a newer one."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from jobs.accounts.database import Database
from jobs.core.errors import UserError

NEWEST = "0005"
"""Revision that this version of the program writes; a test compares it with the newest script."""

_SCRIPTS = Path(__file__).parent / "migrations"
_VERSIONS = "alembic_version"


def bring_up_to_date(database: Database) -> None:
    """Make the tables, or change those of an older version, in one transaction.

    Raises `UserError` for tables that a newer version has written, and where the database cannot be used.
    """
    with database.read() as connection:
        if revision_of(connection) == NEWEST:
            return
    database.write(_upgrade)


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the tables; None where there are none."""
    if not inspect(connection).has_table(_VERSIONS):
        return None
    return connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar()


def _upgrade(connection: Connection) -> None:
    # Takes a while to import, and is needed once for a database.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    found = revision_of(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise UserError(
            f"the accounts were written by a newer version of winnow (revision {found}, this one knows {NEWEST}): "
            "upgrade winnow"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
