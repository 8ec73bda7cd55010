"""Where on a frame lines and emblems are: boards, kits, graphics, or on the ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from transforms.brands.looks import Looks
from transforms.brands.playing_field import CELLS
from transforms.brands.text_lines import FloatArray

_STILL = 0.004
"""Of the frame's width: how far a graphic is away from where it was."""

_LIKE = 0.7
"""Least correlation of the looks of a graphic in two scenes."""


def placements(
    looks: Looks,
    tracks: npt.NDArray[np.int64],
    fields: Mapping[int, npt.NDArray[np.bool_]],
    bodies: Mapping[int, FloatArray] | None = None,
) -> npt.NDArray[np.str_]:
    """Return where each line is, shape (N,): the same for all of a track.

    `graphic`: it stays where it is although other things move, or over scenes. `ground`: the field is all around it.
    `kit`: on most of its frames it is on one of `bodies`, boxes (N, 4) by frame. `board`: the field is below it.
    `other`: none of these, as a sponsor on a shirt in front of the crowd is where no detector ran.
    """
    found = np.full(len(tracks), "other", dtype="<U8")
    numbers = np.unique(tracks)
    of_track = [np.flatnonzero(tracks == number) for number in numbers]
    graphic = _graphics(looks, of_track)
    for members, is_graphic in zip(of_track, graphic, strict=True):
        if is_graphic:
            found[members] = "graphic"
            continue
        worn = [_is_worn(looks.quads[at], (bodies or {}).get(int(looks.frame_idx[at]))) for at in members]
        if sum(worn) * 2 > len(members):
            found[members] = "kit"
            continue
        votes = [_by_field(looks.quads[at], looks.size[at], fields.get(int(looks.frame_idx[at]))) for at in members]
        names, counts = np.unique(votes, return_counts=True)
        found[members] = names[int(np.argmax(counts))]
    return found


def _graphics(looks: Looks, of_track: Sequence[npt.NDArray[np.int64]]) -> list[bool]:
    """Return which tracks, each given by its lines, stay in a place where other scenes have the same look."""
    width = np.maximum(1.0, looks.size[:, :1])
    middles = looks.quads.mean(axis=1) / width
    scenes = len(np.unique(looks.scene))
    places = np.array([np.median(middles[members], axis=0) for members in of_track]).reshape(-1, 2)
    still = np.array([float(np.abs(middles[m] - p).mean()) <= _STILL for m, p in zip(of_track, places, strict=True)])
    first = np.array([members[len(members) // 2] for members in of_track], np.int64)
    found = []
    for at in range(len(of_track)):
        near = still & (np.abs(places - places[at]).max(axis=1) <= 2 * _STILL)
        near[near] = looks.sketches[first[near]] @ looks.sketches[first[at]] >= _LIKE
        seen_in = {int(looks.scene[line]) for line in first[near]}
        found.append(bool(still[at]) and len(seen_in) >= min(3, max(2, scenes)))
    return found


def _by_field(quad: FloatArray, size: FloatArray, mask: npt.NDArray[np.bool_] | None) -> str:
    if mask is None or not mask.any():
        return "other"
    cell = size / np.array(CELLS[::-1], np.float32)
    low, high = quad.min(axis=0), quad.max(axis=0)
    tall = high[1] - low[1]

    def share(top: float, bottom: float) -> float:
        rows = slice(max(0, int(top / cell[1])), max(0, int(bottom / cell[1]) + 1))
        columns = slice(max(0, int(low[0] / cell[0])), max(0, int(high[0] / cell[0]) + 1))
        part = mask[rows, columns]
        return float(part.mean()) if part.size else 0.0

    below, above = share(high[1] + 0.5 * tall, high[1] + 3 * tall), share(low[1] - 3 * tall, low[1] - tall)
    if below > 0.4:
        return "ground" if above > 0.6 else "board"
    return "other"


def _is_worn(quad: FloatArray, bodies: FloatArray | None) -> bool:
    """Return whether a line is on a body: within the width of its box, and above its lowest third."""
    if bodies is None or not len(bodies):
        return False
    left, top, width, height = bodies.T
    low, high = quad.min(axis=0), quad.max(axis=0)
    reach = 0.1 * width
    inside = (low[0] >= left - reach) & (high[0] <= left + width + reach)
    return bool((inside & (low[1] >= top) & (high[1] <= top + 0.67 * height)).any())
