from __future__ import annotations

from pathlib import Path

import pytest

import schemas
from jobs.runs.dry_run import forecast
from jobs.runs.expected_time import expected_seconds, in_all
from jobs.runs.prepare import prepare
from jobs.runs.run_options import RunOptions, build_request
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream


@pytest.mark.process
def test_a_run_takes_as_long_per_frame_as_the_last_one_did(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path / "tables")
    cam, more = write_noise_stream(tmp_path / "cam", range(4)), write_noise_stream(tmp_path / "more", range(50, 58))

    def expected(*inputs: Path, settings: tuple[str, ...] = ()) -> tuple[dict[str, float | None], dict[str, object]]:
        options = RunOptions(inputs=tuple(map(str, inputs)), settings=settings)
        prepared = prepare(build_request(place.root, options))
        seconds = expected_seconds(prepared.store, prepared.stages, forecast(prepared))
        return seconds, in_all(prepared.stages, seconds)

    unknown, before = expected(cam)
    assert unknown["quality"] is None
    assert before == {"seconds": 0.0, "unknown": list(unknown)}
    go(place, cam)
    took = {row["stage"]: row["seconds"] for row in Store(place.root).read(schemas.STAGE_RUNS).to_pylist()}
    seconds, all_of_it = expected(more)
    assert seconds["quality"] == pytest.approx(2 * took["quality"])
    assert all_of_it["unknown"] == []
    pixels = max(2 * took[stage] for stage in ("frames", "quality", "fingerprints", "motion"))
    assert all_of_it["seconds"] == pytest.approx(
        pixels + sum(seconds[stage] or 0 for stage in ("scenes", "idle", "duplicates", "curation"))
    )
    nothing, _ = expected(cam)
    assert set(nothing.values()) == {0.0}
    decided, _ = expected(cam, settings=("curation.dark_mean=40",))
    assert decided["quality"] == 0.0
    assert decided["curation"] == pytest.approx(took["curation"])
