"""The dictionary of brands in a workspace: read from a file, with the logos that it names, into the table `brands`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

import schemas
from jobs.core.errors import UserError
from jobs.core.os_errors import as_problem
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Drop, Snapshot, Store
from transforms.brands.dictionary import Brand, DictionaryError, near_homonyms, read_dictionary
from transforms.brands.logos import few_features
from transforms.core.plain_yaml import YamlError

_MOST_BYTES = 8 << 20


@dataclass(frozen=True)
class ImportedBrands:
    """What an import of a dictionary changed: names of brands, and warnings, a line each."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    warnings: tuple[str, ...]


def import_dictionary(store: Store, path: Path) -> ImportedBrands:
    """Let the table `brands` have just the brands of a file; nothing is written where these are there already.

    Raises `UserError` with all that is wrong with the file and its logos.
    """
    brands = _read(path)
    rows = _rows(brands, path.parent)
    table = pa.Table.from_pylist(rows, schemas.BRANDS.arrow_schema)
    store.create_tables([schemas.BRANDS])
    before: dict[str, dict[str, Any]] = {}

    def change(snapshot: Snapshot) -> Change | None:
        old = snapshot.read(schemas.BRANDS.file_schema.names)
        before.clear()
        before.update({row["brand"]: row for row in old.to_pylist()})
        if before == {row["brand"]: row for row in rows}:
            return None
        return Change([write_part(store.root, schemas.BRANDS, table)], [Drop(keys=old.select(["brand"]))])

    store.transact(schemas.BRANDS, change, "brands-import")
    names = {row["brand"]: row for row in rows}
    common = names.keys() & before.keys()
    changed = tuple(sorted(name for name in common if names[name] != before[name]))
    return ImportedBrands(
        tuple(sorted(names.keys() - before.keys())),
        changed,
        tuple(sorted(before.keys() - names.keys())),
        len(common) - len(changed),
        tuple(_warnings(brands, rows)),
    )


def _read(path: Path) -> tuple[Brand, ...]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path}: expected a dictionary of at most {_MOST_BYTES >> 20} MiB")
        text = path.read_text("utf-8")
    except OSError as error:
        raise UserError(as_problem(error, "the dictionary")) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: expected YAML in UTF-8, found other bytes") from None
    try:
        return read_dictionary(text)
    except DictionaryError as error:
        raise UserError([f"{path}: {problem}" for problem in error.problems]) from None
    except YamlError as error:
        raise UserError(f"{path}: {error}") from None


def _rows(brands: tuple[Brand, ...], folder: Path) -> list[dict[str, Any]]:
    problems: list[str] = []
    rows = []
    for brand in brands:
        logos = [_logo(brand.name, name, folder, problems) for name in brand.logos]
        lists = {name: list(getattr(brand, name)) for name in ("aliases", "never", "colours")}
        rows.append({"brand": brand.name, **lists, "logos": logos})
    if problems:
        raise UserError(problems)
    return rows


def _logo(brand: str, name: str, folder: Path, problems: list[str]) -> dict[str, Any]:
    path = folder / name
    try:
        status = path.stat()
        # A pipe would be waited for.
        data = path.read_bytes() if S_ISREG(status.st_mode) and status.st_size <= _MOST_BYTES else b""
    except OSError as error:
        problems.append(f"{brand}: logo {as_problem(error)}")
        return {}
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None or min(image.shape[:2]) < 16:
        problems.append(f"{brand}: logo {name}: expected an image of at least 16 pixels a side and at most 8 MiB")
    return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "image": data}


def _warnings(brands: tuple[Brand, ...], rows: list[dict[str, Any]]) -> list[str]:
    apart = [
        f"{one} ({word}) and {other} ({another}) are one letter apart; readings that are not clear leave both open"
        for one, word, other, another in near_homonyms(brands)
    ]
    plain = [
        f"{row['brand']}: logo {logo['name']} has too few corners to be found on frames; expected a richer image"
        for row in rows
        for logo in row["logos"]
        if few_features(logo["image"])
    ]
    return [*apart, *plain]
