"""Frames with hundreds of objects of every kind, under names that tools stumble over, for circles through formats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import schemas
from tests.transforms.formats.exports.material import annotation, rle
from transforms.formats.exports.objects import Objects
from transforms.formats.outlines import filled
from transforms.formats.reviewing.known_frames import Known
from transforms.formats.reviewing.match_objects import Decided, decide
from transforms.formats.reviewing.shapes import Returned, image_name, parse_name

WIDTH, HEIGHT = 320, 200
CATEGORIES = ("person", "wild dog", 'a "quoted" & <odd> one', "été")
STREAMS = (
    *("plain", "a b", "a&b", "x<y>", "ü/ö", "日本", "🚗", "100%", "#1", "it's", 'say "hi"', "semi;colon", "comma,name"),
    *("{json}", "[x]", "back\\slash", "images", "labels/train", "a=b", "@home", "+plus", "$dollar", "~tilde", "null"),
    *("-dash", ".hidden", "CON", "x" * 100, "a?b*c|d:e", "001/00000002-0123456789abcdef"),
)
KINDS = ("box", "solid", "holed", "parts", "polygon", "polygons", "turned", "crowd", "tracked", "described")
N_COLUMNS, N_ROWS = 5, 4
_CELL_X, _CELL_Y = WIDTH // N_COLUMNS, HEIGHT // N_ROWS


def frames() -> pa.Table:
    """Return a frame of each stream, named as for a review."""
    hashes = [f"{at + 1:016x}" * 4 for at in range(len(STREAMS))]
    return pa.table(
        {
            "stream_id": list(STREAMS),
            "frame_idx": list(range(len(STREAMS))),
            "content_hash": hashes,
            "file_name": [
                "images/" + image_name(stream, at, content, ".jpg")
                for at, (stream, content) in enumerate(zip(STREAMS, hashes, strict=True))
            ],
            "width": [WIDTH] * len(STREAMS),
            "height": [HEIGHT] * len(STREAMS),
            "split": ["train"] * len(STREAMS),
        }
    )


def objects() -> Objects:
    """Return 20 objects on each frame, two of each kind, side by side."""
    rows = []
    for number, stream in enumerate(STREAMS):
        for cell in range(N_COLUMNS * N_ROWS):
            at = number * N_COLUMNS * N_ROWS + cell
            left, top = cell % N_COLUMNS * _CELL_X, cell // N_COLUMNS * _CELL_Y
            found = _object(KINDS[cell % len(KINDS)], at, left, top)
            box = found.pop("box")
            category = CATEGORIES[at % len(CATEGORIES)]
            rows.append(annotation(at + 1, stream, number, category, 0.25 + at % 64 / 128, *box, **found))
    names = [f for f in schemas.ANNOTATIONS.arrow_schema if f.name not in {"stage_key", "input_id"}]
    more = [schemas.REVIEWS.arrow_schema.field(name) for name in schemas.COLUMNS_BY_PEOPLE]
    return Objects.on(frames(), pa.Table.from_pylist(rows, pa.schema([*names, *more])), CATEGORIES)


def _object(kind: str, at: int, left: int, top: int) -> dict[str, Any]:
    # Edges on hundredths of a pixel, as float32 has them nearly.
    x, y = left + 6 + at % 7 * 0.37, top + 5 + at % 5 * 0.61
    box = (x, y, 30 + at % 11 * 1.13, 22 + at % 3 * 2.29)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    boxes: dict[str, dict[str, Any]] = {
        "box": {},
        "turned": {"rotation": [12.5, 90.0, 187.25, 359.0][at % 4]},
        "tracked": {"track_id": 7 * at % 1000},
        "described": {"attributes": json.dumps({"colour": "red", "occluded": True}), "text": "EXIT & <so> on"},
    }
    if kind in boxes:
        return {"box": box, **boxes[kind]}
    corners = np.array([[x, y], [x + 31.5, y + 3.25], [x + 25.125, y + 28], [x + 3, y + 20.75]])
    if kind == "polygon":
        return {**_masked(filled([corners], WIDTH, HEIGHT)), "polygons": [corners.reshape(-1).tolist()]}
    if kind == "polygons":
        rings = [corners[:3], corners[:3] + np.array([16, 8])]
        return {**_masked(filled(rings, WIDTH, HEIGHT)), "polygons": [ring.reshape(-1).tolist() for ring in rings]}
    cv2.ellipse(mask, (left + 25, top + 22), (18, 14), 20, 0, 360, (1,), -1)
    if kind == "holed":
        cv2.circle(mask, (left + 25, top + 22), 6, (0,), -1)
    if kind == "parts":
        mask[:, left + 24 : left + 27] = 0
    return {**_masked(mask), **({"is_crowd": True} if kind == "crowd" else {})}


def _masked(mask: npt.NDArray[np.uint8]) -> dict[str, Any]:
    y, x = np.nonzero(mask)
    box = (float(x.min()), float(y.min()), float(np.ptp(x) + 1), float(np.ptp(y) + 1))
    return {"box": box, "mask_rle": rle(mask)}


def known_frames(there: Objects) -> dict[str, Known]:
    """Return what the tables know of each frame, by its stream: what people add was drawn by Ada."""
    found = {}
    for row, frame in enumerate(frames().to_pylist()):
        all_ = {each["annotation_id"]: each for each in there.of(row)}
        by_people = {n: o for n, o in all_.items() if any(o[c] is not None for c in schemas.COLUMNS_BY_PEOPLE)}
        found[frame["stream_id"]] = Known(
            frame["stream_id"],
            frame["frame_idx"],
            frame["content_hash"],
            WIDTH,
            HEIGHT,
            shown={n: o for n, o in all_.items() if n not in by_people},
            said={n: {**o, "decision": "add", "author": "ada", "reviewer": "ada"} for n, o in by_people.items()},
            standing=all_,
        )
    return found


def decided(returned: Iterable[Returned], known: Mapping[str, Known]) -> dict[str, Decided]:
    """Return what Bo's review says of each frame, by its stream."""
    by_number = {about.frame_idx: about for about in known.values()}
    found = {}
    for frame in returned:
        name = parse_name(frame.name)
        assert name is not None, frame.name
        about = by_number[name.number]
        assert about.content_hash.startswith(name.hash)
        found[about.stream_id] = decide(about, frame, "bo")
    return found


def decided_as_new(returned: Iterable[Returned]) -> list[Decided]:
    """Return what an import makes of each frame, in the order of `frames`: everything on it is new."""
    keys = ("stream_id", "frame_idx", "content_hash", "width", "height")
    bare = [Known(**{name: frame[name] for name in keys}) for frame in frames().to_pylist()]
    return [decide(about, frame, "bo", "import:bo") for about, frame in zip(bare, returned, strict=True)]
