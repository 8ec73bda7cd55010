"""The last word of people on verdicts."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from jobs.views.overridden_verdicts import applied, of_frame, valid

_LISTS = {"reasons": pl.List(pl.String), "flags": pl.List(pl.String)}
_VERDICTS = [
    {"stream_id": "cam", "frame_idx": 0, "keep": True, "reasons": [], "flags": []},
    {"stream_id": "cam", "frame_idx": 1, "keep": False, "reasons": ["dark", "idle"], "flags": ["frozen"]},
    {"stream_id": "cam", "frame_idx": 2, "keep": False, "reasons": ["blurry"], "flags": None},
    {"stream_id": "cam", "frame_idx": 3, "keep": True, "reasons": [], "flags": []},
]


def _rows(decisions: dict[int, str], **columns: Any) -> dict[int, dict[str, Any]]:
    overrides = pl.LazyFrame(
        [{"stream_id": "cam", "frame_idx": idx, "decision": word} for idx, word in decisions.items()]
    )
    verdicts = pl.LazyFrame(_VERDICTS, schema_overrides=_LISTS)
    found = applied(verdicts.select(*columns) if columns else verdicts, overrides).collect()
    return {row["frame_idx"]: row for row in found.to_dicts()}


def test_people_have_the_last_word() -> None:
    found = _rows({0: "drop", 1: "keep", 2: "drop"})
    said = {idx: (row["keep"], row["reasons"], row["flags"]) for idx, row in found.items()}
    assert said == {
        0: (False, ["by_hand"], []),
        1: (True, [], ["frozen", "by_hand"]),
        2: (False, ["blurry", "by_hand"], None),
        3: (True, [], []),
    }


def test_a_part_of_the_columns_is_enough() -> None:
    verdicts = pl.LazyFrame(_VERDICTS, schema_overrides=_LISTS).select("frame_idx", "stream_id", "keep")
    overrides = pl.LazyFrame([{"stream_id": "cam", "frame_idx": 0, "decision": "drop"}])
    found = applied(verdicts, overrides).collect()
    assert found.columns == ["frame_idx", "stream_id", "keep"]
    assert dict(found.select("frame_idx", "keep").iter_rows()) == {0: False, 1: False, 2: False, 3: True}


@pytest.mark.parametrize("word", ["keep", "drop"])
@pytest.mark.parametrize("idx", [0, 1, 2])
def test_one_frame_is_as_all_are(idx: int, word: str) -> None:
    columns = ("keep", "reasons", "flags")
    expected = {name: _rows({idx: word})[idx][name] for name in columns}
    assert of_frame({name: _VERDICTS[idx][name] for name in columns}, word) == expected


def test_a_decision_is_about_an_image() -> None:
    images = [("cam", 0, "a"), ("cam", 1, "b")]
    names = ["stream_id", "frame_idx", "content_hash"]
    overrides = pl.LazyFrame([("cam", 0, "a", "drop"), ("cam", 1, "c", "drop")], [*names, "decision"], orient="row")
    frames = pl.LazyFrame(images, names, orient="row")
    assert valid(overrides, frames).collect()["frame_idx"].to_list() == [0]
