"""Verdicts on streams that a run does not touch, where it changes the groups that they rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import schemas
from jobs.ingest.catalogue import IngestOverrides
from jobs.storage import heads
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import snapshot_spec
from tests.helpers import assert_one_live_row, computed, go, rows, write_noise_stream

pytestmark = pytest.mark.usefixtures("engine")
OWN = ("curation.dark_mean=1", "curation.dark_p95=2")


def verdict(workspace: Workspace, stream: str) -> list[str]:
    """Return the reasons of a stream's first frame that have to do with groups."""
    (found,) = rows(workspace, schemas.CURATION).filter(stream_id=stream, frame_idx=0)["reasons"].to_list()
    return [reason for reason in found if "duplicate" in reason]


@pytest.mark.parametrize("settings", [(), OWN])
def test_runs_that_cannot_see_one_another_yet_keep_one_frame_of_a_group(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    first = write_noise_stream(tmp_path / "first", range(4))
    other = write_noise_stream(tmp_path / "other", [0, *range(10, 13)])
    move = heads.move

    def overtaken(store: Store, streams: list[str], *rest: Any) -> bool:
        # The whole of another run goes by between the verdicts of this one and their showing.
        monkeypatch.setattr(heads, "move", move)
        go(workspace, other, settings=settings)
        return move(store, streams, *rest)

    monkeypatch.setattr(heads, "move", overtaken)
    go(workspace, first)
    assert sorted([verdict(workspace, "first"), verdict(workspace, "other")]) == [[], ["exact_duplicate"]]
    assert_one_live_row(workspace)
    assert computed(go(workspace, first)) == computed(go(workspace, other, settings=settings)) == {}


def test_verdicts_follow_groups_at_the_thresholds_of_their_own_stream(workspace: Workspace, tmp_path: Path) -> None:
    first = write_noise_stream(tmp_path / "first", range(4))
    other = write_noise_stream(tmp_path / "other", [0, *range(10, 13)])
    go(workspace, first)
    go(workspace, other, settings=OWN)
    assert verdict(workspace, "other") == ["exact_duplicate"]
    keys = snapshot_spec.current(Store(workspace.root)).keys["curation"]
    assert keys["first"] != keys["other"]
    # What the group was built around is missing: the frame of the other stream is its own leader.
    (first / "image_0.jpg").unlink()
    go(workspace, first, overrides=IngestOverrides(allow_missing=True))
    assert verdict(workspace, "other") == []
    assert snapshot_spec.current(Store(workspace.root)).keys["curation"] == keys
    # The run of its own finds nothing to do, and neither does one that changes no group.
    assert computed(go(workspace, other, settings=OWN)) == {}
    version = Store(workspace.root).open(schemas.CURATION).version
    go(workspace, first)
    assert Store(workspace.root).open(schemas.CURATION).version == version
    assert_one_live_row(workspace)
