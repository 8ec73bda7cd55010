"""Exposure of brands: what their appearances add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pyarrow as pa
from annotated_types import Ge

import schemas
from transforms.core.table_stage import TableInput, TableOutput

Spans = list[tuple[float, float]]


@dataclass(frozen=True)
class ExposureParams:
    """What counts as exposure, and how it is weighted.

    `hit_s`: seconds that a hit lasts at least.
    `apart_s`: seconds without the brand that part two hits.
    `min_confidence`: least confidence of an appearance that counts.
    `weight_size`, `weight_centre`, `weight_solus`: factors of seconds that cover the whole frame, in its middle, and
    without another brand; 1 leaves these out of account. In between they are interpolated.
    """

    hit_s: Annotated[float, Ge(0)] = 0.5
    apart_s: Annotated[float, Ge(0)] = 1.0
    min_confidence: Annotated[float, Ge(0)] = 0.0
    weight_size: Annotated[float, Ge(0)] = 1.0
    weight_centre: Annotated[float, Ge(0)] = 1.0
    weight_solus: Annotated[float, Ge(0)] = 1.0


def union(spans: Sequence[tuple[float, float]], apart: float = 0.0) -> Spans:
    """Return half-open intervals of seconds joined where they meet, or are less than `apart` from one another.

    >>> union([(3.0, 4.0), (0.0, 1.0), (0.5, 2.0)])
    [(0.0, 2.0), (3.0, 4.0)]
    """
    found: Spans = []
    for start, end in sorted(spans):
        if found and (start <= found[-1][1] or start - found[-1][1] < apart):
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def total(spans: Sequence[tuple[float, float]]) -> float:
    """Return the seconds that intervals cover together."""
    return sum(end - start for start, end in union(spans))


def without(spans: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]) -> float:
    """Return the seconds of intervals in which there is none of the others.

    >>> without([(0.0, 4.0)], [(1.0, 2.0), (3.5, 9.0)])
    2.5
    """
    return total([*spans, *others]) - total(others)


def exposures(appearances: Sequence[Mapping[str, Any]], params: ExposureParams) -> list[dict[str, Any]]:
    """Return the exposure of each brand in one stream, by rows of `appearances`."""
    counted = [row for row in appearances if row["confidence"] >= params.min_confidence]
    sure = [row for row in counted if row["state"] == "resolved"]
    spans: dict[str, Spans] = {}
    for row in sure:
        spans.setdefault(row["brand"], []).append((row["start_s"], row["end_s"]))
    voices = sum(total(each) for each in spans.values())
    found = []
    for brand in sorted({row["brand"] for row in counted}):
        mine = [row for row in sure if row["brand"] == brand]
        every = [(row["start_s"], row["end_s"]) for row in counted if row["brand"] == brand]
        others = [span for name, each in spans.items() if name != brand for span in each]
        visible = total(spans.get(brand, []))
        lasts = [row["end_s"] - row["start_s"] for row in mine]
        gross = sum(lasts)

        def mean(name: str, mine: list[Mapping[str, Any]] = mine, lasts: list[float] = lasts) -> float:
            whole = sum(lasts)
            return sum(row[name] * last for row, last in zip(mine, lasts, strict=True)) / whole if whole else 0.0

        solus = without(spans.get(brand, []), others)
        hits = [span for span in union(spans.get(brand, []), params.apart_s) if span[1] - span[0] >= params.hit_s]
        found.append(
            {
                "brand": brand,
                "visible_s": visible,
                "gross_s": gross,
                "solus_s": max(0.0, solus),
                "high_s": total(every),
                "hits": len(hits),
                "mean_share": mean("mean_share"),
                "max_share": max((row["max_share"] for row in mine), default=0.0),
                "share_of_voice": min(1.0, visible / voices) if voices else 0.0,
                "weighted_s": sum(last * _weight(row, others, params) for row, last in zip(mine, lasts, strict=True)),
                "height_px": mean("height_px"),
                "confidence": min(1.0, mean("confidence")),
            }
        )
    return found


def _weight(row: Mapping[str, Any], others: Sequence[tuple[float, float]], params: ExposureParams) -> float:
    span = (row["start_s"], row["end_s"])
    # With thousands of appearances this takes seconds, so that it is only computed where it counts.
    is_weighted = params.weight_solus != 1 and span[1] > span[0]
    alone = without([span], others) / (span[1] - span[0]) if is_weighted else 0.0
    return float(
        (1 + (params.weight_size - 1) * row["mean_share"])
        * (1 + (params.weight_centre - 1) * row["centre"])
        * (1 + (params.weight_solus - 1) * alone)
    )


def compute_exposure(given: TableInput) -> TableOutput:
    """Return rows of `exposure`."""
    params: ExposureParams = given.params["exposure"]
    tables = [schemas.EXPOSURE.file_schema.empty_table()]
    n_frames = 0
    for stream, input_id in given.scopes.items():
        rows = given.above["vote"].read(None, [stream]).to_pylist()
        n_frames += sum(row["n_frames"] for row in rows)
        keys = {"input_id": input_id, "stream_id": stream}
        found = [{**keys, **row} for row in exposures(rows, params)]
        tables.append(pa.Table.from_pylist(found, schemas.EXPOSURE.file_schema))
    return TableOutput(pa.concat_tables(tables), n_frames)
