from __future__ import annotations

from pathlib import Path

import pytest

from jobs.analysis.changed_frames import changed_frames
from jobs.core.errors import UserError
from jobs.runs.replay import replay
from jobs.runs.run import run
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream


@pytest.mark.process
def test_frames_that_changed_sides_and_rows_that_differ(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path / "tables")
    one = go(place, write_noise_stream(tmp_path / "cam", range(3)), settings=("curation.ignore=[blurry]",)).job_id
    other = run(replay(place, one, "curation", ("curation.dark_mean=255",))).job_id
    store = Store(place.root)
    found = changed_frames(store, one, other, "curation")
    assert [(row["frame_idx"], row["kept"], row["keep"]) for row in found] == [(n, True, False) for n in range(3)]
    assert {tuple(row["reasons"]) for row in found} == {("dark",)}
    assert changed_frames(store, one, one, "curation") == []
    back = changed_frames(store, other, one, "curation")
    assert [row["keep"] for row in back] == [True] * 3
    assert changed_frames(store, one, other, "quality") == []
    with pytest.raises(UserError, match="table 'scenes' has no rows of frames; expected one of frames"):
        changed_frames(store, one, other, "scenes")


@pytest.mark.process
def test_rows_of_another_table_are_named_by_what_changed(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path / "tables")
    cam = write_noise_stream(tmp_path / "cam", range(3))
    one, other = go(place, cam).job_id, go(place, cam, settings=("image.long_side=64",)).job_id
    found = changed_frames(Store(place.root), one, other, "quality")
    assert [row["frame_idx"] for row in found] == [0, 1, 2]
    [change] = found[0]["changes"]
    assert change["only"] is None
    then, now = change["changed"]["sharpness"]
    assert then != now
