"""Training of an Ultralytics detector on an export, with a record of its training data."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

import schemas
from jobs.core.errors import RunFailedError, UserError, one_line
from jobs.core.naming import new_job_id
from jobs.core.optional_packages import missing
from jobs.datasets.export_manifest import MANIFEST
from jobs.models.weight_folders import digest
from jobs.models.weights_store import resolve
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from transforms.models.detect.ultralytics_models import QUIET, load_checkpoint
from transforms.models.inference import ModelError

LICENCE = "AGPL-3.0"
_TASKS = {"yolo": "detect", "yolo-segment": "segment", "yolo-obb": "obb"}


@dataclass(frozen=True)
class TrainRequest:
    """What to train, on which data.

    `data` is the folder of a YOLO export, `base` an architecture (YAML) or initial weights (a file, or a name of the
    catalogue), `out` the output folder. `options` are passed to the library unchanged.
    """

    data: Path
    base: str
    out: Path
    epochs: int = 100
    size: int = 640
    batch: int = 16
    seed: int = 0
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class _Checked:
    manifest: dict[str, Any]
    base: Path
    base_hash: str


def train(workspace: Workspace, request: TrainRequest) -> dict[str, Any]:
    """Train, put the best weights into `out`, named after it, and return the row of `models`.

    Raises `UserError` with all problems of the request, before any work, and `RunFailedError` if the library fails.
    """
    store = Store(workspace.require().root)
    checked = _check(request)
    started = time.monotonic()
    metrics = _train(request, checked)
    best = request.out.absolute() / "weights" / "best.pt"
    if not best.is_file():
        raise RunFailedError(f"training left no weights at {best}")
    # Rows name a model by its file name, and the library names every model best.pt.
    best = best.rename(request.out.absolute() / f"{request.out.name}.pt")
    source = checked.manifest["source"]
    row = {
        "model_id": digest(best),
        "name": request.out.name,
        "path": str(best),
        "base": request.base,
        "base_hash": checked.base_hash,
        "data": str(request.data.absolute()),
        "data_content": checked.manifest["content"],
        "release": source.get("release"),
        "run": source.get("run"),
        "manifest": json.dumps(checked.manifest, sort_keys=True),
        "params": json.dumps({k: v for k, v in asdict(request).items() if k not in {"data", "base", "out"}}),
        "metrics": json.dumps({name: round(float(value), 6) for name, value in sorted(metrics.items())}),
        "licence": LICENCE,
        "seconds": time.monotonic() - started,
        "created_ns": time.time_ns(),
    }
    store.create_tables([schemas.MODELS])
    store.upsert(schemas.MODELS, pa.Table.from_pylist([row], schemas.MODELS.arrow_schema), new_job_id())
    return row


def _check(request: TrainRequest) -> _Checked:
    problems = missing("ultralytics", "torch", "ultralytics")
    manifest: dict[str, Any] = {}
    try:
        manifest = json.loads((request.data / MANIFEST).read_text(encoding="utf-8"))
        found = manifest["format"]
        if found not in _TASKS:
            problems.append(f"--data {request.data}: expected an export of format {' or '.join(_TASKS)}, found {found}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems.append(f"--data {request.data}: expected a folder that `winnow export --format yolo` made: {error}")
    if request.out.exists() and (not request.out.is_dir() or any(request.out.iterdir())):
        problems.append(f"--out {request.out}: expected a new or empty folder")
    base = Path(request.base).expanduser()
    if not (base.suffix in {".yaml", ".yml"} and base.is_file()):
        try:
            base = resolve(request.base).path
        except UserError as error:
            problems += error.problems
    if not problems and base.suffix == ".pt":
        try:
            load_checkpoint(base)
        except ModelError as error:
            problems.append(str(error))
    if problems:
        raise UserError(problems)
    return _Checked(manifest, base, digest(base))


def _train(request: TrainRequest, checked: _Checked) -> dict[str, float]:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from ultralytics import YOLO
    from ultralytics.nn import tasks

    # Initial weights are unpickled as tensors and known layers only.
    tasks.SAFE_LOAD = True
    before = {*request.data.rglob("*.cache")}
    out = request.out.absolute()
    given: dict[str, Any] = {
        "data": str(request.data.absolute() / "data.yaml"),
        "epochs": request.epochs,
        "imgsz": request.size,
        "batch": request.batch,
        "seed": request.seed,
        "project": str(out.parent),
        "name": out.name,
        "exist_ok": True,
        "plots": False,
        "verbose": False,
        "deterministic": True,
    }
    try:
        model = YOLO(str(checked.base), task=_TASKS[checked.manifest["format"]])
        result = model.train(**given | dict(request.options))
        return dict(result.results_dict) if result is not None else {}
    except Exception as error:
        # The library, torch and the image loaders raise many kinds of errors.
        raise RunFailedError(f"training failed: {type(error).__name__}: {one_line(error)}") from error
    finally:
        # The library's label caches would change the contents of the export.
        for file in {*request.data.rglob("*.cache")} - before:
            file.unlink(missing_ok=True)
