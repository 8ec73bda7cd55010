"""Which rows of a table a reader wants, as a filter on its data files."""

from __future__ import annotations

import pyarrow.dataset as pads

import schemas

Span = tuple[int | None, int | None]
"""Frame numbers from the first to before the second; None leaves an end open."""


def row_filter(table: schemas.Table, streams: frozenset[str] | None, span: Span) -> pads.Expression | None:
    """Return the filter for rows of streams within a span of frame numbers; None where that is all of them."""
    tests = []
    if streams is not None and "stream_id" in table.file_schema.names:
        tests.append(pads.field("stream_id").isin(sorted(streams)))
    if "frame_idx" in table.file_schema.names:
        if span[0] is not None:
            tests.append(pads.field("frame_idx") >= span[0])
        if span[1] is not None:
            tests.append(pads.field("frame_idx") < span[1])
    combined = None
    for test in tests:
        combined = test if combined is None else combined & test
    return combined
