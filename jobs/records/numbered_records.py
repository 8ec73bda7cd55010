"""Numbered records in a folder, each created once and never changed: what a job or a loop is, follows from them."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.core.errors import UserError
from jobs.storage.paths import Place

_NAME = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True)
class Record:
    """One record: its number from 1, its word, its time in ns since 1970, and its data."""

    number: int
    word: str
    at_ns: int
    data: Mapping[str, Any] = field(default_factory=dict)


class NumberedRecords:
    """The records in a folder: `000001.json`, `000002.json`, …, of which the number alone is the name.

    So two writers can never both write the n-th record: the first one wins, the other one reads again. `what` names in
    errors what a record is of. The folder need not exist yet.
    """

    def __init__(self, folder: Place, what: str) -> None:
        self.folder = folder
        self._what = what
        # Records never change, so that each is read once.
        self._known: dict[int, Record] = {}

    def records(self) -> list[Record]:
        """Return all records in order."""
        numbers = sorted(int(found[1]) for name in self.folder.names() if (found := _NAME.fullmatch(name)))
        if not self._known.keys() <= set(numbers):
            # They were deleted.
            self._known.clear()
        for number in numbers:
            if number not in self._known:
                self._known[number] = self._read(number)
        return [self._known[number] for number in numbers]

    def last(self) -> Record | None:
        """Return the last record, if there is any."""
        records = self.records()
        return records[-1] if records else None

    def create(self, number: int, word: str, data: Mapping[str, Any] | None = None) -> Record | None:
        """Write a record as a whole under its number, and return it; None if the number was taken."""
        record = Record(number, word, time.time_ns(), dict(data or {}))
        values = {"word": record.word, "at_ns": record.at_ns, "data": record.data, "said": secrets.token_hex(4)}
        if not self._path(number).create(json.dumps(values).encode() + b"\n"):
            return None
        self._known[number] = record
        return record

    def _path(self, number: int) -> Place:
        return self.folder / f"{number:06}.json"

    def _read(self, number: int) -> Record:
        path = self._path(number)
        try:
            values = json.loads(path.read())
            return Record(number, values["word"], values["at_ns"], values["data"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no record of a {self._what}: {type(error).__name__}: {error}") from error
