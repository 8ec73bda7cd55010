"""Readings compared with the dictionary: the rows of `mentions`."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

import schemas
from transforms.brands.dictionary import Brand
from transforms.brands.match_words import MatchParams, mentions_of
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
    known: dict[tuple[str, float], list[dict[str, Any]]] = {}
    tables = [schemas.MENTIONS.file_schema.empty_table()]
    n_frames = 0
    for stream, input_id in given.scopes.items():
        columns = ("region_id", "frame_idx", "text", "score")
        readings = given.above["read"].read(columns, [stream], table="readings").to_pylist()
        n_frames += len({row["frame_idx"] for row in readings})
        rows = []
        for reading in readings:
            said = (reading["text"], round(reading["score"], 4))
            if said not in known:
                given.check()
                known[said] = [mention._asdict() for mention in mentions_of(*said, brands, params)]
            key = {"input_id": input_id, "stream_id": stream, "text": reading["text"]}
            place = {"region_id": reading["region_id"], "frame_idx": reading["frame_idx"]}
            rows += [{**key, **place, "number": number, **mention} for number, mention in enumerate(known[said])]
        tables.append(pa.Table.from_pylist(rows, schemas.MENTIONS.file_schema))
    return TableOutput(pa.concat_tables(tables), n_frames)
