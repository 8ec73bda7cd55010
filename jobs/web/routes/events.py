"""One stream of events for a browser, with ids by which it continues after a cut."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from jobs.accounts import members
from jobs.accounts.errors import TooManyTriesError
from jobs.web.event_ring import Event, EventRing
from jobs.web.identity import Identity, Me, database_of, identify
from jobs.web.version import build, version
from jobs.web.watcher import Watcher

router = APIRouter(tags=["events"])

_CHECK_S = 1.0
"""After how long it is checked again who listens, and what they may see."""

MOST_STREAMS = 32
"""Streams of one person at a time: a browser has one, for all its tabs."""

_QUIET_S = 15.0
_RETRY_MS = 1000
_FULL_S = 15.0


async def _limit(who: Me, request: Request) -> None:
    """Raise `TooManyTriesError` where somebody follows too many streams already."""
    if request.app.state.metrics.streams[who.user_id] >= MOST_STREAMS:
        raise TooManyTriesError(_FULL_S, f"{MOST_STREAMS} streams of events are open, the most for a person; try again")


@router.get("/events", name="events", response_class=EventSourceResponse, dependencies=[Depends(_limit)])
async def events(
    who: Me, request: Request, last_event_id: Annotated[str | None, Header()] = None
) -> AsyncIterator[ServerSentEvent]:
    """Stream what happens in the projects that one may see: `hello`, `job`, `job_cleared`, `tables`, `reset`.

    A page fetches what it shows after `hello`, and once more after `reset`, which says that events were lost: of one
    project where it names one. The stream ends within
    two seconds when the session ends or the account is disabled.
    """
    ring = cast("EventRing", request.app.state.ring)
    watcher = cast("Watcher", request.app.state.watcher)
    visible = await run_in_threadpool(_visible, request, who)
    open_streams: Counter[str] = request.app.state.metrics.streams
    open_streams[who.user_id] += 1
    try:
        await watcher.follow(visible)
        try:
            async for event in _stream(request, ring, visible, last_event_id):
                yield event
        finally:
            watcher.leave(visible)
    finally:
        open_streams[who.user_id] -= 1


async def _stream(
    request: Request, ring: EventRing, visible: frozenset[str], last_event_id: str | None
) -> AsyncIterator[ServerSentEvent]:
    position = ring.number_of(last_event_id)
    is_known = position is not None and ring.after(position) is not None
    start = position if position is not None and is_known else ring.last
    hello = {"build": build(), "version": version()}
    yield ServerSentEvent(raw_data=json.dumps(hello), event="hello", id=ring.id_of(start), retry=_RETRY_MS)
    if last_event_id is not None and not is_known:
        yield ServerSentEvent(raw_data="{}", event="reset", id=ring.id_of(start))
    checked = spoken = time.monotonic()
    while not request.app.state.is_stopping.is_set():
        now = time.monotonic()
        if now - checked >= _CHECK_S:
            who = await run_in_threadpool(identify, request)
            if who is None or await run_in_threadpool(_visible, request, who) != visible:
                # The browser connects again, and sees what it may see then.
                return
            checked = now
        found = ring.after(start)
        if found is None:
            start = ring.last
            yield ServerSentEvent(raw_data="{}", event="reset", id=ring.id_of(start))
            continue
        for event in found:
            start = event.number
            if event.project is None or event.project in visible:
                yield _sent(ring, event)
                spoken = now
        if now - spoken >= _QUIET_S:
            yield ServerSentEvent(comment="quiet")
            spoken = now
        await ring.wait(_CHECK_S)


def _sent(ring: EventRing, event: Event) -> ServerSentEvent:
    data = {"project": event.project, **event.data}
    return ServerSentEvent(raw_data=json.dumps(data), event=event.kind, id=ring.id_of(event.number))


def _visible(request: Request, who: Identity) -> frozenset[str]:
    """Return the projects of which somebody gets events."""
    names = [project.name for project in request.app.state.projects.all()]
    if not who.is_admin:
        with database_of(request).read() as connection:
            roles = members.projects_of(connection, who.user_id)
        names = [name for name in names if name in roles]
    only = who.key.project if who.key else None
    return frozenset(name for name in names if only in {None, name})
