"""Tables as the scripts make them and as the program declares them, versions, and several processes that begin."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from jobs.accounts import migrate
from jobs.accounts.database import Database, engine_of
from jobs.accounts.migrate import NEWEST, bring_up_to_date, revision_of
from jobs.accounts.tables import METADATA
from jobs.core.errors import UserError
from jobs.editing import tables as tables_of_reviews
from tests.accounts import opened


def test_scripts_make_the_tables_that_the_program_declares(database: Database) -> None:
    # Those of reviews are declared in a module of their own.
    assert tables_of_reviews.FRAMES.metadata is METADATA
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        tables = set(inspect(connection).get_table_names())
    assert tables == {*METADATA.tables, "alembic_version"}


def test_the_newest_script_is_the_revision_that_the_program_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [NEWEST]


def test_tables_of_a_newer_version_are_refused_in_one_line(database: Database) -> None:
    database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '0999'")))
    with pytest.raises(UserError) as refused:
        bring_up_to_date(database)
    line = f"the accounts were written by a newer version of winnow (revision 0999, this one knows {NEWEST})"
    assert refused.value.problems == [f"{line}: upgrade winnow"]


def test_a_second_start_changes_nothing(database: Database, url: str) -> None:
    with database.read() as connection:
        before = connection.execute(text("SELECT * FROM alembic_version")).all()
    again = opened(url)
    with again.read() as connection:
        assert revision_of(connection) == NEWEST
        assert connection.execute(text("SELECT * FROM alembic_version")).all() == before
    again.close()


_BEGIN = """
import sys
from tests.accounts import add_person, opened
sys.stdin.readline()
database = opened(sys.argv[1])
add_person(database, sys.argv[2], has_password=False)
database.close()
"""


@pytest.mark.process
def test_processes_that_begin_at_once_make_the_tables_once(url: str) -> None:
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", _BEGIN, url, f"person-{n}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for process in begun:
        assert process.stdin is not None
        process.stdin.write("begin\n")
        process.stdin.flush()
    for process in begun:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    database = opened(url)
    with database.read() as connection:
        names = connection.execute(text("SELECT name FROM users ORDER BY name")).scalars().all()
        assert names == ["person-0", "person-1", "person-2"]
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
    database.close()


def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "accounts of ? & # %20" / "accounts.sqlite"
    database = opened(f"sqlite:///{file}")
    with database.read():
        for path in file.parent.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    database.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://root:hidden@host/db", "found host/db"),
        ("postgres://u:hid@den@host/db", "found host/db"),
        ("postgresql+psycopg://", ""),
    ],
)
def test_urls_of_other_databases_are_refused_without_their_passwords(url: str, shown: str) -> None:
    with pytest.raises(UserError) as refused:
        opened(url)
    assert shown in str(refused.value)
    assert "hid" not in str(refused.value)
    assert len(refused.value.problems) == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="accounts cannot be kept at"):
        engine_of(f"sqlite:///{tmp_path / 'file' / 'accounts.sqlite'}")


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "accounts.sqlite").write_bytes(b"not a database at all, " * 100)
    with pytest.raises(UserError, match="file is not a database"):
        opened(f"sqlite:///{tmp_path / 'accounts.sqlite'}")
