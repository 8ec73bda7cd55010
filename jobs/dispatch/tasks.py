"""Jobs of the queue that are no runs: submitted, claimed by a gateway, and recorded in journal and log as runs are."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

import schemas
from jobs.core.errors import JobStateError, JobWaits, RunStopped, UserError, one_line
from jobs.core.naming import new_job_id
from jobs.datasets import release
from jobs.datasets.export import export
from jobs.datasets.frame_sampling import select
from jobs.dispatch import control_token
from jobs.dispatch.job_queue import JobQueue, QueuedJob
from jobs.dispatch.task_options import (
    ExportOptions,
    FollowOptions,
    LoopJobOptions,
    MapOptions,
    ReleaseOptions,
    SelectOptions,
    TaskOptions,
    check,
    kind_of,
    parse,
)
from jobs.evaluation.options import EVALUATIONS, EvaluateOptions
from jobs.records.job_claim import JobClaim
from jobs.records.job_log import JobLog
from jobs.records.journal import Journal
from jobs.records.run_events import ProgressListener, SilentListener
from jobs.storage.path_interface import TEMPORARY
from jobs.storage.paths import Place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training.options import TRAININGS, TrainOptions
from jobs.views.snapshot_spec import find_release

_FOLDER = "exports"


def submit(workspace: Workspace, options: TaskOptions, priority: int = 0) -> str:
    """Add a job to the queue and return its id.

    Raises `UserError` for options that cannot be right, a training on a release that is not there, without the control
    token of a workspace that asks for one, and for an export of a workspace in a bucket, which has no place for a file
    to download.
    """
    root = workspace.require().root
    control_token.check(root)
    check(options, root)
    if isinstance(options, EvaluateOptions):
        options = options.resolved(Store(root))
    if isinstance(options, TrainOptions):
        find_release(Store(root), options.release)
    if isinstance(options, ExportOptions) and root.on_disk() is None:
        raise UserError(f"exports to download are made on disk; use `winnow export --workspace {root} --out PLACE`")
    job_id = new_job_id()
    data = {"kind": kind_of(options), "task": options.model_dump(mode="json"), "priority": priority}
    JobLog(root, job_id).add("submitted", data, after=0)
    return job_id


def run(workspace: Workspace, job: QueuedJob, listener: ProgressListener | None = None) -> dict[str, Any]:
    """Run a job that was claimed for this process, and return what is recorded of its result.

    It may have been begun before: what was made is made again or found, never doubled. Raises what ends it early, after
    recording that.
    """
    listener = listener or SilentListener()
    kind = job.kind
    options = parse(kind, job.submitted.get("task", {}))
    started_ns = time.time_ns()
    claim = JobClaim.take(workspace.root, job.job_id, listener, claimed=True)
    journal = Journal.of(workspace.root, job.job_id)
    try:
        journal.write("run_started", at_ns=started_ns, data={"profile": kind, "stages": [kind]})
        journal.write("stage_started", stage=kind)
        if isinstance(options, TrainOptions):
            from jobs.training.train_release import TrainJob
            from jobs.training.train_release import run as train

            result = train(TrainJob(workspace, job.job_id, claim, journal, listener), options)
        elif isinstance(options, EvaluateOptions):
            from jobs.evaluation.evaluate_model import EvaluateJob
            from jobs.evaluation.evaluate_model import run as evaluate

            result = evaluate(EvaluateJob(workspace, job.job_id, claim, journal, listener), options)
        elif isinstance(options, LoopJobOptions):
            from jobs.active_learning.run import LoopJob
            from jobs.active_learning.run import run as run_loop
            from jobs.dispatch.child_jobs import LoopChildJobs

            children = LoopChildJobs(workspace, job.job_id, listener)
            result = run_loop(LoopJob(workspace, job.job_id, claim, journal, children), options.loop)
        else:
            result = _result(workspace, job.job_id, options, _Reporter(claim, journal))
        claim.check()
        seconds = round((time.time_ns() - started_ns) / 1e9, 6)
        journal.write("stage_done", stage=kind, rows=result.get("frames"), seconds=seconds, data=result)
        claim.release("done", {"result": result})
        journal.write("run_done", seconds=seconds)
    except BaseException as error:
        state = error.state if isinstance(error, RunStopped) else "paused" if listener.interrupted else "failed"
        said = one_line(error) or type(error).__name__
        state = claim.release(state, {"error": said} if state == "failed" else _waiting(error))
        if state == "cancelled":
            forget(workspace.root, job.job_id)
        word = state if state in {"paused", "cancelled", "failed"} else "paused"
        journal.write(f"run_{word}", error=said if state == "failed" else None)
        if not isinstance(error, RunStopped):
            raise
        return {}
    finally:
        journal.close()
    return result


def _waiting(error: BaseException) -> dict[str, Any] | None:
    """Return what is recorded of a job that waits for something outside; None for another one."""
    if not isinstance(error, JobWaits):
        return None
    return {"reason": error.what, "not_before_ns": time.time_ns() + int(error.wait_s * 1e9)}


def run_here(workspace: Workspace, job_id: str, listener: ProgressListener) -> dict[str, Any]:
    """Run a job of the queue in this process, as a gateway would; empty where it was paused or cancelled meanwhile.

    Raises `JobStateError` for one that a gateway has taken, or that is over.
    """
    queue = JobQueue(workspace.require().root)
    job = _live(queue, job_id)
    if job is not None and queue.is_abandoned(job):
        queue.return_to_queue(job, "its process ended")
        job = _live(queue, job_id)
    if job is None or not job.is_due(time.time_ns()) or not queue.claim(job):
        state = "over" if job is None else job.state.state
        raise JobStateError(f"job {job_id} is {state}, expected one that waits; `winnow job watch {job_id}` follows it")
    claimed = _live(queue, job_id)
    assert claimed is not None, job_id
    return run(workspace, claimed, listener)


def _live(queue: JobQueue, job_id: str) -> QueuedJob | None:
    return next((job for job in queue.live() if job.job_id == job_id), None)


def exported_file(root: Place, job_id: str) -> Path:
    """Return where the export of a job of the workspace at `root` is, or will be."""
    folder = (root / _FOLDER).on_disk()
    assert folder is not None, root
    return folder / f"{job_id}.zip"


def figures_of(root: Place, job_id: str) -> dict[str, Any] | None:
    """Return the manifest of an export without its list of files, also after its file was deleted; None if unknown."""
    try:
        found = json.loads(_figures_file(root, job_id).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def forget(root: Place, job_id: str) -> None:
    """Delete all that an export, a training or an evaluation has made or begun to make."""
    if (root / _FOLDER).on_disk() is None:
        return
    file = exported_file(root, job_id)
    for path in (file, _temporary(file), _figures_file(root, job_id)):
        path.unlink(missing_ok=True)
    folders = [(root / part / job_id).on_disk() for part in (TRAININGS, EVALUATIONS)]
    for folder in (file.with_suffix(""), *folders):
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class _Reporter(SilentListener):
    """Writes the progress of an export into its journal, and ends it where somebody requested that."""

    def __init__(self, claim: JobClaim, journal: Journal) -> None:
        self._claim = claim
        self._journal = journal
        self._stage = ""

    def on_stage_started(self, what: str, total: int | None) -> None:
        """Say how much there is to do."""
        self._stage = what
        self._journal.write("stage_started", stage=what, frames=total)

    def on_frames_done(self, frames: int) -> None:
        """Say what was done. Raises `RunStopped` where the job is to end."""
        if frames:
            self._journal.write("block_done", stage=self._stage, frames=frames)
        self.check()

    def check(self) -> None:
        """Raise `RunStopped` where the job is to end."""
        self._claim.check()


def _result(
    workspace: Workspace,
    job_id: str,
    options: SelectOptions | ReleaseOptions | ExportOptions | MapOptions | FollowOptions,
    reporter: _Reporter,
) -> dict[str, Any]:
    if isinstance(options, MapOptions):
        from jobs.datasets.frame_map import make_map

        return make_map(workspace, options.request(), reporter.check)
    if isinstance(options, SelectOptions):
        found = select(workspace, options.request())
        return {"name": options.name, "frames": found["chosen"], "of": found["of"]}
    if isinstance(options, ReleaseOptions):
        return _release(workspace, job_id, options)
    if isinstance(options, FollowOptions):
        # It imports models.
        from jobs.dispatch.follow_objects import follow

        reporter.on_stage_started("follow", options.frames)
        return follow(workspace, job_id, options, reporter.on_frames_done)
    return _export(workspace, job_id, options, reporter)


def _release(workspace: Workspace, job_id: str, options: ReleaseOptions) -> dict[str, Any]:
    store = Store(workspace.root)
    rows = store.read(schemas.RELEASES, ("name", "note"))
    # An attempt that died after making it leaves this note.
    note = "; ".join(part for part in (options.note, f"made by job {job_id}") if part)
    made = rows.filter(pc.equal(rows["note"], note))["name"].to_pylist()
    if options.name not in made:
        release.create(store, options.name, options.run, note, options.streams or None)
    return {"name": options.name}


def _export(workspace: Workspace, job_id: str, options: ExportOptions, reporter: _Reporter) -> dict[str, Any]:
    """Write the dataset next to its file, pack it, and delete the folder."""
    file = exported_file(workspace.root, job_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    folder = workspace.root / _FOLDER / job_id
    manifest = export(workspace, options.request(folder), reporter)
    at = folder.on_disk()
    assert at is not None
    figures = {name: value for name, value in manifest.items() if name != "files"}
    _figures_file(workspace.root, job_id).write_text(json.dumps(figures))
    pack(at, file, reporter.check)
    shutil.rmtree(at)
    return {
        "frames": sum(manifest["frames"].values()),
        "splits": dict(manifest["frames"]),
        "objects": manifest.get("objects"),
        "format": options.format,
        "release": options.release,
        "file": file.name,
        "bytes": file.stat().st_size,
    }


def pack(folder: Path, file: Path, on_file: Callable[[], None] = lambda: None) -> None:
    """Write a folder as a zip file, whole or not at all: stored, since images do not get smaller, and without times.

    The same folder gives the same bytes. `on_file` is called after each file; what it raises ends the packing.
    """
    temporary = _temporary(file)
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            info.external_attr = 0o644 << 16
            large = path.stat().st_size >= zipfile.ZIP64_LIMIT
            with packed.open(info, "w", force_zip64=large) as sink, path.open("rb") as source:
                shutil.copyfileobj(source, sink, 1 << 20)
            on_file()
    temporary.replace(file)


def _temporary(file: Path) -> Path:
    return file.with_name(f"{TEMPORARY}{file.name}")


def _figures_file(root: Place, job_id: str) -> Path:
    return exported_file(root, job_id).with_suffix(".json")
