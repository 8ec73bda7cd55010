"""Which brands' logos a crop shows, by how much it is like their reference images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transforms.brands.match_words import MatchParams, Mention, State

_NEARLY = 0.75
"""Share of the points and of the correlation from which on a logo is unresolved."""


def logo_mentions(likenesses: Sequence[Mapping[str, Any]], params: MatchParams) -> list[Mention]:
    """Return the mentions by logo of one crop, given its rows of `likenesses`; at most one of each brand.

    Of logos in the same place the most alike counts; it is unresolved where the next one is nearly as much so. A crop
    that is like none has no mention: most of what is compared shows no logo at all.
    """
    ordered = sorted(likenesses, key=lambda row: (-_sure(row, params), row["brand"]))
    found: list[Mention] = []
    for at, row in enumerate(ordered):
        state = _state(row, params)
        if state is None or any(_meet(row, mention) for mention in found):
            continue
        rival = next((other for other in ordered[at + 1 :] if _share_a_place(row, other)), None)
        margin = row["correlation"] - (max(0.0, rival["correlation"]) if rival else 0.0)
        if rival and margin < params.logo_margin:
            state = "unresolved"
        found.append(
            Mention(
                row["brand"],
                "logo",
                state,
                _sure(row, params),
                row["inside"],
                rival["brand"] if rival else None,
                max(-1.0, min(1.0, margin)),
                row["begins"],
                row["ends"],
                row["tall"],
                row["part"],
                row["logo"],
            )
        )
    return found


def _state(row: Mapping[str, Any], params: MatchParams) -> State | None:
    if row["inside"] < params.logo_inside:
        return None
    if row["points"] >= params.logo_points and row["correlation"] >= params.logo_alike:
        return "resolved"
    near = row["points"] >= _NEARLY * params.logo_points and row["correlation"] >= _NEARLY * params.logo_alike
    return "unresolved" if near else None


def _sure(row: Mapping[str, Any], params: MatchParams) -> float:
    """Return how sure a likeness is, 0..1: the correlation, less where few points agree."""
    return max(0.0, float(row["correlation"])) * min(1.0, float(row["points"]) / params.logo_points)


def _share_a_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _common(one["begins"], one["ends"], other["begins"], other["ends"]) > 0.3


def _meet(row: Mapping[str, Any], mention: Mention) -> bool:
    return _common(row["begins"], row["ends"], mention.begins, mention.ends) > 0.3


def _common(begins: float, ends: float, others_begin: float, others_end: float) -> float:
    """Return what two spans share, as a share of the shorter one."""
    shared = min(ends, others_end) - max(begins, others_begin)
    return shared / max(1e-6, min(ends - begins, others_end - others_begin))
