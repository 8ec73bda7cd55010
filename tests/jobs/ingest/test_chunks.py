from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from jobs.core.errors import UserError
from jobs.ingest.chunks import TIMELINE, create, read_marks
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import computed, go, problems, rows, said, scenery, winnow, write_clip
from transforms.frames import chunking
from transforms.frames.clip_index import ClipIndex, index_clip


@st.composite
def clips(draw: st.DrawFn) -> ClipIndex:
    """Clips of any rate, with gaps, which begin anywhere: only the order of their times is certain."""
    steps = draw(st.lists(st.integers(1, 5000), min_size=1, max_size=80))
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 90_000 * 600]), min_size=len(steps), max_size=len(steps)))
    pts = draw(st.integers(-1000, 10**9)) + np.cumsum(np.array(steps) + np.array(gaps)).astype(np.int64)
    return ClipIndex(pts, pts, np.ones_like(pts), Fraction(1, draw(st.sampled_from([25, 1000, 90_000]))))


def check_cover(index: ClipIndex, intervals: list[tuple[int, int]]) -> None:
    covered = np.zeros(len(index.pts), np.int64)
    for begin, end in intervals:
        assert begin < end
        covered[begin:end] += 1
        # The same by presentation time, half-open.
        inside = (index.pts >= index.pts[begin]) & (index.pts < chunking.end_pts(index, end))
        assert np.flatnonzero(inside).tolist() == list(range(begin, end))
    assert (covered == 1).all()


@given(clips(), st.floats(0.06, 1e5))
def test_chunks_by_length_cover_each_frame_once(index: ClipIndex, seconds: float) -> None:
    intervals = chunking.by_length(index, seconds)
    check_cover(index, intervals)
    since = index.since_first_ns(np.arange(len(index.pts)))
    for begin, end in intervals:
        assert since[end - 1] - since[begin] < round(seconds * 1e9)


@given(clips(), st.lists(st.integers(-5, 100), max_size=10))
def test_chunks_at_frames_cover_each_frame_once(index: ClipIndex, starts: list[int]) -> None:
    check_cover(index, chunking.at_frames(index, starts))


def test_marks_are_read_and_problems_named(tmp_path: Path) -> None:
    file = tmp_path / "marks.csv"
    file.write_text("start,end,title\n1:00,,second\n0,2.5,first\n1:00:00,1:00:01,third\n")
    assert [tuple(vars(mark).values()) for mark in read_marks(file)] == [
        (0.0, 2.5, "first"),
        (60.0, 3600.0, "second"),
        (3600.0, 3601.0, "third"),
    ]
    file.write_text("start,end\nx,1\n5,4\n")
    with pytest.raises(UserError) as error:
        read_marks(file)
    assert len(error.value.problems) == 2


@pytest.mark.process
def test_a_run_takes_the_frames_of_a_timeline_and_measures_none_twice(workspace: Workspace, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "match.mp4", scenery(40))
    marks = tmp_path / "marks.csv"
    rate = 25
    marks.write_text(f"start,end,title\n{5 / rate},{15 / rate},first\n{30 / rate},,rest\n")
    where = ("--workspace", workspace.root)
    made = said(winnow("chunk", "--input", clip, "--by", marks, "--name", "half", *where, "--json"))
    assert [(c["start_idx"], c["end_idx"], c["title"]) for c in made["chunks"]] == [(5, 15, "first"), (30, 40, "rest")]
    record = go(workspace, f"{TIMELINE}half")
    assert record.frames == 20
    assert computed(record)["frames"] == 20
    taken = [*range(5, 15), *range(30, 40)]
    assert rows(workspace, schemas.FRAMES)["frame_idx"].sort().to_list() == taken
    # Another timeline of the same clip: what both have is there.
    store = Store(workspace.root)
    create(store, str(clip), f"minutes={12 / rate / 60}", "tenths", "tests")
    both = go(workspace, f"{TIMELINE}tenths")
    assert both.frames == 40
    assert computed(both)["frames"] == 20
    assert computed(both)["quality"] == 20
    # All of it is there now, and a frame has the rows that a run of the whole clip gives it.
    assert computed(go(workspace, clip)) == {}
    fresh = Workspace.at(tmp_path / "fresh")
    go(fresh, clip)
    for table in (schemas.FRAMES, schemas.QUALITY, schemas.MOTION):
        assert rows(workspace, table).equals(rows(fresh, table))


def test_what_cannot_be_a_timeline_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "match.mp4", scenery(10))
    where = ("--workspace", workspace.root)
    assert (
        "expected a clip"
        in problems(winnow("chunk", "--input", tmp_path, "--by", "minutes=1", "--name", "a", *where))[0]
    )
    for by, why in (
        ("minutes=0", "a number above"),
        ("hours=1", "expected scenes, minutes=N"),
        ("scenes", "found none"),
    ):
        [line] = problems(winnow("chunk", "--input", clip, "--by", by, "--name", "a", *where))
        assert why in line
    out = tmp_path / "out"
    made = said(winnow("chunk", "--input", clip, "--by", "minutes=1", "--name", "a", "--write", out, *where, "--json"))
    assert [(c["written"], Path(c["file"])) for c in made["chunks"]] == [("copied", out / "a-0000.mp4")]
    assert len(index_clip(str(out / "a-0000.mp4")).pts) == 10
    [line] = problems(winnow("chunk", "--input", clip, "--by", "minutes=2", "--name", "a", *where))
    assert "there is one of this name" in line
    [line] = problems(winnow("run", "--input", "timeline:b", *where, "--dry-run"))
    assert line == "input timeline:b: expected one of a"
    [line] = problems(winnow("run", "--input", "timeline:a", "--input", clip, *where, "--dry-run"))
    assert "name no other inputs" in line
