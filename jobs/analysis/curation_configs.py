"""The configurations by which the frames of each stream were kept or dropped."""

from __future__ import annotations

from contextlib import suppress

import schemas
from conf import ConfigError, PipelineConfig
from conf.loader import parse
from jobs.analysis.inspect_tables import job
from jobs.storage.store import Store
from jobs.views.view import View


def curation_configs(store: Store, view: View) -> dict[str, PipelineConfig]:
    """Return the configuration of the keep decisions of each stream, if it can be read."""
    keys = view.selection.keys.get(schemas.CURATION.written_by, {})
    rows = store.read(schemas.STAGE_RUNS, ("job_id", "stage", "stage_key")).to_pylist()
    ran = {row["stage_key"]: row["job_id"] for row in rows if row["stage"] == schemas.CURATION.written_by}
    found: dict[str, PipelineConfig] = {}
    for key in set(keys.values()) & set(ran):
        with suppress(ConfigError):
            found[key] = parse(job(store, ran[key])["config"])
    return {stream: found[key] for stream, key in sorted(keys.items()) if key in found}
