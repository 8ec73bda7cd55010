"""Images of frames, by stream and number: never by a path of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, cast

from blake3 import blake3
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

import schemas
from jobs.web.media import Encoded, Media, Wanted, Width
from jobs.web.problems import GoneError, MissingError, UndecodableError
from jobs.web.project_data import ProjectData, Shown
from jobs.web.routes.project_parts import Data, Number, Stream
from transforms.frames.clip import FrameName

router = APIRouter(tags=["frames"])

_FOREVER = "private, max-age=31536000, immutable"
_CHECK = "private, no-cache"
_LOOK_S = 0.5
_LONGEST_S = 30.0
_NEAR = 16
"""Frames of a clip before and after one that somebody wants to see, which are made ready."""

Hash = Annotated[str, Query(pattern=r"^[0-9a-f]{16,64}$", description="Content hash, or its first 16 digits or more.")]


@router.get(
    "/projects/{project}/media/frame",
    name="frame_image",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}, "image/png": {}, "image/webp": {}, "image/gif": {}}}},
)
async def frame_image(
    request: Request, data: Data, stream: Stream, idx: Number, h: Hash | None = None, w: Width = "320"
) -> Any:
    """Return the image of a frame, at most `w` pixels on its longer side, upright; `full` is as large as it is.

    410 where the content of the frame is not `h`, or its file has changed since it was measured. 422 for a frame that
    does not decode.
    """
    media = cast("Media", request.app.state.media)
    found = await run_in_threadpool(_known, media, data, stream, idx, h, w)
    tag = f'"{found.hash}-{w}"'
    headers = {"etag": tag, "cache-control": _FOREVER if h is not None else _CHECK}
    if tag in [part.strip() for part in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    encoded = found.encoded
    if encoded is None:
        assert found.wanted is not None
        encoded = await image_of(request, media, found.wanted, w, found.near)
    return Response(encoded.data, media_type=encoded.kind, headers=headers)


class _Known(NamedTuple):
    """The first digits of a frame's content hash, and either its image or what is needed to make it."""

    hash: str
    wanted: Wanted | None = None
    encoded: Encoded | None = None
    near: tuple[Wanted, ...] = ()


def _known(media: Media, data: ProjectData, stream: str, idx: int, h: str | None, w: Width) -> _Known:
    shown = data.shown()
    label = f"frame {idx} of stream {stream[:100]}"
    row = shown.frames.keys.find(stream, idx)
    if row is None:
        raise MissingError(f"there is no {label}")
    short = shown.frames.hashes([row])[0]
    if h is not None and h[: len(short)] != short:
        raise GoneError(f"{label} has other content now; load the page again")
    cache_name = f"{short}{_place(shown, stream)}"
    if cached := media.cached(cache_name, w):
        return _Known(short, encoded=Encoded(cached, "image/jpeg"))
    columns = ("uri", "content_hash", "status", "error", "white_level")
    around = shown.frames.rows_around(row, _NEAR, ("frame_idx", *columns)).to_pylist()
    found = next((one for one in around if one["frame_idx"] == idx), None)
    if found is None:
        raise MissingError(f"there is no {label}")
    if h is not None and not found["content_hash"].startswith(h):
        raise GoneError(f"{label} has other content now; load the page again")
    if found["status"] != "ok":
        raise UndecodableError(f"{label} has no image: {found['error'] or 'its bytes do not decode'}")
    wanted = Wanted(cache_name, found["uri"], found["content_hash"], found["white_level"], label)
    if w == "full" or FrameName.parse(found["uri"]) is None:
        return _Known(short, wanted)
    # The decoder is where the next ones are; those before take it from their keyframe on.
    after = [one for one in around if one["frame_idx"] > idx]
    before = [one for one in around if one["frame_idx"] < idx]
    place = cache_name.removeprefix(short)
    near = (
        Wanted(
            f"{one['content_hash'][: len(short)]}{place}", one["uri"], one["content_hash"], one["white_level"], label
        )
        for one in sorted(after, key=_number) + sorted(before, key=_number)
        if one["status"] == "ok"
    )
    return _Known(short, wanted, near=tuple(near))


def _number(row: dict[str, Any]) -> int:
    return int(row["frame_idx"])


def _place(shown: Shown, stream: str) -> str:
    """Return what else an image depends on: clips of equal content may be turned, and levels of white may be set.

    No project sees images that another one made.
    """
    key = shown.view.selection.keys[schemas.FRAMES.written_by][stream]
    return blake3(f"{shown.store.root}\0{stream}\0{key}".encode()).hexdigest()[:16]


async def image_of(request: Request, media: Media, wanted: Wanted, w: Width, near: Sequence[Wanted] = ()) -> Encoded:
    """Wait for an image, as long as the browser does; `near` are made ready afterwards."""
    task = media.request(wanted, w, near)
    waiting = asyncio.wrap_future(task.result)
    # What nobody waits for any more may fail unheard.
    waiting.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    try:
        for _ in range(int(_LONGEST_S / _LOOK_S)):
            await asyncio.wait({waiting}, timeout=_LOOK_S)
            if waiting.done() or await request.is_disconnected():
                break
    finally:
        media.release(task)
    if waiting.cancelled() or not waiting.done():
        raise HTTPException(503, f"{wanted.label}: many images are requested at once; ask for it again")
    return waiting.result()
