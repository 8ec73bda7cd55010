"""Run requests made from recorded ones: of jobs that are resumed, replayed or retried."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow.compute as pc

import schemas
from conf import ConfigError, Loaded, PipelineConfig
from conf.loader import flat, override, parse, to_dict
from jobs.core.errors import UserError
from jobs.core.naming import MEASURE
from jobs.core.stage import Stage, canonical
from jobs.ingest.catalogue import IngestOverrides
from jobs.records.job_log import JobLog
from jobs.runs.prepare import RunRequest
from jobs.runs.replay_spec import Replay
from jobs.stages.build import build, step_named
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import snapshot_spec


def from_data(workspace: Workspace, data: Mapping[str, Any]) -> RunRequest:
    """Return the request that `RunRequest.as_data` gave. Raises `UserError` for an outdated configuration."""
    descent = data.get("replay")
    return RunRequest(
        workspace,
        list(data["inputs"]),
        Loaded(_config(data["config"]), data["profile"]),
        IngestOverrides(tuple(data["stream_ids"]), data["rebind"], data["allow_missing"], data.get("reread", False)),
        data["limit"],
        data["ray_address"],
        data["on_error"],
        replay=Replay.from_data(descent) if descent else None,
        strict=data.get("strict", False),
    )


def of_job(workspace: Workspace, job_id: str) -> RunRequest:
    """Return the last request of a job: from its records, or for runs that have none, from their row."""
    for record in reversed(JobLog(workspace.root, job_id).records()):
        if "request" in record.data:
            return from_data(workspace, record.data["request"])
    row = snapshot_spec.find_run(Store(workspace.root), job_id)
    # With one input and one stream, the id is that of the input.
    ids = tuple(row["streams"]) if len(row["streams"]) == len(row["inputs"]) == 1 else ()
    loaded = Loaded(_config(json.loads(row["config"])), row["profile"])
    return RunRequest(workspace, row["inputs"], loaded, IngestOverrides(ids))


def replay(
    workspace: Workspace, job_id: str, start: str, settings: Sequence[str] = (), promote: bool = False
) -> RunRequest:
    """Return the request for a child of a run that recomputes from a stage on, with other settings.

    Raises `UserError`, with every reason, where the settings or the code would change a stage above that one.
    """
    parent, request = _parent(workspace, job_id)
    try:
        config = override(request.loaded.config, settings)
    except ConfigError as error:
        raise UserError(error.problems) from error
    step = step_named(start, config)
    stages = build(config)
    above = stages[: next((n for n, s in enumerate(stages) if s.name == start), 0)]
    problems = [*_other_frames(request.loaded.config, config), *_changes_above(above, start, parent, workspace)]
    if problems:
        raise UserError(problems)
    descent = Replay(parent["job_id"], tuple(parent["streams"]), step, promote)
    return _child(request, descent, config, None if step == MEASURE else 0)


def recompute_stage(workspace: Workspace, job_id: str, stage: str) -> RunRequest:
    """Return the request to recompute one stage of a run from stored inputs. Raises `UserError` if that cannot be."""
    parent, request = _parent(workspace, job_id)
    stages = build(request.loaded.config)
    if stage not in {s.name for s in stages}:
        raise UserError(f"run {parent['job_id']} has no stage {stage!r}; it has {', '.join(s.name for s in stages)}")
    if problems := list(changed_code(stages, parent, workspace)):
        raise UserError(problems)
    descent = Replay(
        parent["job_id"], tuple(parent["streams"]), step_named(stage, request.loaded.config), recompute=stage
    )
    return _child(request, descent, request.loaded.config, None)


def retry_quarantined(workspace: Workspace, job_id: str) -> RunRequest:
    """Return the request to retry the quarantined frames of a run and what depends on them. Raises `UserError`."""
    parent, request = _parent(workspace, job_id)
    if problems := list(changed_code(build(request.loaded.config), parent, workspace)):
        raise UserError(problems)
    held = Store(workspace.root).read(schemas.QUARANTINE, ("stream_id",))["stream_id"].to_pylist()
    if not set(held) & set(parent["streams"]):
        raise UserError(f"no frame of run {parent['job_id']} is in quarantine (see winnow inspect quarantine)")
    descent = Replay(parent["job_id"], tuple(parent["streams"]), quarantined=True)
    return _child(request, descent, request.loaded.config, None)


def _parent(workspace: Workspace, job_id: str) -> tuple[dict[str, Any], RunRequest]:
    parent = snapshot_spec.find_run(Store(workspace.require().root), job_id)
    return parent, of_job(workspace, parent["job_id"])


def _child(request: RunRequest, descent: Replay, config: PipelineConfig, limit: int | None) -> RunRequest:
    return replace(request, replay=descent, loaded=Loaded(config, request.loaded.profile), limit=limit)


def _other_frames(before: PipelineConfig, after: PipelineConfig) -> Iterator[str]:
    """Yield a line for every setting with which a run would read other frames than its parent."""
    old, new = flat(to_dict(before)), flat(to_dict(after))
    for key in new:
        if key.startswith("ingest.") and old[key] != new[key]:
            yield f"--set {key}={new[key]}: a replay takes the frames that its parent took; use winnow run instead"


def _changes_above(above: Sequence[Stage], start: str, parent: Mapping[str, Any], workspace: Workspace) -> list[str]:
    recorded = _recorded(parent, workspace)
    problems = []
    for stage in above:
        row = recorded.get(stage.name)
        if row is None:
            problems.append(f"stage {stage.name} is above --from {start}, and run {parent['job_id']} did not have it")
            continue
        was, now = json.loads(row["params"]), canonical(stage.params)
        changed = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
        problems += [
            f"--set {name} changes stage {stage.name}, which is above --from {start}; use --from {stage.name}"
            for name in changed
        ]
        if row["rule"] != (stage.rule and stage.rule.sql):
            problems.append(
                f"the frames of stage {stage.name} are not selected as in run {parent['job_id']}, and it is "
                f"above --from {start}; use --from {stage.name}"
            )
    return problems + list(changed_code(above, parent, workspace))


def changed_code(stages: Sequence[Stage], parent: Mapping[str, Any], workspace: Workspace) -> Iterator[str]:
    """Yield a line for every stage that this version of the program computes differently."""
    recorded = _recorded(parent, workspace)
    for stage in stages:
        if stage.name in recorded and recorded[stage.name]["code_hash"] != stage.code_hash:
            yield (
                f"stage {stage.name}: its code has changed since run {parent['job_id']} was made; "
                "use winnow run instead"
            )


def _recorded(parent: Mapping[str, Any], workspace: Workspace) -> dict[str, dict[str, Any]]:
    rows = Store(workspace.root).read(schemas.STAGE_RUNS)
    return {r["stage"]: r for r in rows.filter(pc.equal(rows["job_id"], parent["job_id"])).to_pylist()}


def _config(values: Mapping[str, Any]) -> PipelineConfig:
    try:
        return parse(values)
    except ConfigError as error:
        raise UserError([f"the recorded configuration: {problem}" for problem in error.problems]) from error
