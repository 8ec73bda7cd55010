"""Readings and logos compared with the dictionary: the rows of `mentions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

import schemas
from transforms.brands.dictionary import Brand
from transforms.brands.match_logos import logo_mentions
from transforms.brands.match_words import MatchParams, Mention, mentions_of
from transforms.core.table_stage import TableInput, TableOutput


def brands_of(rows: pa.Table) -> list[Brand]:
    """Return the brands of rows of the table `brands`, by name."""
    return [
        Brand(row["brand"], tuple(row["aliases"]), tuple(row["never"]), (), ())
        for row in sorted(rows.to_pylist(), key=lambda row: str(row["brand"]))
    ]


def compute_mentions(given: TableInput) -> TableOutput:
    """Return rows of `mentions`; a text that occurs often is compared once."""
    params: MatchParams = given.params["match"]
    brands = brands_of(given.listed("brands", ("brand", "aliases", "never")))
    known: dict[tuple[str, float], list[Mention]] = {}
    tables = [schemas.MENTIONS.file_schema.empty_table()]
    n_frames = 0
    for stream, input_id in given.scopes.items():
        columns = ("region_id", "frame_idx", "text", "score")
        readings = given.above["read"].read(columns, [stream], table="readings").to_pylist()
        n_frames += len({row["frame_idx"] for row in readings})
        likely: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for row in given.above["logos"].read(None, [stream]).to_pylist():
            likely.setdefault((row["region_id"], row["frame_idx"]), []).append(row)
        rows: list[dict[str, Any]] = []
        keys = {"input_id": input_id, "stream_id": stream}
        for reading in readings:
            said = (reading["text"], round(reading["score"], 4))
            if said not in known:
                given.check()
                known[said] = mentions_of(*said, brands, params)
            place = (reading["region_id"], reading["frame_idx"])
            both = agreed(known[said], logo_mentions(likely.pop(place, ()), params))
            rows += _rows(keys, place, both, reading["text"])
        for place, found in likely.items():
            rows += _rows(keys, place, logo_mentions(found, params), "")
        tables.append(pa.Table.from_pylist(rows, schemas.MENTIONS.file_schema))
    return TableOutput(pa.concat_tables(tables), n_frames)


def agreed(texts: Sequence[Mention], logos: Sequence[Mention]) -> list[Mention]:
    """Return the mentions of a crop by text and by logo as one list, at most one of each brand.

    Where both name a brand the text counts, and both together are surer than one of them. A text that names nothing
    counts for nothing where a logo does.
    """
    by_brand = {logo.brand: logo for logo in logos}
    found = []
    for text in texts:
        logo = by_brand.pop(text.brand, None) if text.brand is not None else None
        if text.how == "none" and logos and text.runner_up is None:
            continue
        if logo is None:
            found.append(text)
            continue
        sure = 1 - (1 - text.score) * (1 - logo.score)
        state = "resolved" if "resolved" in {text.state, logo.state} else text.state
        found.append(text._replace(score=sure, state=state))
    return [*found, *(logo for logo in logos if logo.brand in by_brand)]


def _rows(
    keys: Mapping[str, Any], place: tuple[str, int], mentions: Sequence[Mention], text: str
) -> list[dict[str, Any]]:
    where = {**keys, "region_id": place[0], "frame_idx": place[1]}
    rows = []
    for number, mention in enumerate(mentions):
        values = mention._asdict()
        del values["area"]
        name = values.pop("logo")
        rows.append({**where, "number": number, **values, "part": mention.part, "text": name or text})
    return rows
