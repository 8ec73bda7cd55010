from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import schemas
from jobs.ingest.catalogue import IngestOverrides
from jobs.storage.workspace import Workspace
from tests.helpers import STAGE_TABLES, go, rows, write_noise_stream


@pytest.mark.usefixtures("engine")
def test_the_only_stream_can_move_lose_its_name_and_be_let_go_of(tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", [0, 1, 2, 2, 3, 1])
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, cam)
    kept = rows(workspace, schemas.CURATION, without=["stage_key", "input_id"])
    moved = cam.rename(tmp_path / "moved")
    go(workspace, moved, overrides=IngestOverrides(["other"]))
    record = go(workspace, moved, overrides=IngestOverrides(["cam"], rebind=True))
    assert (record.streams, record.counts["frames_decoded"]) == (["cam", "other"], 0)
    assert rows(workspace, schemas.CURATION, without=["stage_key", "input_id"]).equals(kept)
    shutil.rmtree(moved)
    go(workspace, moved, overrides=IngestOverrides(allow_missing=True))
    assert [table.name for table in STAGE_TABLES if rows(workspace, table).height] == []
