"""Rules that choose what a model is shown, from one end of a run to the other."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

import schemas
from conf import load
from jobs.analysis.run_diff import run_diff
from jobs.core.errors import RunFailedError
from jobs.datasets.release import create
from jobs.runs.dry_run import forecast
from jobs.runs.prepare import RunRequest, prepare
from jobs.runs.replay import replay
from jobs.runs.run import run
from jobs.storage import stream_batches
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import snapshot_spec
from jobs.views.view import View
from tests.helpers import assert_one_live_row, computed, go, noise, rows

pytestmark = pytest.mark.usefixtures("models_at_hand")
N = 12
ANNOTATE = ("stages=[annotate]", "annotate.frames=all", "moving.history=9")


@pytest.fixture
def cam(tmp_path: Path) -> Path:
    """A stream that grows brighter from frame to frame, by steps of 16."""
    folder = tmp_path / "cam"
    folder.mkdir()
    for number in range(N):
        picture = noise(number) // 8 + np.uint8(16 * number)
        cv2.imwrite(str(folder / f"image_{number}.png"), picture)
    return folder


def brighter(than: int) -> list[int]:
    return list(range(than, N))


def rule(text: str) -> tuple[str, ...]:
    return (*ANNOTATE, f"when.annotate={text}")


def bright(number: int) -> str:
    """Say that a frame is as bright as this one, or brighter."""
    return f"quality.luma_mean >= {16 * number + 8}"


def seen(workspace: Workspace, run: str | None = None, release: str | None = None) -> list[int]:
    """Return the frames that `annotated` shows, which are those that SQL shows."""
    view = View.of(workspace, run, release)
    found = sorted(view.lazy("annotated").select("frame_idx").collect()["frame_idx"].to_list())
    assert view.sql("SELECT frame_idx FROM annotated ORDER BY 1")["frame_idx"].to_pylist() == found
    by_frame = view.sql("SELECT frame_idx FROM curated WHERE n_objects IS NOT NULL ORDER BY 1")
    assert by_frame["frame_idx"].to_pylist() == found
    assert set(view.lazy("annotations").collect()["frame_idx"]) <= set(found)
    return found


def test_a_rule_decides_what_is_shown_and_what_is_seen_of_it(workspace: Workspace, cam: Path) -> None:
    record = go(workspace, cam, settings=rule(bright(6)))
    assert (record.outcomes["annotate"].computed, record.outcomes["annotate"].frames_in) == (6, 6)
    assert seen(workspace) == brighter(6)
    # A rule that chooses more shows the model what is new; one that chooses fewer shows it nothing, and hides some.
    assert computed(go(workspace, cam, settings=rule(bright(4)))) == {"annotate": 2}
    assert seen(workspace) == brighter(4)
    narrow = go(workspace, cam, settings=rule(f"{bright(4)} and frame_idx % 2 = 0"))
    assert computed(narrow) == {}
    assert seen(workspace) == [4, 6, 8, 10]
    assert rows(workspace, schemas.ANNOTATED)["frame_idx"].to_list() == [4, 6, 8, 10]
    # Runs show what they chose, and a release what was chosen then.
    assert seen(workspace, run=record.job_id) == brighter(6)
    assert create(Store(workspace.root), "narrow")["selections"][0]["rules"] == {
        "annotate": snapshot_spec.current(Store(workspace.root)).rules["annotate"]["cam"]
    }
    # What was left out comes back without being computed again.
    assert computed(go(workspace, cam, settings=ANNOTATE)) == {"annotate": 4}
    assert seen(workspace) == list(range(N))
    assert seen(workspace, release="narrow") == [4, 6, 8, 10]
    assert_one_live_row(workspace)
    found = run_diff(Store(workspace.root), record.job_id, narrow.job_id)
    assert found["stages"]["annotated"]["gone"] == 3
    assert found["stages"]["annotated"]["added"] == 1
    assert found["parameters"] == {"when.annotate": [bright(6), f"{bright(4)} and frame_idx % 2 = 0"]}


def test_a_rule_follows_the_rows_that_it_asks(workspace: Workspace, cam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = rule("NOT list_contains(reasons, 'dark')")
    monkeypatch.setattr(stream_batches, "WINDOW", 5)
    go(workspace, cam, settings=[*settings, "curation.dark_mean=100", "curation.dark_p95=0"])
    before = seen(workspace)
    assert before
    assert before != list(range(N))
    go(workspace, cam, settings=[*settings, "curation.dark_mean=0"])
    after = seen(workspace)
    assert set(before) < set(after)
    back = go(workspace, cam, settings=[*settings, "curation.dark_mean=100", "curation.dark_p95=0"])
    assert "annotate" not in computed(back)
    assert seen(workspace) == before


def test_a_replay_that_is_not_promoted_hides_nothing(workspace: Workspace, cam: Path) -> None:
    record = go(workspace, cam, settings=rule(bright(3)))
    child = run(replay(workspace, record.job_id, "annotate", [f"when.annotate={bright(8)}"]))
    assert computed(child) == {}
    assert seen(workspace) == brighter(3)
    assert seen(workspace, run=child.job_id) == brighter(8)


def test_a_rule_on_unknown_values_chooses_no_frame(workspace: Workspace, cam: Path) -> None:
    # Nothing is known of the first frame's motion.
    go(workspace, cam, settings=rule("motion.motion >= 0"))
    assert seen(workspace) == brighter(1)


def test_a_dry_run_says_how_many_frames_a_rule_chooses(workspace: Workspace, cam: Path) -> None:
    def forecast_of(*settings: str) -> dict[str, object]:
        prepared = prepare(RunRequest(workspace, [str(cam)], load(settings=settings)))
        (found,) = [s for s in forecast(prepared) if s.stage == "annotate"]
        return {n: asdict(found)[n] for n in ("chosen", "of", "depends_on", "compute")}

    assert forecast_of(*rule(bright(6))) == {"chosen": 0, "of": 0, "depends_on": ("quality",), "compute": N}
    go(workspace, cam, settings=rule(bright(6)))
    assert forecast_of(*rule(bright(2))) == {"chosen": 10, "of": N, "depends_on": (), "compute": 4}
    (changed,) = [forecast_of(*rule("curation.keep and " + bright(2)), "blur.method=tenengrad")]
    assert changed["depends_on"] == ("curation", "quality")
    assert forecast_of(*ANNOTATE)["chosen"] is None


def test_a_rule_that_does_not_fit_what_it_is_asked_of_ends_the_run_with_its_reason(
    workspace: Workspace, cam: Path
) -> None:
    with pytest.raises(RunFailedError, match=r"when.annotate: Conversion Error.*TRY_CAST"):
        go(workspace, cam, settings=rule("CAST(frames.uri AS INTEGER) > 3"))
