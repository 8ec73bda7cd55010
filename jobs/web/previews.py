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

from conf import PipelineConfig
from jobs.runs.preview import Preview
from jobs.storage.workspace import Workspace
from jobs.web import setting_forms
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
    """Return the settings that a preview may change, as `setting_forms.settings_of` describes them."""
    return [setting for section in SECTIONS for setting in setting_forms.settings_of(config, section)]


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
