"""Frames that people keep or drop by hand: recorded once, and the same for everything that reads verdicts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import schemas
from jobs.analysis import report
from jobs.core.errors import UserError
from jobs.datasets import release
from jobs.review.overrides import Override, record
from jobs.runs.preview import Preview
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.curation_counts import verdicts
from jobs.views.view import View
from tests.helpers import computed, go, noise, problems, said, winnow, write_pictures

pytestmark = pytest.mark.process
N = 12
DARK = (3, 4)


@pytest.fixture(scope="module")
def cam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames, two of them dark."""
    images = [noise(n) // (16 if n in DARK else 1) for n in range(N)]
    return write_pictures(tmp_path_factory.mktemp("overrides") / "cam", images)


def _decided(
    workspace: Workspace, run: str | None = None, name: str | None = None
) -> dict[int, tuple[bool, list[str]]]:
    """Return verdict and reasons of each frame, as queries and lazy frames have them."""
    view = View.of(workspace, run, name)
    rows = view.sql("SELECT frame_idx, keep, reasons FROM curation ORDER BY 1").to_pylist()
    assert view.sql("SELECT frame_idx, keep, reasons FROM curated ORDER BY 1").to_pylist() == rows
    assert view.lazy("curation").select("frame_idx", "keep", "reasons").sort("frame_idx").collect().to_dicts() == rows
    return {row["frame_idx"]: (row["keep"], row["reasons"]) for row in rows}


def _drop(*numbers: int, note: str | None = None) -> list[Override]:
    return [Override("cam", number, "drop", note) for number in numbers]


def test_everything_that_reads_verdicts_agrees(workspace: Workspace, cam: Path, tmp_path: Path) -> None:
    go(workspace, cam)
    release.create(Store(workspace.root), "before")
    before = _decided(workspace)
    assert {idx for idx, (keep, _) in before.items() if not keep} == set(DARK)
    found = record(workspace, [*_drop(0, note="a hand"), Override("cam", 3, "keep")], "ada")
    assert (found.counts["keep"], found.counts["drop"], found.counts["removed"]) == (1, 1, 0)
    expected = before | {0: (False, ["by_hand"]), 3: (True, [])}
    assert _decided(workspace) == expected
    # Rows of curation, and its key, are as they were; a run computes nothing and keeps what people decided.
    again = go(workspace, cam)
    assert computed(again) == {}
    assert again.counts["kept"] == 10
    assert _decided(workspace) == _decided(workspace, run=again.job_id) == expected
    raw = View.of(workspace).sql("SELECT count(*) FILTER (keep) AS n FROM curation_all").to_pylist()
    assert raw == [{"n": 10}]
    # A release has what was decided when it was made.
    release.create(Store(workspace.root), "after")
    record(workspace, _drop(1, 2), "ada")
    assert _decided(workspace, name="before") == before
    assert _decided(workspace, name="after") == expected
    counts = verdicts(View.of(workspace, release="after"))
    assert (counts.kept, counts.reasons) == (10, {"dark": 1, "by_hand": 1})
    exported = said(winnow("export", "-w", workspace.root, "-f", "jsonl", "-o", tmp_path / "out", "--json"))
    assert exported["frames"] == {"default": 8}
    chosen = said(winnow("select", "-w", workspace.root, "--name", "s", "--fraction", "1", "--json"))
    assert chosen["chosen"] == 8
    assert "by_hand" in report.render(workspace)
    changes = Preview(workspace, again.job_id).changes()
    assert (changes.counts()["kept"], changes.counts()["kept_before"], changes.changed().height) == (8, 8, 0)


def test_models_are_shown_what_people_keep(workspace: Workspace, cam: Path) -> None:
    settings = ("stages=[annotate]", "annotate.frames=kept", "moving.history=9")
    go(workspace, cam, settings=settings)

    def shown() -> list[int]:
        rows = View.of(workspace).sql("SELECT frame_idx FROM annotated ORDER BY 1").to_pylist()
        return [row["frame_idx"] for row in rows]

    kept = [n for n in range(N) if n not in DARK]
    assert shown() == kept
    record(workspace, [*_drop(0), Override("cam", 3, "keep")], "ada")
    # What was dropped is hidden at once; what is kept is annotated by the next run, and nothing else is.
    assert shown() == kept[1:]
    assert computed(go(workspace, cam, settings=settings)) == {"annotate": 1}
    assert shown() == sorted([*kept[1:], 3])
    record(workspace, [Override("cam", 0, None), Override("cam", 3, None)], "ada")
    assert shown() == kept


def test_the_same_twice_changes_nothing_and_a_change_is_undone(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    before = _decided(workspace)
    first = record(workspace, _drop(0, 1, note="lens"), "ada", now_ns=1_000)
    assert first.before == [Override("cam", 0, None), Override("cam", 1, None)]
    version = Store(workspace.root).open(schemas.OVERRIDES).version
    assert record(workspace, _drop(0, 1, note="lens"), "eve").counts["unchanged"] == 2
    assert Store(workspace.root).open(schemas.OVERRIDES).version == version
    # Another person decides otherwise about one of them, and that stays.
    second = record(workspace, [Override("cam", 1, "keep")], "eve", now_ns=2_000)
    assert second.before == [Override("cam", 1, "drop", "lens")]
    undone = record(workspace, first.before, "ada", unless_after_ns=first.decided_ns)
    assert (undone.counts["removed"], undone.counts["newer"]) == (1, 1)
    rows = Store(workspace.root).read(schemas.OVERRIDES).to_pylist()
    assert [(row["frame_idx"], row["decision"], row["author"]) for row in rows] == [(1, "keep", "eve")]
    record(workspace, second.before, "eve", unless_after_ns=second.decided_ns)
    # What somebody has restored is no decision of another one: their earlier changes are undone as well.
    again = record(workspace, [Override("cam", 1, "keep")], "ada", now_ns=3_000)
    last = record(workspace, [Override("cam", 1, "drop", "so")], "ada", now_ns=4_000)
    for each in (last, again):
        assert record(workspace, each.before, "ada", unless_after_ns=each.decided_ns).counts["newer"] == 0
    assert Store(workspace.root).read(schemas.OVERRIDES)["note"].to_pylist() == ["lens"]
    record(workspace, first.before, "ada")
    assert _decided(workspace) == before


def test_a_decision_is_not_valid_for_another_image(workspace: Workspace, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "cam", [noise(n) for n in range(4)])
    go(workspace, folder)
    record(workspace, _drop(2), "ada")
    cv2.imwrite(str(folder / "image_2.png"), noise(99))
    go(workspace, folder)
    assert all(keep for keep, _ in _decided(workspace).values())
    # The next decision about the frame takes the place of the former one.
    record(workspace, _drop(2), "ada")
    assert _decided(workspace)[2] == (False, ["by_hand"])
    assert Store(workspace.root).read(schemas.OVERRIDES).num_rows == 1


def test_what_cannot_be_decided_is_refused_all_at_once(workspace: Workspace, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "cam", [noise(n) for n in range(3)])
    (folder / "image_3.png").write_bytes(b"no image")
    go(workspace, folder)
    wanted = [*_drop(0, 0), Override("cam", 3, "keep"), Override("cam", 77, "drop"), Override("yard", 0, "drop")]
    with pytest.raises(UserError) as refused:
        record(workspace, wanted, "ada")
    assert refused.value.problems == [
        "frame 0 of 'cam' is named 2 times; name it once",
        "frame 3 of 'cam' does not decode, so that it cannot be kept",
        "there is no frame 77 of 'cam'",
        "there is no frame 0 of 'yard'",
    ]
    assert Store(workspace.root).open(schemas.OVERRIDES).n_rows == 0


def test_commands_set_list_and_remove(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    place = ("-w", workspace.root)
    frames = ("--stream", "cam", "--frame", "0-2", "--frame", "7")
    found = said(winnow("overrides", "set", "drop", *place, *frames, "--by", "ada", "--note", "lens", "--json"))
    assert (found["frames"], found["drop"]) == (4, 4)
    winnow("overrides", "set", "keep", *place, "--where", "list_contains(reasons, 'dark')", "--by", "eve")
    listed = said(winnow("overrides", "list", *place, "--json"))
    assert {(row["frame_idx"], row["decision"], row["author"], row["note"]) for row in listed} == {
        *((n, "drop", "ada", "lens") for n in (0, 1, 2, 7)),
        *((n, "keep", "eve", None) for n in DARK),
    }
    removed = said(winnow("overrides", "remove", *place, "--where", "keep = false", "--json"))
    assert removed["removed"] == 4
    for words, line in {
        ("set", "burn", "--where", "keep"): "expected keep or drop, found 'burn'",
        ("set", "keep"): "expected frames or a condition: give --stream with --frame, or --where",
        ("set", "keep", "--frame", "1"): "--frame: expected the stream of the frames as well, as --stream ID",
        ("remove", "--stream", "cam", "--frame", "9-"): "--frame '9-': expected a number, or two as first-last",
    }.items():
        assert problems(winnow("overrides", *words, *place)) == [line]


_WRITER = """
import sys
from jobs.review.overrides import Override, record
from jobs.storage.workspace import Workspace
workspace = Workspace.at(sys.argv[1])
print("ready", flush=True)
for n in range(int(sys.argv[2])):
    record(workspace, [Override("cam", idx, "drop", f"{n}") for idx in range(12)], "ada")
    print(n, flush=True)
"""


def test_a_writer_that_is_killed_leaves_all_of_a_change_or_nothing(workspace: Workspace, cam: Path) -> None:
    go(workspace, cam)
    for delay_s in np.linspace(0.0, 0.12, 6):
        command = [sys.executable, "-c", _WRITER, str(workspace.root), "1000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            acknowledged = [int(writer.stdout.readline()) for _ in range(2)]
            time.sleep(float(delay_s))
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged += [int(line) for line in writer.stdout.read().splitlines()]
        rows = Store(workspace.root).read(schemas.OVERRIDES).to_pylist()
        # One row per frame, all of the same change: the last that was acknowledged, or the one after it.
        assert sorted(row["frame_idx"] for row in rows) == list(range(N))
        (note,) = {row["note"] for row in rows}
        assert int(note) - acknowledged[-1] in {0, 1}
        assert len({row["decided_ns"] for row in rows}) == 1
