"""Clips from one end of a run to the other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

import schemas
from jobs.analysis.report import render
from jobs.core.errors import RunFailedError, UserError
from jobs.datasets.export import ExportRequest, export
from jobs.storage import maintenance
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import (
    assert_one_live_row,
    assert_same_tables,
    computed,
    damage,
    go,
    noise,
    rows,
    said,
    scenery,
    winnow,
    write_clip,
    write_noise_stream,
)
from transforms.frames import clip_index
from transforms.frames.clip import Clip, FrameName
from transforms.frames.image import encode_jpeg

pytestmark = pytest.mark.usefixtures("engine")
N = 60


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty frames at 25 per second, a keyframe every twelve; the last twenty show nothing that moves."""
    moving = scenery(40)
    return write_clip(tmp_path_factory.mktemp("footage") / "gate.mp4", [*moving, *[moving[-1]] * 20])


def test_a_clip_is_a_stream(workspace: Workspace, footage: Path) -> None:
    record = go(workspace, footage, settings=["idle.min_frames=10"])
    assert record.state == "done"
    frames = View.of(workspace).sql("SELECT * FROM curated ORDER BY frame_idx").to_pylist()
    assert [f["frame_idx"] for f in frames] == list(range(N))
    assert {(f["stream_id"], f["width"], f["height"], f["format"], f["status"]) for f in frames} == {
        ("gate", 160, 90, "h264", "ok")
    }
    assert [f["time_ns"] for f in frames[:3]] == [0, 40_000_000, 80_000_000]
    assert [f["motion"] is None for f in frames[:2]] == [True, False]
    assert min(f["motion_peak"] for f in frames[1:39]) > 0.05 > max(f["motion_peak"] for f in frames[41:])
    (stream,) = rows(workspace, schemas.STREAMS).to_dicts()
    assert (stream["kind"], stream["uri"], stream["n_frames"], stream["sampling"]) == (
        "video",
        str(footage),
        N,
        "native",
    )
    assert (stream["gaps"], stream["step"]) == ([], 1)
    assert_one_live_row(workspace)


def test_results_do_not_depend_on_blocks_which_are_cut_at_keyframes(
    workspace: Workspace, tmp_path: Path, footage: Path
) -> None:
    go(workspace, footage)
    other = Workspace.at(tmp_path / "other")
    record = go(other, footage, settings=["unit_frames=8", "resources.block_frames=8"])
    assert record.counts["frames_visited"] == N
    # Five groups of pictures, each decoded once, and of the next one the keyframe, for its motion.
    assert record.counts["frames_decoded"] == N + 4
    assert_same_tables(workspace, other)


