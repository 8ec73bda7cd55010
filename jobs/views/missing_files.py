"""What to say where a data file of a view is missing, which `winnow tables vacuum` may have deleted, or cannot have."""

from __future__ import annotations

import schemas
from jobs.storage.maintenance import KEPT_RUNS, kept_versions
from jobs.storage.store import Store
from jobs.views.snapshot_spec import Selection

# What readers of disks and of buckets say of a file that is not there.
_NO_FILE = ("FileNotFoundError", "No such file", "Object at location")
_HELP = "`winnow doctor` names them and says what helps"


def is_of_missing_file(error: BaseException) -> bool:
    """Return whether a reader failed since a file is not there."""
    return isinstance(error, FileNotFoundError) or any(sign in str(error) for sign in _NO_FILE)


def said_of_missing(store: Store, selection: Selection, name: str) -> str:
    """Return why files of a selection are not there, and what to do; `name` is what the selection is called."""
    if selection.versions is None:
        return f"files of the tables are not there; {_HELP}"
    if lost := _lost(store, selection):
        table, path = lost
        return (
            f"{name} refers to {store.root / table / path}, which is not there, and which `winnow tables vacuum` never "
            f"deletes; bring it back from a backup; {_HELP}"
        )
    return (
        f"{name} refers to files that `winnow tables vacuum` has deleted: they were of no release, and of none of the "
        f"last {KEPT_RUNS} runs"
    )


def _lost(store: Store, selection: Selection) -> tuple[str, str] | None:
    """Return table and path of a missing file that vacuum keeps: of the newest version, a release or a late run."""
    kept = kept_versions(store)
    for name, version in (selection.versions or {}).items():
        table = schemas.BY_NAME[name]
        now = {file.path for file in store.open(table).files}
        is_kept = version in kept.get(name, set())
        for file in Store(store.root, {name: version}).open(table).files:
            if (is_kept or file.path in now) and not (store.root / name / file.path).exists():
                return name, file.path
    return None
