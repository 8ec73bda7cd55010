"""Checks of `winnow doctor` of the weights of trained models, which no run computes again."""

from __future__ import annotations

from collections.abc import Iterator

import schemas
from jobs.core.errors import BrokenTableError
from jobs.core.naming import many
from jobs.diagnostics.finding import Finding
from jobs.models import registry
from jobs.storage.store import Store

_FIX = "bring the folder back from a backup, or train it again under the same name: that is a new version"


def versions(store: Store, verify: bool) -> Iterator[Finding]:
    """Yield whether the weights of all versions of models are there; with `verify` also, whether they are the same."""
    if store.root.on_disk() is None:
        return
    try:
        rows = store.read(schemas.MODEL_VERSIONS).to_pylist()
    except BrokenTableError:
        # The tables are checked by themselves.
        return
    wrong = [problem for row in rows if (problem := registry.weights_problem(registry.version_of(store, row), verify))]
    for problem in wrong:
        yield Finding("models", "broken", problem, _FIX)
    if rows and not wrong:
        yield Finding("models", "ok", f"{many(len(rows), 'version')}, all weights there{' and the same' * verify}")
