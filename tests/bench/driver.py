"""A run, or a plan, in a process of its own; prints what it took as one JSON object."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

from jobs.core.memory import share_one_allocator

_STARTED = time.perf_counter()


def main() -> None:
    """Do what the arguments say: `run WORKSPACE FOLDER …`, `plan WORKSPACE STREAMS FRAMES`, `group KIND N OLD …`,
    `decide FOLDER`, `embed WEIGHTS FOLDER BATCH` or `detect WEIGHTS FOLDER`.

    What follows are settings, KEY=VALUE.
    """
    share_one_allocator()
    what, place, *rest = sys.argv[1:]
    if what == "embed":
        result = _embed(place, *rest)
    elif what == "detect":
        result = _detect(place, *rest)
    elif what == "decide":
        result = _decide(place)
    elif what == "group":
        result = _group(place, int(rest[0]), int(rest[1]), *rest[2:])
    else:
        result = _run(place, *rest) if what == "run" else _plan(place, int(rest[0]), int(rest[1]))
    print(json.dumps(result | {"peak_mb": _peak_mb(), "process_s": time.perf_counter() - _STARTED}))


def _peak_mb() -> float:
    """Return the most memory this process held; getrusage would count what its parent held when it forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _run(place: str, folder: str, *settings: str) -> dict[str, object]:
    from conf import load
    from jobs.runs.run import RunRequest, run
    from jobs.storage.workspace import Workspace

    return run(RunRequest(Workspace.at(place), [folder], load(settings=settings))).summary()


def _embed(weights: str, folder: str, batch: str) -> dict[str, object]:
    from tests.bench.bare import embedding_rate

    return {"frames_per_second": embedding_rate(sorted(Path(folder).iterdir()), Path(weights), int(batch))}


def _detect(weights: str, folder: str) -> dict[str, object]:
    from tests.bench.bare import detection_rate

    return {"frames_per_second": detection_rate(sorted(Path(folder).iterdir()), Path(weights))}


def _decide(home: str) -> dict[str, object]:
    from tests.bench.many_streams import decide

    started = time.perf_counter()
    return {"job_id": decide(Path(home)), "seconds": time.perf_counter() - started}


def _plan(place: str, n_streams: int, n_frames: int) -> dict[str, object]:
    from conf import PipelineConfig
    from jobs.passes.pixel_plan import Listed, Planner
    from jobs.stages.build import build
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(place).root)
    streams = [Listed(f"stream{number}", 1, n_frames) for number in range(n_streams)]
    started = time.perf_counter()
    plan = Planner(store, build(PipelineConfig()), streams).survey()
    frames = sum(plan.stage_total(stage).n_frames for stage in ("frames",))
    return {"seconds": time.perf_counter() - started, "frames": frames, "open": plan.n_open}


def _group(kind: str, n: int, n_old: int, *settings: str) -> dict[str, object]:
    """Group N hashes of which the first have groups already."""
    import pyarrow as pa

    import schemas
    from conf import load
    from jobs.engine.ray_engine import Engine
    from jobs.passes.distributed_pairs import sharing
    from tests.bench.material import fingerprints
    from transforms.curate.duplicates.grouping import group_frames

    config = load(settings=settings).config
    params = config.duplicates
    frames = fingerprints(kind, n)
    old = schemas.DUPLICATES.file_schema.empty_table()
    # What is compiled at the first call is compiled once per machine.
    group_frames(frames.slice(0, 100), old, params)
    if n_old:
        old = group_frames(frames.slice(0, n_old), old, params).added
    with contextlib.ExitStack() as stack:
        near = None
        if params.join == "shuffle":
            engine = stack.enter_context(Engine(config.resources))
            near = sharing(params, lambda: engine, lambda: None)
            # A cluster that is asked has been at work: its workers are there and have compiled what they need.
            group_frames(frames.slice(0, 1000), schemas.DUPLICATES.file_schema.empty_table(), params, near)
        started = time.perf_counter()
        grouping = group_frames(frames, old, params, near)
        seconds = time.perf_counter() - started
    ids = pa.chunked_array([*old["group_id"].chunks, *grouping.added["group_id"].chunks])
    return {"seconds": seconds, "groups": len(ids.unique())}


if __name__ == "__main__":
    main()
