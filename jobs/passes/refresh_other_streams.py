"""Verdicts on other streams follow groups that a run has changed, each at the thresholds that it was curated under."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf import MODEL_STAGES, ConfigError, PipelineConfig
from conf.loader import parse, to_dict
from jobs.core.errors import UserError
from jobs.core.stage import Stage
from jobs.passes.scopes import WORKSPACE
from jobs.passes.table_stages import TableStages
from jobs.stages.pipeline import build
from jobs.storage.store import Store

_FOLLOWED = "following"
"""What the ledger has on record: the groups that all verdicts have followed."""


def refresh_other_streams(
    store: Store, stages: Sequence[Stage], streams: Sequence[str], job_id: str, check: Callable[[], None], anew: bool
) -> None:
    """Bring the verdicts up to date that heads show of other streams, and that rest on the groups of these stages.

    Those under the same configuration have been looked at by the run itself. What followed these groups before is left
    alone, unless they were formed `anew` from what they were formed from. Verdicts that this version of the program
    would not make in the same way wait for the next run of their streams.
    """
    groups = next((s for s in stages if s.name == "duplicates"), None)
    if groups is None or groups.scope != "workspace":
        return
    input_id = _noted(store, "duplicates", groups.key)
    if input_id is None or (input_id == _noted(store, _FOLLOWED, groups.key) and not anew):
        return
    own = {s.name: s.key for s in stages}
    heads: dict[str, dict[str, tuple[str, str]]] = {}
    for row in store.read(schemas.HEADS).to_pylist():
        heads.setdefault(row["stream_id"], {})[row["stage"]] = (row["stage_key"], row["job_id"])
    shown: dict[tuple[str, str], list[str]] = {}
    for name, head in heads.items():
        if name in streams or head.get("duplicates", ("",))[0] != groups.key or "curation" not in head:
            continue
        if head["curation"][0] != own.get("curation"):
            shown.setdefault(head["curation"], []).append(name)
    for (key, ran), names in sorted(shown.items()):
        config = _config(store, ran)
        made = _stages(config) if config else ()
        verdicts = next((s for s in made if s.name == "curation" and s.key == key), None)
        if config and verdicts:
            TableStages(store, made, config, names, job_id, check).run(verdicts)
    _note(store, groups.key, input_id, job_id)


def _noted(store: Store, stage: str, key: str) -> int | None:
    rows = store.read(schemas.SCOPES)
    mine = pc.and_(pc.equal(rows["stage"], stage), pc.equal(rows["stage_key"], key))
    found = rows.filter(pc.and_(mine, pc.equal(rows["scope"], WORKSPACE)))["input_id"].to_pylist()
    return found[0] if found else None


def _note(store: Store, key: str, input_id: int, job_id: str) -> None:
    place = {"stage": _FOLLOWED, "stage_key": key, "scope": WORKSPACE}
    row = place | {"input_id": input_id, "n_rows": 0, "job_id": job_id}
    store.upsert(schemas.SCOPES, pa.Table.from_pylist([row], schemas.SCOPES.arrow_schema), job_id)


def _config(store: Store, job_id: str) -> PipelineConfig | None:
    """Return what a run was configured with, without models that its verdicts do not rest on."""
    rows = store.read(schemas.RUNS, ("job_id", "config"))
    for text in rows.filter(pc.equal(rows["job_id"], job_id))["config"].to_pylist():
        try:
            values = to_dict(parse(json.loads(text)))
            return parse(values | {"stages": [s for s in values["stages"] if s not in MODEL_STAGES]})
        except ConfigError:
            return None
    return None


def _stages(config: PipelineConfig) -> tuple[Stage, ...]:
    try:
        return build(config)
    except UserError:
        # The weights of its embeddings are not here.
        return ()
