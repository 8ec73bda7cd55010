"""The application: all routes, and what they share: tables, previews, images, jobs, events."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from jobs.accounts import passwords
from jobs.accounts.database import Database
from jobs.dispatch.line_worker import LineWorker
from jobs.dispatch.mask_worker import MaskWorker
from jobs.dispatch.trial_worker import TrialWorker
from jobs.storage.locks import Lock
from jobs.web.assembly import add_routes, new_app
from jobs.web.event_ring import EventRing
from jobs.web.gpu_jobs import RunningJobs
from jobs.web.journals import Journals
from jobs.web.media import Media
from jobs.web.metrics import Metrics
from jobs.web.overviews import Overviews
from jobs.web.places import server_folder
from jobs.web.previews import Previews
from jobs.web.project_data import ProjectsData
from jobs.web.release_differences import ReleaseDifferences
from jobs.web.reviews import Reviews
from jobs.web.routes import (
    accounts,
    configuration,
    dataset_figures,
    datasets,
    events,
    frame_debug,
    frames,
    health,
    jobs,
    keymaps,
    maps,
    masks,
    media,
    metrics,
    model_frames,
    models,
    oidc,
    overrides,
    overview,
    projects,
    review,
    review_project,
    seen_frames,
    session,
    streams,
    thresholds,
    trainings,
    uploads,
)
from jobs.web.seen_frames import SeenFrames
from jobs.web.settings import Settings
from jobs.web.text_search import TextEncoders
from jobs.web.uploads import Uploads
from jobs.web.watcher import Watcher

_ROUTES = (
    health,
    session,
    oidc,
    accounts,
    projects,
    jobs,
    keymaps,
    seen_frames,
    configuration,
    datasets,
    dataset_figures,
    events,
    models,
    model_frames,
    overrides,
    overview,
    streams,
    frame_debug,
    frames,
    maps,
    media,
    metrics,
    thresholds,
    trainings,
    review,
    review_project,
    masks,
    uploads,
)
_SWEEP_S = 60.0
_GPU_S = 2.0


def create_app(
    settings: Settings,
    database: Database,
    port: int,
    lock: Lock | None = None,
    on_start: Callable[[], None] | None = None,
    is_stopping: threading.Event | None = None,
    counted: Metrics | None = None,
) -> FastAPI:
    """Return the application for a server at a port. Raises `LookupError` for a route that no rule covers."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The first name that nobody has takes no longer than others.
        loop = asyncio.get_running_loop()
        decoy = loop.create_task(app.state.hashing.run(passwords.decoy))
        app.state.ring = EventRing()
        app.state.watcher = Watcher(app.state.ring, app.state.projects, app.state.overviews)
        app.state.uploads.start(app.state.ring)
        await asyncio.to_thread(app.state.reviews.start)
        if on_start is not None:
            on_start()
        workers: list[LineWorker] = [app.state.masks, app.state.trials]
        idle, gpu = _free_idle(app.state.data, app.state.previews), _free_gpu(workers)
        sweepers = [loop.create_task(idle), loop.create_task(gpu)]
        yield
        for task in (decoy, *sweepers):
            task.cancel()
        await app.state.uploads.close()
        await asyncio.to_thread(app.state.reviews.close)
        app.state.media.close()
        await asyncio.to_thread(app.state.text_encoders.close)
        for worker in workers:
            await asyncio.to_thread(worker.close)
        app.state.hashing.close()

    app = new_app(settings, database, lock, is_stopping, lifespan, counted)
    app.state.data = ProjectsData(app.state.projects)
    app.state.previews = Previews()
    app.state.differences = ReleaseDifferences()
    app.state.reviews = Reviews(database, app.state.data, app.state.projects, settings.recovers)
    app.state.media = Media(server_folder(settings) / "images")
    busy = RunningJobs(app.state.projects).first_here
    app.state.masks = MaskWorker(settings.mask_weights, settings.mask_device, busy)
    app.state.trials = TrialWorker(settings.mask_device, busy)
    app.state.uploads = Uploads(app.state.projects, settings.upload_quota)
    app.state.overviews = Overviews()
    app.state.journals = Journals()
    app.state.seen = SeenFrames()
    app.state.text_encoders = TextEncoders()
    add_routes(app, _ROUTES, port)
    return app


async def _free_idle(data: ProjectsData, previews: Previews) -> None:
    """Free what nobody asks for, as long as the server runs."""
    while True:
        await asyncio.sleep(_SWEEP_S)
        data.free_idle()
        previews.free_idle()


async def _free_gpu(workers: Sequence[LineWorker]) -> None:
    """Have processes next to the server give the GPU to a job that begins, as long as it runs."""
    while True:
        await asyncio.sleep(_GPU_S)
        for worker in workers:
            await asyncio.to_thread(worker.free)
