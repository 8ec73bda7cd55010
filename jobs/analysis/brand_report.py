"""Report on the exposure of brands: figures, a timeline, where on the frame, and the evidence for each appearance."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.analysis.pages import render_page
from jobs.core.errors import UserError
from jobs.views.view import View

HEAT = (9, 16)
"""Rows and columns of the heat map."""

_EXPOSURE = ("visible_s", "gross_s", "solus_s", "high_s", "hits", "mean_share", "max_share", "share_of_voice")
_FIGURES = (*_EXPOSURE, "weighted_s", "height_px", "confidence")
_PALETTE = (
    "#3366cc",
    "#dc3912",
    "#ff9900",
    "#109618",
    "#990099",
    "#0099c6",
    "#dd4477",
    "#66aa00",
    "#b82e2e",
    "#316395",
)
_MOST_EVIDENCE = 500


@dataclass(frozen=True)
class BrandReport:
    """What is reported: rows of `exposure`, rows of `appearances`, and per stream and brand a heat map of seconds.

    `crops` has the image of the region that is the evidence, by its id, as JPEG; `colours` those of brands in charts.
    """

    exposure: Sequence[Mapping[str, Any]]
    appearances: Sequence[Mapping[str, Any]]
    heat: Mapping[tuple[str, str], Sequence[Sequence[float]]]
    crops: Mapping[str, bytes]
    colours: Mapping[str, str]

    def as_data(self) -> dict[str, Any]:
        """Return the report as plain values, without images."""
        heat = [{"stream_id": stream, "brand": brand, "cells": cells} for (stream, brand), cells in self.heat.items()]
        return {"exposure": list(self.exposure), "appearances": list(self.appearances), "heat": heat}

    def as_csv(self) -> str:
        """Return the rows of `exposure` as CSV."""
        target = io.StringIO()
        writer = csv.DictWriter(target, ("stream_id", "brand", *_FIGURES), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.exposure)
        return target.getvalue()

    def as_html(self) -> str:
        """Return the report as a page that needs nothing else."""
        streams = [self._stream(name) for name in sorted({row["stream_id"] for row in self.exposure})]
        return render_page("brands.html.j2", streams=streams)

    def _stream(self, name: str) -> dict[str, Any]:
        mine = [row for row in self.appearances if row["stream_id"] == name]
        ends = max((row["end_s"] for row in mine), default=1.0) or 1.0
        brands = sorted((row for row in self.exposure if row["stream_id"] == name), key=lambda row: -row["visible_s"])
        placements = sorted({row["placement"] for row in mine})
        return {
            "name": name,
            "ends": ends,
            "placements": placements,
            "brands": [
                {
                    **row,
                    "colour": self.colours[row["brand"]],
                    "spans": [
                        {
                            "left": 100 * each["start_s"] / ends,
                            "width": max(0.15, 100 * (each["end_s"] - each["start_s"]) / ends),
                            "is_sure": each["state"] == "resolved",
                            "title": f"{each['start_s']:.1f} to {each['end_s']:.1f} s: {each['text']}",
                        }
                        for each in mine
                        if each["brand"] == row["brand"]
                    ],
                    "by_placement": [
                        sum(
                            each["end_s"] - each["start_s"]
                            for each in mine
                            if each["brand"] == row["brand"] and each["placement"] == placement
                        )
                        for placement in placements
                    ],
                    "heat": _shades(self.heat.get((name, row["brand"]), ())),
                }
                for row in brands
            ],
            "evidence": [
                {**each, "image": base64.b64encode(self.crops.get(each["region_id"], b"")).decode()}
                for each in mine[:_MOST_EVIDENCE]
            ],
            "n_more": max(0, len(mine) - _MOST_EVIDENCE),
        }


def brand_report(view: View) -> BrandReport:
    """Return the report on what a view shows. Raises `UserError` where exposure was not computed."""
    exposure = view.sql("SELECT * EXCLUDE (stage_key, input_id) FROM exposure ORDER BY stream_id, brand").to_pylist()
    if not exposure:
        raise UserError(
            "there is no exposure to report: no brand of the dictionary was found, or no run computed it; run "
            "`winnow brands list`, and `winnow run --profile brands --input …`"
        )
    appearances = view.sql(
        "SELECT * EXCLUDE (stage_key, input_id) FROM appearances ORDER BY stream_id, start_s, brand"
    ).to_pylist()
    dictionary = view.sql("SELECT brand, colours FROM brands").to_pylist()
    given = {row["brand"]: row["colours"][0] for row in dictionary if row["colours"]}
    names = sorted({row["brand"] for row in exposure})
    colours = {name: given.get(name, _PALETTE[at % len(_PALETTE)]) for at, name in enumerate(names)}
    return BrandReport(exposure, appearances, _heat(view), _crops(view), colours)


def _crops(view: View) -> dict[str, bytes]:
    """Return the crop that each appearance was read on: that of its best frame, or of the one it is read as."""
    rows = view.sql(
        "SELECT DISTINCT a.region_id, c.image FROM appearances a "
        "JOIN regions r ON r.region_id = a.region_id AND r.stream_id = a.stream_id "
        "JOIN crops c ON c.region_id = r.read_as AND c.stream_id = r.stream_id"
    )
    return {row["region_id"]: row["image"] for row in rows.to_pylist()}


def _heat(view: View) -> dict[tuple[str, str], list[list[float]]]:
    """Return for each stream and brand the share of its frames on which it is in each cell of the frame."""
    rows, columns = HEAT
    found = view.sql(
        f"""
        SELECT a.stream_id, a.brand,
               least({rows - 1}, greatest(0, floor({rows} * (r.y1 + r.y2 + r.y3 + r.y4) / 4 / f.height)))::INT AS y,
               least({columns - 1}, greatest(0, floor({columns} * (r.x1 + r.x2 + r.x3 + r.x4) / 4 / f.width)))::INT
                   AS x,
               count(*) AS n
        FROM appearances a
        JOIN regions r ON r.stream_id = a.stream_id AND r.track_id = a.track_id
             AND r.frame_idx BETWEEN a.start_idx AND a.end_idx
        JOIN frames f ON f.stream_id = r.stream_id AND f.frame_idx = r.frame_idx
        WHERE a.state = 'resolved' GROUP BY ALL
        """
    )
    heat: dict[tuple[str, str], list[list[float]]] = {}
    for row in found.to_pylist():
        cells = heat.setdefault((row["stream_id"], row["brand"]), [[0.0] * columns for _ in range(rows)])
        cells[row["y"]][row["x"]] += row["n"]
    for cells in heat.values():
        whole = sum(map(sum, cells))
        cells[:] = [[value / whole for value in line] for line in cells]
    return heat


def _shades(cells: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the opacity of each cell, the most frequent one 1."""
    most = max((value for line in cells for value in line), default=0.0)
    return [[round(value / most, 3) if most else 0.0 for value in line] for line in cells]
