"""Splits of real tables: of a fixed camera, of unrelated images, and of what a release has given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import schemas
from jobs.core.errors import UserError
from jobs.datasets import release
from jobs.datasets.export import ExportRequest, export
from jobs.engine.ray_engine import Engine
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, noise, winnow, write_clip, write_noise_stream, write_pictures
from transforms.curate.time_blocks import Length

N = 240
_VISIT, _PERIOD = 15, 30
HALVES = {"train": 0.8, "val": 0.2}
# Two frames of a fixed camera are duplicates only if hardly anything differs; nothing is dropped.
FIXED = (
    "stages=[quality, fingerprints, motion, scenes, duplicates, curation, annotate, track]",
    "duplicates.hamming=0",
    "duplicates.agreement=1",
    "curation.ignore=[near_duplicate, idle, exact_duplicate]",
    "annotate.detector=motion",
    "annotate.frames=all",
)


def gate(n: int) -> list[npt.NDArray[np.uint8]]:
    """A fixed scene under a little noise, through which a bright square goes in 15 of every 30 frames."""
    scene = noise(1)
    pictures = []
    for number in range(n):
        rng = np.random.default_rng(number)
        picture = np.clip(scene.astype(np.int16) + rng.integers(-2, 3, scene.shape), 0, 255).astype(np.uint8)
        at = number % _PERIOD
        if at < _VISIT:
            picture[30:55, 8 * at : 8 * at + 25] = 250
        pictures.append(picture)
    return pictures


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Workspace:
    """The workspace of one fixed camera, a clip of 25 frames a second."""
    root = tmp_path_factory.mktemp("fixed")
    clip = write_clip(root / "gate.mp4", gate(N))
    workspace = Workspace.at(root / "tables")
    go(workspace, clip, settings=FIXED)
    return workspace


def exported(workspace: Workspace, out: Path, **options: Any) -> tuple[dict[str, Any], pl.DataFrame]:
    """Export with a split; return the manifest's report, and the frames with their splits."""
    request = ExportRequest("parquet", place(out), split=options.pop("split", HALVES), **options)
    report = export(workspace, request)["split_report"]
    return report, pl.concat([pl.read_parquet(p) for p in sorted(out.glob("*.parquet"))]).sort(schemas.FRAME_KEY)


def distances(frames: pl.DataFrame) -> list[int]:
    """Return the distance of each frame of val to the nearest one of train."""
    train = frames.filter(split="train")["frame_idx"].to_numpy()
    return [int(abs(train - at).min()) for at in frames.filter(split="val")["frame_idx"]]


