"""Checks of `winnow doctor` of the weights of trained models and of their ONNX files, which no run computes again."""

from __future__ import annotations

from collections.abc import Iterator

import schemas
from jobs.core.errors import BrokenTableError
from jobs.core.naming import many
from jobs.diagnostics.finding import Finding
from jobs.models import registry
from jobs.storage.store import Store

_FIX = "bring the folder back from a backup, or train it again under the same name: that is a new version"
_ONNX_FIX = "bring the file back from a backup, or leave annotate.detector to the model, which has its weights"


def versions(store: Store, verify: bool) -> Iterator[Finding]:
    """Yield whether the files of all versions of models are there; with `verify` also, whether they are the same."""
    if store.root.on_disk() is None:
        return
    try:
        rows = store.read(schemas.MODEL_VERSIONS).to_pylist()
        made = store.read(schemas.MODEL_EXPORTS).to_pylist()
    except BrokenTableError:
        # The tables are checked by themselves.
        return
    files = {row["model_id"]: row for row in made if row["file"]}
    wrong: list[tuple[str, str]] = []
    for row in rows:
        version = registry.version_of(store, row)
        if problem := registry.weights_problem(version, verify):
            wrong.append((problem, _FIX))
        file = files.get(version.model_id)
        if file and (problem := registry.export_problem(store, version, file, verify)):
            wrong.append((problem, _ONNX_FIX))
    for problem, fix in wrong:
        yield Finding("models", "broken", problem, fix)
    if rows and not wrong:
        what = " and ".join(["all weights", *([many(len(files), "ONNX file")] if files else [])])
        yield Finding("models", "ok", f"{many(len(rows), 'version')}, {what} there{' and the same' * verify}")