def test_a_frozen_feed_is_detected_after_reencoding(workspace: Workspace, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    (scene,) = scenery(1)
    live = [np.clip(scene + rng.normal(0, 1.5, scene.shape), 0, 255).astype(np.uint8) for _ in range(240)]
    frozen = [*live[:90], *[live[90]] * 150]
    for name, pictures in (("live", live), ("frozen", frozen)):
        settings = {"crf": "23", "preset": "medium"}
        write_clip(tmp_path / "site" / f"{name}.mp4", pictures, gop=20, options_too=settings)
    go(workspace, tmp_path / "site")
    view = View.of(workspace)
    # No two neighbours in the freeze need be alike, as the encoder keeps improving on what it has.
    assert view.sql("SELECT stream_id FROM idle WHERE frozen GROUP BY ALL").to_pylist() == [{"stream_id": "frozen"}]
    (found,) = view.sql("SELECT start_idx, end_idx FROM idle WHERE frozen").to_pylist()
    assert 90 <= found["start_idx"] < 170
    assert found["end_idx"] >= 200
    kept = view.lazy("motion").filter(pl.col("sketch").is_not_null()).collect()
    assert set(kept["frame_idx"]) == set(range(0, 240, 20))


def test_an_unchanged_clip_is_not_read_again(
    workspace: Workspace, footage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(workspace, footage)
    monkeypatch.setattr(clip_index, "index_clip", None)
    record = go(workspace, footage)
    assert computed(record) == {}
    assert record.counts["frames_read"] == 0


def test_a_touched_clip_is_read_but_not_recomputed(workspace: Workspace, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "gate.mp4", scenery(20))
    go(workspace, path)
    before = {t.name: rows(workspace, t) for t in (schemas.QUALITY, schemas.MOTION, schemas.FINGERPRINTS)}
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    record = go(workspace, path)
    assert (computed(record), record.outcomes["frames"].verified) == ({}, 20)
    assert all(rows(workspace, schemas.BY_NAME[name]).equals(table) for name, table in before.items())
    assert computed(go(workspace, path)) == {}


def test_frame_numbers_do_not_depend_on_the_sampling(workspace: Workspace, footage: Path) -> None:
    sparse = go(workspace, footage, settings=["ingest.fps=5"])
    assert sparse.frames == 12
    assert rows(workspace, schemas.FRAMES)["frame_idx"].to_list() == list(range(0, N, 5))
    assert rows(workspace, schemas.MOTION)["motion"].null_count() == 1
    every = go(workspace, footage)
    assert every.outcomes["quality"].computed == N - 12
    assert_one_live_row(workspace)
    keys = go(workspace, footage, settings=["ingest.fps=keyframes"])
    assert keys.frames == 5
    assert computed(keys)["motion"] == 4


def test_a_folder_of_clips_is_as_many_streams(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "site"
    write_clip(root / "north" / "a.mp4", scenery(5))
    write_clip(root / "north" / "a.mkv", scenery(6))
    write_clip(root / "b.MP4", scenery(7))
    write_noise_stream(root / "frames", range(3))
    (root / ".hidden.mp4").write_bytes(b"")
    go(workspace, root)
    found = rows(workspace, schemas.STREAMS)
    assert dict(zip(found["stream_id"], found["n_frames"], strict=True)) == {
        "b": 7,
        "frames": 3,
        "north/a.mkv": 6,
        "north/a.mp4": 5,
    }


def test_frames_next_to_clips_need_a_setting(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(3))
    write_clip(cam / "a.mp4", scenery(5))
    with pytest.raises(UserError, match=r"below it there are more, such as a\.mp4.*ingest\.nested=skip"):
        go(workspace, cam)
    assert go(workspace, cam, settings=["ingest.nested=skip"]).frames == 3


def test_a_file_that_is_no_clip_stops_the_run_before_any_work(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"nothing of the kind")
    write_clip(tmp_path / "yes.mp4", scenery(3))
    with pytest.raises(UserError, match=r"no\.mp4: expected a video clip"):
        go(workspace, tmp_path)
    assert not workspace.exists


def test_clips_that_cannot_be_read_are_named_at_once_or_skipped(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    write_clip(folder / "yes.mp4", scenery(3))
    for name in ("a", "b"):
        (folder / f"{name}.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError) as refused:
        go(workspace, folder)
    (problem,) = refused.value.problems
    assert all(word in problem for word in ("/a.mp4: expected", "/b.mp4: expected", "--set ingest.unreadable=skip"))
    args = ("run", "--input", folder, "-w", workspace.root, "--set", "ingest.unreadable=skip")
    assert "skipped 2 clips that cannot be read: a, b; the next run" in winnow(*args).output
    found = rows(workspace, schemas.STREAMS)
    assert found["n_frames"].to_list() == [0, 0, 3]
    assert [bool(error) for error in found["error"]] == [True, True, False]
    write_clip(folder / "a.mp4", scenery(4))
    record = said(winnow(*args, "--json"))
    assert (record["frames"], record["skipped"]) == (7, ["b"])
    # What was measured is not dropped in silence.
    (folder / "a.mp4").write_bytes(b"nothing any more")
    with pytest.raises(UserError, match=r"'a' has lost 4 of its 4 frames since the last run \(expected"):
        go(workspace, folder, settings=["ingest.unreadable=skip"])


def test_frames_that_do_not_decode_are_corrupt_rows(workspace: Workspace, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "hurt.mkv", scenery(30, 180, 320), codec="libvpx-vp9")
    damage(path, 15)
    record = go(workspace, path)
    bad = rows(workspace, schemas.FRAMES).filter(status="corrupt")
    assert bad["frame_idx"].to_list() == list(range(15, 24))
    assert record.outcomes["frames"].corrupt == 9
    assert rows(workspace, schemas.CURATION).filter(frame_idx=15)["reasons"].to_list() == [["corrupt"]]
    assert computed(go(workspace, path)) == {}


def test_a_missing_clip_stops_the_run(workspace: Workspace, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clips" / "a.mp4", scenery(5))
    write_clip(tmp_path / "clips" / "b.mp4", scenery(6))
    go(workspace, path.parent)
    path.unlink()
    with pytest.raises(UserError, match="'a' has lost 5 of its 5 frames"):
        go(workspace, path.parent)


def test_exports_write_frames_of_clips_as_images(workspace: Workspace, tmp_path: Path) -> None:
    pictures = [noise(n) for n in range(6)]
    path = write_clip(tmp_path / "cuts.mp4", pictures)
    go(workspace, path)
    manifest = export(workspace, ExportRequest("coco", place(tmp_path / "one"), everything=True))
    again = export(workspace, ExportRequest("coco", place(tmp_path / "two"), everything=True))
    assert manifest["files"] == again["files"]
    images = json.loads((tmp_path / "one" / "annotations" / "instances_default.json").read_text())["images"]
    assert len(images) == 6
    for number, image in enumerate(images):
        data = (tmp_path / "one" / image["file_name"]).read_bytes()
        assert data == (tmp_path / "two" / image["file_name"]).read_bytes()
        shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert shown is not None
        assert (image["width"], image["height"]) == shown.shape[::-1]
        assert np.abs(shown.astype(int) - pictures[number]).mean() < 16
    with pytest.raises(UserError, match="--media copy"):
        export(workspace, ExportRequest("coco", place(tmp_path / "three"), everything=True, media="link"))


def test_reports_show_frames_of_clips(workspace: Workspace, footage: Path) -> None:
    go(workspace, footage)
    page = render(workspace)
    assert page.count("data:image/jpeg;base64,") > 3


def pictures_in(workspace: Workspace) -> list[Path]:
    return sorted(Path(str(workspace.root), "pictures").rglob("*.jpg"))


def test_frames_of_clips_can_be_written_as_files(workspace: Workspace, tmp_path: Path, footage: Path) -> None:
    go(workspace, footage)
    cam = write_noise_stream(tmp_path / "cam", range(2))
    written = go(workspace, footage, cam, settings=["ingest.materialize=jpeg"])
    # What was measured stays; frames that are files of their own are none to be written.
    assert computed(written) == {
        "frames": 2,
        "quality": 2,
        "fingerprints": 2,
        "motion": 2,
        "media": N + 2,
        "curation": 2,
    } | {name: n for name, n in computed(written).items() if name in {"idle", "scenes", "duplicates"}}
    found = rows(workspace, schemas.MEDIA)
    assert found.filter(stream_id="cam")["picture"].to_list() == [None, None]
    names = found.filter(stream_id="gate")["picture"].to_list()
    on_disk = [p.relative_to(str(workspace.root)).as_posix() for p in pictures_in(workspace)]
    assert sorted(set(names)) == on_disk
    assert computed(go(workspace, footage, cam, settings=["ingest.materialize=jpeg"])) == {}
    # They are what an export makes of the clip, and can be linked to.
    export(workspace, ExportRequest("coco", place(tmp_path / "linked"), everything=True, media="link"))
    linked = sorted((tmp_path / "linked" / "images").rglob("frame_*.jpg"))
    assert len(linked) == N
    assert all(path.is_symlink() for path in linked)
    with Clip(str(footage)) as clip:
        uri = View.of(workspace).sql("SELECT uri FROM frames WHERE stream_id = 'gate' AND frame_idx = 7").to_pylist()
        name = FrameName.parse(uri[0]["uri"])
        assert name is not None
        assert linked[7].read_bytes() == encode_jpeg(clip.frame(name).color())
    target = linked[7].resolve()
    target.write_bytes(target.read_bytes() + b"x")
    with pytest.raises(RunFailedError, match="its bytes have changed"):
        export(workspace, ExportRequest("coco", place(tmp_path / "hurt"), everything=True, media="link"))


def test_vacuum_keeps_images_that_rows_refer_to(workspace: Workspace, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "gate.mp4", [noise(n) for n in range(4)])
    go(workspace, path, settings=["ingest.materialize=jpeg"])
    kept = pictures_in(workspace)
    stray = kept[0].with_name("00000009-0123456789abcdef0123.jpg")
    stray.write_bytes(b"left behind by a run that was killed")
    store = Store(workspace.root)
    assert maintenance.vacuum(store, "test", retention_hours=24)
    assert stray.exists()
    deleted = [name for change in maintenance.vacuum(store, "test", retention_hours=0) for name in change.deleted]
    assert [name for name in deleted if name.startswith("pictures/")] == [
        stray.relative_to(str(workspace.root)).as_posix()
    ]
    assert pictures_in(workspace) == kept


@pytest.mark.usefixtures("engine")
def test_frames_of_a_clip_have_the_time_of_its_name_and_their_place_in_it(workspace: Workspace, tmp_path: Path) -> None:
    pictures = [noise(n, 48, 64) for n in range(4)]
    times_ms = [0, 40, 400, 440]
    clip = write_clip(tmp_path / "gate_20240115_103040.mp4", pictures, times_ms)
    begins_ns = 1_705_314_640 * 10**9
    for _ in range(2):
        # Listed for the first time, and then as it was listed before.
        go(workspace, clip)
        frames = rows(workspace, schemas.FRAMES).sort("frame_idx")
        assert frames["t_ns"].to_list() == [begins_ns + ms * 10**6 for ms in times_ms]
        assert frames["time_source"].to_list() == ["name"] * 4
    listed = rows(workspace, schemas.LISTING).sort("frame_idx")
    assert listed["time_source"].to_list() == ["name"] * 4
    assert go(workspace, clip).outcomes["frames"].computed == 0
