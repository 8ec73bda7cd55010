"""Previews of thresholds, kept while somebody moves them: a few at a time, freed when nobody asks any more."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import polars as pl
from annotated_types import Ge, Gt, Le, Lt

from conf import PipelineConfig
from conf.parameter_docs import explanations, kind_of_value, type_hints
from jobs.runs.preview import Preview
from jobs.storage.workspace import Workspace
from transforms.curate.curation import MEASURES

SECTIONS = ("curation", "idle", "duplicates")
"""Sections of the configuration whose settings a preview may change."""

BINS = 64

_MOST = 2
_IDLE_S = 600.0
_TAIL = 0.005


class Previews:
    """The previews of all projects; each is used by one thread at a time."""

    def __init__(self) -> None:
        self._one = Lock()
        self._known: OrderedDict[tuple[str, str], tuple[Lock, Preview]] = OrderedDict()
        self._used_s: dict[tuple[str, str], float] = {}

    @contextmanager
    def of(self, workspace: Workspace, job_id: str) -> Iterator[Preview]:
        """Give the preview of a run to one thread. Raises `UserError` for a run that decides nothing."""
        key = (str(workspace.root), job_id)
        with self._one:
            known = self._known.pop(key, None) or (Lock(), Preview(workspace, job_id))
            self._known[key] = known
            self._used_s[key] = time.monotonic()
            while len(self._known) > _MOST:
                self._used_s.pop(self._known.popitem(last=False)[0])
        with known[0]:
            yield known[1]

    def free_idle(self) -> None:
        """Free what nobody has requested in a while."""
        with self._one:
            for key in [key for key, used in self._used_s.items() if time.monotonic() - used > _IDLE_S]:
                self._known.pop(key, None)
                self._used_s.pop(key)


def settings_of(config: PipelineConfig) -> list[dict[str, Any]]:
    """Return the settings that a preview may change: key, value, bounds where there are any, and what it is.

    `low` and `high` are the least and the largest value, None without one.
    """
    found = []
    for section in SECTIONS:
        params = getattr(config, section)
        texts, hints = explanations(type(params)), type_hints(type(params))
        for name, hint in hints.items():
            low, high = _bounds(hint)
            value = getattr(params, name)
            found.append(
                {
                    "key": f"{section}.{name}",
                    "value": list(value) if isinstance(value, tuple) else value,
                    "kind": kind_of_value(hint),
                    "low": low,
                    "high": high,
                    "text": texts.get(name, ""),
                }
            )
    return found


def histograms(measures: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the histogram of each measure that verdicts compare with a threshold, by the key of the threshold.

    `edges`, one more than `counts`, go from the half-percent to the 99.5th percentile; what is beyond is in the first
    and the last bin.
    """
    found = {}
    for pairs in MEASURES.values():
        for column, key in pairs.items():
            values = measures[column].drop_nulls().to_numpy() if column in measures.columns else np.empty(0)
            if not len(values):
                continue
            low, high = (float(np.quantile(values, share)) for share in (_TAIL, 1 - _TAIL))
            edges = np.linspace(low, max(high, low + 1e-6), BINS + 1)
            counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
            found[f"curation.{key}"] = {"measure": column, "edges": edges.tolist(), "counts": counts.tolist()}
    return found


def _bounds(hint: Any) -> tuple[float | None, float | None]:
    low = high = None
    for bound in getattr(hint, "__metadata__", ()):
        if isinstance(bound, Ge):
            low = float(bound.ge)  # type: ignore[arg-type]
        elif isinstance(bound, Gt):
            low = float(bound.gt)  # type: ignore[arg-type]
        elif isinstance(bound, Le):
            high = float(bound.le)  # type: ignore[arg-type]
        elif isinstance(bound, Lt):
            high = float(bound.lt)  # type: ignore[arg-type]
    return low, high
