"""The map of a project's frames, and frames that are like one."""

from __future__ import annotations

import json
from typing import Annotated, Any, cast

import numpy as np
from fastapi import APIRouter, Query, Request, Response

import schemas
from jobs.core.errors import UserError
from jobs.web.frame_filters import chosen
from jobs.web.map_colours import colours, columns
from jobs.web.plain import number
from jobs.web.problems import MissingError
from jobs.web.project_data import Shown
from jobs.web.projections import MapBy, frame_map, kinds
from jobs.web.routes.frames import Wanted
from jobs.web.routes.project_parts import Data, Number, Stream
from jobs.web.similar_frames import SimilarBy, similar
from jobs.web.text_search import TextEncoders, similar_to_text

router = APIRouter(prefix="/projects/{project}", tags=["frames"])

_SCHEMA = {"type": "string", "format": "binary"}
_BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {"schema": _SCHEMA}}}}
_ALIGNED = 4


@router.get("/columns", name="list_columns")
def list_columns(data: Data) -> Any:
    """Return what the columns of tables with a row per frame, or an interval of frames, mean, with their units."""
    data.shown()
    return {
        "tables": {
            table.name: {column.name: {"unit": column.unit, "doc": column.doc} for column in table.columns}
            for table in schemas.ALL
            if table.per_frame or table.of_intervals or table is schemas.OVERRIDES
        }
    }


@router.get("/similar", name="list_similar")
def list_similar(
    data: Data,
    stream: Stream,
    idx: Number,
    by: SimilarBy = "hash",
    limit: Annotated[int, Query(ge=1, le=200)] = 24,
) -> Any:
    """Return the frames that are most like one: by perceptual hash, or by embedding where there are any."""
    shown = data.shown()
    row = shown.frames.keys.find(stream, idx)
    if row is None:
        raise MissingError(f"there is no frame {idx} of stream {stream[:100]!r}")
    return similar(shown, row, by, limit)


@router.get("/search", name="search_frames")
def search_frames(
    data: Data,
    request: Request,
    text: Annotated[str, Query(min_length=1, max_length=500)],
    limit: Annotated[int, Query(ge=1, le=200)] = 48,
) -> Any:
    """Return the frames that are most like a text, by the embeddings of a CLIP model, with the cosine of each.

    The first request after a while loads the model, which takes seconds.
    """
    if not text.strip():
        raise UserError("text: expected words, found none")
    encoders = cast("TextEncoders", request.app.state.text_encoders)
    return similar_to_text(data.shown(), encoders, text.strip(), limit)


@router.get("/map", name="get_map", response_class=Response, responses=_BYTES)
def get_map(data: Data, by: MapBy | None = None) -> Response:
    """Return where each frame is on the map.

    The answer is the length of a JSON object in bytes as uint32, the object, padded to a multiple of four bytes with
    it, and x and y of all frames in order of stream and number, uint16 each, from 0 to 65534, 65535 for frames that are
    not on it; all little-endian. `by` are the vectors whose principal components are shown, those of a model if there
    are any; or the map that `winnow map` has stored.
    """
    shown = data.shown()
    there = kinds(shown)
    by = by or (there[0] if there else "layout")
    found = frame_map(shown, by)
    head = {
        "version": shown.version,
        "frames": len(found.x),
        "known": int(found.known.sum()),
        "by": by,
        "kinds": there,
        "explained": found.explained,
        "columns": columns(shown),
    }
    return _binary(head, found.x.astype("<u2").tobytes(), found.y.astype("<u2").tobytes())


@router.get("/map/colours", name="get_map_colours", response_class=Response, responses=_BYTES)
def get_map_colours(
    data: Data, wanted: Wanted, column: Annotated[str, Query(min_length=1, max_length=200)] = "keep"
) -> Response:
    """Return the colour of each frame by a column of `curated`, and which frames fulfil the filters.

    As for the map: an object with the legend, then a byte for each frame (255 for no value), and another one, 1 for
    those that fulfil the filters. Numbers are from 0 to 254 between `low` and `high`.
    """
    shown = data.shown()
    found = colours(shown, column)
    mask = chosen(shown, wanted)
    head = {"version": shown.version, "legend": found.legend, "chosen": int(mask.sum())}
    return _binary(head, found.codes.tobytes(), mask.astype(np.uint8).tobytes())


@router.get("/map/nearest", name="get_map_nearest")
def get_map_nearest(
    data: Data, x: Annotated[float, Query(ge=0, le=1)], y: Annotated[float, Query(ge=0, le=1)], by: MapBy = "layout"
) -> Any:
    """Return the frame that is nearest to a place on the map, from 0 to 1 each way; None on an empty map."""
    shown = data.shown()
    row = frame_map(shown, by).nearest(x, y)
    return {"frame": None if row is None else _named(shown, row)}


def _named(shown: Shown, row: int) -> dict[str, Any]:
    stream, idx = shown.frames.keys.frame(row)
    return {"stream_id": stream, "frame_idx": number(idx), "h": shown.frames.hashes([row])[0]}


def _binary(head: dict[str, Any], *columns_of_bytes: bytes) -> Response:
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % _ALIGNED)
    body = b"".join([len(text).to_bytes(4, "little"), text, *columns_of_bytes])
    return Response(body, media_type="application/octet-stream", headers={"cache-control": "private, no-cache"})
