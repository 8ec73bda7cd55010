"""The state of the tables at the end of a job, recorded in its job log as a second copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.records.numbered_records import Record
from jobs.storage.paths import Place
from jobs.storage.written_versions import Written, WrittenVersions

_KEY = "tables"


def as_data(root: Place) -> dict[str, Any]:
    """Return the data for a job's record `done`: version, rows and hash of files of each table that was written."""
    return {_KEY: {name: list(written) for name, written in sorted(WrittenVersions(root).newest().items())}}


def of_job(records: Sequence[Record]) -> tuple[int, Mapping[str, Written]] | None:
    """Return when a job was done (ns since 1970), and what the tables were then; None where its records do not say."""
    for record in reversed(records):
        if record.word == "done" and isinstance(found := record.data.get(_KEY), dict):
            return record.at_ns, {name: Written(*values) for name, values in found.items()}
    return None
