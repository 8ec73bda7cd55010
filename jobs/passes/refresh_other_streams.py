"""Recomputation of the rows of other streams that belong to groups which a run has changed."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf import MODEL_STAGES, ConfigError, PipelineConfig
from conf.loader import parse, to_dict
from conf.stages import STAGES
from jobs.core.errors import UserError
from jobs.core.stage import Stage
from jobs.passes.run_context import RunContext
from jobs.passes.table_stages import TableStages
from jobs.stages.build import build
from jobs.storage.store import Store
from transforms.core.table_stage import WORKSPACE

_FOLLOWED = "following"
"""What the ledger has on record: the groups that all verdicts have followed."""


def refresh(context: RunContext) -> None:
    """Bring up to date what heads show of other streams, where it rests on groups that this run may have changed."""
    for spec in STAGES:
        if spec.work and spec.work.groups:
            _refresh(context, spec.name, spec.work.groups)


def _refresh(context: RunContext, name: str, of_groups: str) -> None:
    """Bring rows of the stage `name` up to date that heads show of other streams, and that rest on groups of the run.

    Those under the same configuration have been brought up to date by the run itself. What followed these groups before
    is left alone, unless they were rebuilt from the same rows. Rows that this version of the program would compute in
    another way wait for the next run of their streams.
    """
    store, own = context.store, context.by_name
    groups = own.get(of_groups)
    if groups is None or groups.scope != "workspace":
        return
    assert groups.spec.work is not None
    rebuilt = groups.spec.work.rebuilds(context.config)
    input_id = _noted(store, groups.name, groups.key)
    if input_id is None or (input_id == _noted(store, _FOLLOWED, groups.key) and not rebuilt):
        return
    heads: dict[str, dict[str, tuple[str, str]]] = {}
    for row in store.read(schemas.HEADS).to_pylist():
        heads.setdefault(row["stream_id"], {})[row["stage"]] = (row["stage_key"], row["job_id"])
    shown: dict[tuple[str, str], list[str]] = {}
    for stream, head in heads.items():
        if stream in context.streams or head.get(groups.name, ("",))[0] != groups.key or name not in head:
            continue
        if name not in own or head[name][0] != own[name].key:
            shown.setdefault(head[name], []).append(stream)
    for (key, ran), streams in sorted(shown.items()):
        config = _config(store, ran)
        made = _stages(config) if config else ()
        stage = next((s for s in made if s.name == name and s.key == key), None)
        if config and stage:
            TableStages(replace(context, stages=made, config=config, streams=streams)).update(stage)
    _note(store, groups.key, input_id, context.job_id)


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
