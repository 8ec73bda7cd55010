from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import schemas
from jobs.core.errors import UserError
from jobs.storage.workspace import Workspace
from jobs.views import curated_view
from jobs.views.view import View
from tests.helpers import go, write_noise_stream


@pytest.mark.parametrize(
    ("named", "tables"),
    [
        (frozenset(), {"frames"}),
        (frozenset({"uri", "stream_id", "frame_idx"}), {"frames"}),
        (frozenset({"keep", "status"}), {"frames", "curation"}),
        (frozenset({"luma_mean", "phash"}), {"frames", "quality", "fingerprints"}),
    ],
)
def test_only_tables_of_named_columns_are_joined(named: frozenset[str], tables: set[str]) -> None:
    opened = []

    def table(name: str) -> pl.LazyFrame:
        opened.append(name)
        return pl.LazyFrame(schema=pl.Schema(schemas.BY_NAME[name].arrow_schema))

    curated_view.curated(table, named)
    assert set(opened) == tables


def test_answers_are_those_of_all_columns_and_unknown_names_have_their_hint(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, write_noise_stream(tmp_path / "cam", [1, 2, 2, 3]))
    view = View.of(workspace)
    every = pl.DataFrame(view.sql("SELECT * FROM curated"))
    assert view.sql("SELECT count(*) AS n FROM curated").to_pylist() == [{"n": 4}]
    kept = view.sql("SELECT frame_idx FROM curated c WHERE c.Keep AND width > 0 ORDER BY 1")["frame_idx"].to_pylist()
    assert kept == sorted(every.filter("keep")["frame_idx"].to_list())
    assert len(kept) == 3
    row = view.sql("SELECT c FROM curated c LIMIT 1").to_pylist()[0]["c"]
    assert set(row) == set(every.columns)
    with pytest.raises(UserError, match="sharpness"):
        view.sql("SELECT sharpnes FROM curated")
