"""What is on record of one upload: a JSON file next to its bytes."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

UploadState = Literal["receiving", "received", "ready", "rejected"]
"""`receiving`: bytes are missing. `received`: all are there, and are checked. `ready`: runs can name it. `rejected`:
it cannot be used; `why` says for what reason."""


@dataclass(frozen=True)
class Upload:
    """One upload.

    `path` is the name under which people find it, below the folder of uploads. `length` counts bytes. `blake3` is the
    hash of the content, known once all bytes are there; `declared` the one that the sender says it has, if any.
    `fingerprint` is what the sender knows the file by when it comes back. `found` is what a probe found in it.
    `already_there`: the same bytes had been sent before. `source` is the place on the server of what was registered
    without a copy, None for what was sent.
    """

    upload_id: str
    owner: str
    owner_name: str
    path: str
    length: int
    created_ns: int
    state: UploadState = "receiving"
    why: tuple[str, ...] = ()
    blake3: str | None = None
    declared: str | None = None
    fingerprint: str | None = None
    found: dict[str, Any] = field(default_factory=dict)
    already_there: bool = False
    source: str | None = None
    changed_ns: int = 0

    def as_json(self) -> bytes:
        """Return the record as it is written."""
        return json.dumps(asdict(self), sort_keys=True).encode() + b"\n"


def read_record(data: bytes) -> Upload:
    """Return a record as it was written; fields of later versions are ignored.

    Raises `ValueError` for a damaged one.
    """
    values = json.loads(data)
    if not isinstance(values, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 - of the file, not of an argument
    known: dict[str, Any] = {each.name: values[each.name] for each in fields(Upload) if each.name in values}
    try:
        return Upload(**{**known, "why": tuple(known.get("why", ()))})
    except TypeError as error:
        raise ValueError(str(error)) from error


def new_id() -> str:
    """Return an id; ids sort by when they were made."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"
