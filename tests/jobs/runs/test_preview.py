from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import schemas
from jobs.core.errors import UserError
from jobs.core.stage import Stage
from jobs.runs.preview import Preview
from jobs.runs.replay import replay
from jobs.runs.run import run
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, noise, write_pictures

pytestmark = pytest.mark.process

SETTINGS = ("stages=[+idle, +duplicates]", "blur.method=laplacian_var")
N = 24


def picture(seed: int, brightness: float) -> Any:
    return (noise(seed) * brightness).astype(np.uint8)


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """Two streams that get darker, one of which shows the same for a while, with images that both have."""
    folder = tmp_path_factory.mktemp("preview")
    one = [picture(min(12, n), 1 - n / N) for n in range(N)]
    other = [picture(n + 100 if n % 4 else n, 1 - n / N) for n in range(N)]
    place = Workspace.at(folder / "tables")
    record = go(
        place,
        write_pictures(folder / "one", one),
        write_pictures(folder / "other", other),
        settings=SETTINGS,
    )
    return place, record.job_id


def as_run(place: Workspace, job_id: str, start: str, settings: tuple[str, ...]) -> pl.DataFrame:
    """The verdicts of a real replay."""
    child = run(replay(place, job_id, start, settings))
    rows = View.of(place, run=child.job_id).lazy("curation").select("stream_id", "frame_idx", "keep", "reasons")
    return rows.sort("stream_id", "frame_idx").collect()


@pytest.mark.parametrize(
    ("start", "settings"),
    [
        ("curation", ("curation.dark_mean=90",)),
        ("curation", ("curation.dark_mean=0", "curation.dark_p95=0", "curation.ignore=[near_duplicate]")),
        ("curation", ("idle.keep=3", "curation.low_information_entropy=7")),
        ("idle", ("idle.threshold=0.5",)),
        ("duplicates", ("duplicates.hamming=0",)),
        ("idle", ("idle.threshold=0.5", "duplicates.hamming=16", "curation.dark_mean=50")),
        ("curation", ()),
    ],
)
def test_what_a_preview_says_is_what_the_run_then_does(
    decided: tuple[Workspace, str], start: str, settings: tuple[str, ...]
) -> None:
    place, job_id = decided
    changes = Preview(place, job_id).changes(settings)
    ran = as_run(place, job_id, start, settings)
    assert changes.frames.select(ran.columns).equals(ran)
    before = View.of(place, run=job_id).lazy("curation").select("stream_id", "frame_idx", "keep").collect()
    both = ran.join(before, on=["stream_id", "frame_idx"], suffix="_before")
    counts = changes.counts()
    assert (counts["frames"], counts["kept"]) == (2 * N, ran["keep"].sum())
    assert counts["kept_before"] == before["keep"].sum()
    assert counts["newly_kept"] == both.filter(pl.col("keep"), ~pl.col("keep_before")).height
    assert (
        counts["newly_dropped"]
        == both.filter(~pl.col("keep"), pl.col("keep_before")).height
        == len([row for row in changes.changed().iter_rows(named=True) if not row["keep"]])
    )
    assert counts["reasons"] == dict(
        sorted(
            ran.explode("reasons").drop_nulls("reasons").group_by("reasons").len().iter_rows(),
            key=lambda pair: list(counts["reasons"]).index(pair[0]),
        )
    )


def test_a_preview_writes_nothing_and_is_as_good_the_second_time(decided: tuple[Workspace, str]) -> None:
    place, job_id = decided
    preview = Preview(place, job_id)
    versions = {table.name: preview._store.open(table).version for table in schemas.ALL}
    first = preview.changes(("curation.dark_mean=90",)).frames
    preview.changes(("idle.threshold=0.3",))
    assert preview.changes(("curation.dark_mean=90",)).frames.equals(first)
    assert preview.n_bytes > 0
    assert {table.name: preview._store.open(table).version for table in schemas.ALL} == versions


def test_what_is_no_decision_is_refused(decided: tuple[Workspace, str], tmp_path: Path) -> None:
    place, job_id = decided
    preview = Preview(place, job_id)
    with pytest.raises(UserError, match="a preview changes decisions, not measures"):
        preview.changes(("blur.method=acutance",))
    with pytest.raises(UserError, match="dark_meen"):
        preview.changes(("curation.dark_meen=3",))
    with pytest.raises(UserError, match="there is no run"):
        Preview(place, "20200101")


def test_a_run_that_another_version_computed_is_not_previewed(
    decided: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, job_id = decided
    monkeypatch.setattr(Stage, "code_hash", "of another version")
    with pytest.raises(UserError, match=r"stage duplicates: its code has changed since run .* use winnow run instead"):
        Preview(place, job_id)