def test_a_fixed_camera_is_divided_by_time_unasked(fixed: Workspace, tmp_path: Path) -> None:
    report, frames = exported(fixed, tmp_path / "out", max_leak=0)
    assert report["streams"] == {"gate": {"by": "time", "block": "20 frames", "guard": "5 frames"}}
    found = report["of"]["val"]
    assert found["frames"] == frames.filter(split="val").height
    assert found["distance"]["min"] == min(distances(frames)) >= 5
    assert found["distance"]["within_step"] == 0
    assert found["tracks"]["in_both"] == found["groups"]["in_both"] == found["leaking"]["frames"] == 0
    left = report["left_out"]
    assert {"near_border", "shared_track"} <= set(left)
    assert frames.height + sum(left.values()) == N
    blocks = frames.with_columns(block=pl.col("frame_idx") // 20).group_by("block").agg(pl.col("split").n_unique())
    assert blocks["split"].max() == 1


def crossed(n: int, period: int, visit: int, root: Path) -> Workspace:
    """The workspace of a fixed camera before which a square goes round for `visit` of every `period` frames."""
    scene = noise(1)
    pictures = []
    for number in range(n):
        rng = np.random.default_rng(number)
        picture = np.clip(scene.astype(np.int16) + rng.integers(-2, 3, scene.shape), 0, 255).astype(np.uint8)
        if number % period < visit:
            angle = number % period / 4
            x, y = round(70 + 40 * np.cos(angle)), round(45 + 25 * np.sin(angle))
            picture[y - 12 : y + 12, x - 12 : x + 12] = 250
        pictures.append(picture)
    clip = write_clip(root / "gate.mp4", pictures)
    workspace = Workspace.at(root / "tables")
    go(workspace, clip, settings=FIXED)
    return workspace


def test_long_tracks_are_on_one_side(tmp_path: Path, engine: Engine) -> None:
    workspace = crossed(N, 60, 50, tmp_path)
    spans = View.of(workspace).sql(
        "SELECT max(frame_idx) - min(frame_idx) AS n FROM objects WHERE track_id IS NOT NULL GROUP BY track_id"
    )
    assert max(spans["n"].to_pylist()) > 40
    report, frames = exported(workspace, tmp_path / "out", max_leak=0)
    assert report["streams"] == {"gate": {"by": "time", "block": "20 frames", "guard": "5 frames"}}
    assert report["tracks_in_several"] == []
    found = report["of"]["val"]
    assert found["tracks"]["in_it"] > 0
    assert found["tracks"]["in_both"] == found["leaking"]["frames"] == 0
    assert min(distances(frames)) >= 5
    assert frames.filter(split="val").height >= 20
    assert frames.height > N / 2


def test_shares_unlike_those_requested_are_printed(fixed: Workspace, tmp_path: Path) -> None:
    options = ("export", "-f", "jsonl", "--media", "none", "-w", fixed.root, "--split-by", "time")
    far = winnow(*options, "-o", tmp_path / "far", "--split", "train=0.3,val=0.7", "--block", "160").stdout
    found = json.loads((tmp_path / "far/manifest.json").read_text())["split_report"]["shares"]["val"]["found"]
    assert found < 0.5
    assert f"val {found:.1%} (70% requested)" in far
    near = winnow(*options, "-o", tmp_path / "near", "--split", "train=0.5,val=0.5", "--block", "20").stdout
    assert "requested" not in near
    shares = json.loads((tmp_path / "near/manifest.json").read_text())["split_report"]["shares"]
    assert shares["val"]["found"] == pytest.approx(0.5, abs=0.1)


def test_a_track_on_everything_is_named(tmp_path: Path, engine: Engine) -> None:
    workspace = crossed(120, 120, 120, tmp_path)
    report, _ = exported(workspace, tmp_path / "out")
    (track,) = report["tracks_in_several"]
    assert track["frames"] > 60
    assert report["of"]["val"]["tracks"]["in_both"] == 1
    with pytest.raises(UserError, match=r"--max-leak 0: .*1 tracks in both"):
        exported(workspace, tmp_path / "refused", max_leak=0.0)


def test_groups_alone_leak_and_can_be_refused(fixed: Workspace, tmp_path: Path) -> None:
    report, frames = exported(fixed, tmp_path / "out", split_by="group")
    found = report["of"]["val"]
    assert found["distance"]["min"] == min(distances(frames)) == 1
    assert found["distance"]["within_step"] > 0.8
    assert found["tracks"]["in_both"] > 0
    with pytest.raises(
        UserError, match=r"--max-leak 0: .* frames of val .* leak from train: .* within one sampling step"
    ):
        exported(fixed, tmp_path / "refused", split_by="group", max_leak=0.0)
    assert not (tmp_path / "refused").exists()


def test_tracks_stay_whole(fixed: Workspace, tmp_path: Path) -> None:
    report, frames = exported(fixed, tmp_path / "out", split_by="track", split={"train": 0.5, "val": 0.5})
    found = report["of"]["val"]
    assert found["tracks"]["in_it"] > 0
    assert found["tracks"]["in_both"] == 0
    assert found["distance"]["min"] == min(distances(frames)) >= 2
    assert report["streams"]["gate"] == {"by": "track", "guard": "2 frames"}


def test_one_scene_cannot_be_divided_by_scene(fixed: Workspace, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no frame fell into \w+ \(.* 0.*\); scenes that stay together: 1; .*--split-by time"
    ):
        exported(fixed, tmp_path / "out", split_by="scene")
    assert not (tmp_path / "out").exists()


def test_blocks_and_gaps_are_given_in_frames_or_seconds(fixed: Workspace, tmp_path: Path) -> None:
    seconds = {"block": Length(2.0, "seconds"), "guard": Length(0.4, "seconds")}
    report, frames = exported(fixed, tmp_path / "seconds", split_by="time", **seconds)
    assert report["streams"]["gate"] == {"by": "time", "block": "2 s", "guard": "0.4 s"}
    assert min(distances(frames)) >= 10
    report, frames = exported(fixed, tmp_path / "frames", block=Length(30), guard=Length(7))
    assert report["streams"]["gate"] == {"by": "time", "block": "30 frames", "guard": "7 frames"}
    assert min(distances(frames)) >= 7


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"block": Length(10), "guard": Length(1.0, "seconds")}, "both in frames, or both in seconds"),
        ({"block": Length(10), "guard": Length(10)}, "expected less than --block 10 frames"),
        ({"block": Length(0)}, "expected more than 0"),
        ({"block": Length(10), "split_by": "scene"}, "and not for --split-by scene"),
        ({"max_leak": 2.0}, "expected a share from 0 to 1"),
        ({"split": {}, "max_leak": 0.0}, "nothing that could leak"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(
    fixed: Workspace, tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        exported(fixed, tmp_path / "out", **options)


def test_duplicates_of_frames_that_only_an_earlier_release_had_are_on_their_side(
    tmp_path: Path, engine: Engine
) -> None:
    half = 80
    scenes = [noise(number % half) for number in range(2 * half)]
    for number in range(half, 2 * half):
        scenes[number] = np.clip(scenes[number].astype(np.int16) + 1, 0, 255).astype(np.uint8)
    workspace = Workspace.at(tmp_path / "tables")
    stages = "stages=[quality, fingerprints, motion, scenes, duplicates, curation]"
    ignored = "curation.ignore=[near_duplicate, idle, exact_duplicate]"
    go(workspace, write_pictures(tmp_path / "cam", scenes), settings=(stages, ignored))
    release.create(Store(workspace.root), "v1")
    options: dict[str, Any] = {
        "release": "v1",
        "split": {"train": 0.5, "val": 0.5},
        "block": Length(8),
        "guard": Length(1),
    }
    _, first = exported(workspace, tmp_path / "first", where=f"frame_idx < {half}", **options)
    _, second = exported(workspace, tmp_path / "second", where=f"frame_idx >= {half}", **options)
    sides = dict(first.select("group_id", "split").iter_rows())
    both = [(sides[group], split) for group, split in second.select("group_id", "split").iter_rows() if group in sides]
    assert len(both) > half // 8
    assert all(one == other for one, other in both)


def test_new_frames_keep_away_from_those_that_only_an_earlier_release_had(tmp_path: Path, engine: Engine) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, write_clip(tmp_path / "gate.mp4", gate(N)), settings=FIXED)
    store = Store(workspace.root)
    release.create(store, "v1")
    options: dict[str, Any] = {"release": "v1", "split": {"train": 0.5, "val": 0.5}, "guard": Length(4)}
    exported(workspace, tmp_path / "first", where="frame_idx % 3 = 0", block=Length(20), **options)
    manifest = (tmp_path / "first/manifest.json").read_bytes()
    exported(workspace, tmp_path / "second", where="frame_idx % 3 = 1", block=Length(33), **options)
    given = View.of(workspace).lazy("splits").drop_nulls("split").collect()
    sides = dict(given.select("frame_idx", "split").iter_rows())
    new = {index: split for index, split in sides.items() if index % 3 == 1}
    assert set(new.values()) == {"train", "val"}
    apart = [abs(one - other) for one in new for other in sides if sides[one] != sides[other]]
    assert min(apart) >= 4
    tracks = View.of(workspace).sql("SELECT DISTINCT track_id, frame_idx FROM objects WHERE track_id IS NOT NULL")
    seen = pl.DataFrame(tracks).join(given.select("frame_idx", "split"), on="frame_idx")
    assert seen.filter(pl.col("frame_idx") % 3 == 1).height > 5
    assert seen.group_by("track_id").agg(pl.col("split").n_unique())["split"].max() == 1
    # What the second one has recorded does not change the first.
    exported(workspace, tmp_path / "first", where="frame_idx % 3 = 0", block=Length(20), **options)
    assert (tmp_path / "first/manifest.json").read_bytes() == manifest


def test_a_release_gives_splits_for_good(tmp_path: Path, engine: Engine) -> None:
    cam = write_pictures(tmp_path / "cam", gate(120))
    workspace = Workspace.at(tmp_path / "tables")
    stages = "stages=[quality, fingerprints, scenes, duplicates, curation]"
    settings = [stages, *(each for each in FIXED[1:] if not each.startswith("annotate"))]
    go(workspace, cam, settings=settings)
    store = Store(workspace.root)
    release.create(store, "v1")
    first, frames = exported(workspace, tmp_path / "v1", release="v1")
    manifest = (tmp_path / "v1/manifest.json").read_bytes()
    given = View.of(workspace).lazy("splits").collect()
    assert given.height == 120
    assert given.drop_nulls("split").height == frames.height
    assert "near_border" in given["left_out"].to_list()
    # Twice as many frames would have blocks, and borders, of their own.
    write_pictures(cam, gate(300)[120:], start=120)
    go(workspace, cam, settings=settings)
    release.create(store, "v2")
    second, more = exported(workspace, tmp_path / "v2", release="v2")
    assert second["streams"]["cam"]["block"] != first["streams"]["cam"]["block"]
    before = dict(frames.select("frame_idx", "split").iter_rows())
    after = dict(more.select("frame_idx", "split").iter_rows())
    assert {index: after.get(index) for index in before} == before
    assert not set(given.filter(pl.col("split").is_null())["frame_idx"]) & set(after)
    assert second["given_by_release"] == {"v1": frames.height, "v2": more.height - frames.height}
    assert second["of"]["val"]["distance"]["within_step"] == 0
    # The earlier release is exported as it was, to the byte; so is the current state, which has nothing new.
    exported(workspace, tmp_path / "v1", release="v1")
    assert (tmp_path / "v1/manifest.json").read_bytes() == manifest
    assert exported(workspace, tmp_path / "now")[1]["split"].to_list() == more["split"].to_list()
    with pytest.raises(UserError, match=r"--split names a, b; .* are in train, val for good, since release v1, v2"):
        exported(workspace, tmp_path / "other", release="v2", split={"a": 0.5, "b": 0.5})
    exported(workspace, tmp_path / "other", release="v2", split={"a": 0.5, "b": 0.5}, seed=1)
    assert set(View.of(workspace, release="v1").lazy("splits").collect()["seed"]) == {0, 1}


def test_equal_images_share_a_split_without_the_stage_duplicates(tmp_path: Path, engine: Engine) -> None:
    seeds = [number % 40 for number in range(120)]
    one, other = (write_noise_stream(tmp_path / name, seeds) for name in ("one", "other"))
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, one, other, settings=["stages=[quality, fingerprints, curation]"])
    for by in ("auto", "group", "time"):
        report, frames = exported(workspace, tmp_path / by, split_by=by)
        assert report["duplicates_unknown"] == ["one", "other"]
        assert frames.group_by("content_hash").agg(pl.col("split").n_unique())["split"].max() == 1
        assert report["of"]["val"]["groups"]["in_both"] == 0
    assert exported(workspace, tmp_path / "auto")[0]["streams"] == {"one": {"by": "group"}, "other": {"by": "group"}}
    with pytest.raises(UserError, match="--strict: near-duplicates are unknown in one, other"):
        exported(workspace, tmp_path / "strict", strict=True)
    with pytest.raises(UserError, match=r"streams without tracks: one, other"):
        exported(workspace, tmp_path / "tracks", split_by="track")
    with pytest.raises(UserError, match=r"frames of one, other have no times, since they are files"):
        exported(workspace, tmp_path / "seconds", guard=Length(1.0, "seconds"))


def test_near_duplicates_of_a_fixed_camera_may_be_let_through(tmp_path: Path, engine: Engine) -> None:
    scene = noise(1)
    still = [np.clip(scene.astype(np.int16) + number % 3, 0, 255).astype(np.uint8) for number in range(100)]
    for number, picture in enumerate(still):
        picture[0, 0] = number
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, write_pictures(tmp_path / "cam", still), settings=["curation.ignore=[near_duplicate, idle]"])
    with pytest.raises(UserError, match="what may help: --near-duplicates, since"):
        exported(workspace, tmp_path / "out")
    report, _ = exported(workspace, tmp_path / "out", near_duplicates=True)
    assert report["of"]["val"]["groups"]["in_both"] == 1
    assert report["of"]["val"]["distance"]["within_step"] == 0


def test_the_manifest_has_the_report(fixed: Workspace, tmp_path: Path) -> None:
    report, _ = exported(fixed, tmp_path / "out")
    assert json.loads((tmp_path / "out/manifest.json").read_text())["split_report"] == report
    (counts,) = report["classes"].values()
    assert counts["train"] > counts["val"] > 0
