"""Versions of trained models as plain values, with what the table `models` knows of each."""

from __future__ import annotations

import json
from typing import Any

import schemas
from jobs.models import registry
from jobs.storage.store import Store

_COLUMNS = ("base", "base_hash", "data_content", "licence", "seconds", "params", "metrics")


def described(store: Store, name: str | None = None) -> list[dict[str, Any]]:
    """Return the versions of a model, or of all: their rows, what they were made of, figures, and `aliases` now.

    Raises `UserError` for a name that has none.
    """
    made = {row["model_id"]: row for row in store.read(schemas.MODELS, ("model_id", *_COLUMNS)).to_pylist()}
    now: dict[tuple[str, str], dict[str, Any]] = {}
    for row in store.read(schemas.ALIASES).to_pylist():
        key = (row["name"], row["alias"])
        if key not in now or row["number"] > now[key]["number"]:
            now[key] = row
    found = []
    for row in registry.versions(store, name):
        of_model = made.get(row["model_id"], dict.fromkeys(_COLUMNS))
        aliases = sorted(
            change["alias"]
            for change in now.values()
            if (change["name"], change["version"]) == (row["name"], row["version"])
        )
        values = {key: json.loads(of_model[key] or "{}") for key in ("params", "metrics")}
        found.append({**row, **{key: of_model[key] for key in _COLUMNS}, **values, "aliases": aliases})
    return found
