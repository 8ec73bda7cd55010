from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import schemas
from jobs.core.errors import UserError
from jobs.ingest.catalogue import IngestOverrides, catalogue, record
from jobs.ingest.stream_listing import StreamFiles
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests import helpers
from tests.helpers import copy_stream, scenery, winnow, write_clip, write_noise_stream
from transforms.frames.numbering import IngestParams


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Empty tables."""
    made = Store(place(tmp_path / "tables"))
    made.create_tables()
    return made


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def listed(store: Store, *inputs: Path, params: IngestParams | None = None, **overrides: object) -> list[StreamFiles]:
    return catalogue([str(i) for i in inputs], params or IngestParams(), IngestOverrides(**overrides), store)  # type: ignore[arg-type]


def problems(store: Store, *inputs: Path, **options: object) -> list[str]:
    with pytest.raises(UserError) as caught:
        listed(store, *inputs, **options)  # type: ignore[arg-type]
    return caught.value.problems


def test_a_folder_is_a_stream_of_its_name(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam1", "image_10.jpg", "image_2.jpg", "image_3.jpg", "readme.txt")
    (found,) = listed(store, cam)
    assert found.stream_id == "cam1"
    assert found.listing()["frame_idx"].to_pylist() == [2, 3, 10]
    assert found.listing()["uri"][0].as_py() == str(cam / "image_2.jpg")
    assert found.listing()["size_bytes"].to_pylist() == [11, 11, 12]
    assert found.row["gaps"] == [{"start": 4, "end": 9}]
    assert (found.row["n_missing"], found.row["n_ignored"], found.row["kind"]) == (6, 1, "folder")


def test_a_parent_folder_is_a_stream_per_folder_below(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "recordings"
    touch(root / "site1/cam1", "1.jpg")
    touch(root / "site1/cam2", "1.jpg")
    touch(root / "site2", "1.jpg")
    touch(root / ".hidden", "1.jpg")
    touch(root / "notes", "readme.txt")
    assert [s.stream_id for s in listed(store, root)] == ["site1/cam1", "site1/cam2", "site2"]


def test_the_same_folder_twice_is_one_stream(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", "1.jpg")
    assert len(listed(store, cam, tmp_path / "cam/../cam")) == 1


def test_ids_given_by_the_user(store: Store, tmp_path: Path) -> None:
    one, two = touch(tmp_path / "x/cam", "1.jpg"), touch(tmp_path / "y/cam", "1.jpg")
    assert [s.stream_id for s in listed(store, one, two, stream_ids=["left", "right"])] == ["left", "right"]


def test_two_places_with_one_id_are_both_named(store: Store, tmp_path: Path) -> None:
    one, two = touch(tmp_path / "x/cam", "1.jpg"), touch(tmp_path / "y/cam", "1.jpg")
    (found,) = problems(store, one, two)
    assert str(one) in found
    assert str(two) in found
    assert "--stream-id" in found


@pytest.mark.parametrize("name", ["../up", "/abs", "a//b", "", "a\nb", ".", "x/../y"])
def test_ids_that_cannot_be_names_are_refused(store: Store, tmp_path: Path, name: str) -> None:
    cam = touch(tmp_path / "cam", "1.jpg")
    assert "stream id" in problems(store, cam, stream_ids=[name])[0]


def test_all_problems_of_all_inputs_are_reported_at_once(store: Store, tmp_path: Path) -> None:
    a_file = touch(tmp_path, "clip.bin") / "clip.bin"
    empty = tmp_path / "empty"
    empty.mkdir()
    other = touch(tmp_path / "other", "a.txt", "b.txt")
    double = touch(tmp_path / "double", "a_1.jpg", "b_1.jpg", "a_2.jpg")
    found = problems(store, tmp_path / "nowhere", a_file, empty, other, double)
    assert len(found) == 5
    assert "does not exist" in found[0]
    assert "is a file" in found[1]
    assert "the folder is empty" in found[2]
    assert "'a.txt'" in found[3]
    assert "1 (a_1.jpg, b_1.jpg)" in found[4]


def test_files_with_one_number_can_be_skipped(store: Store, tmp_path: Path) -> None:
    double = touch(tmp_path / "double", "a_1.jpg", "b_1.jpg", "a_2.jpg", "a_3.jpg")
    (found,) = listed(store, double, params=IngestParams(strict_sequence=False))
    assert found.listing()["frame_idx"].to_pylist() == [2, 3]
    assert found.row["n_repeated"] == 2


def test_no_input_and_wrong_number_of_ids(store: Store, tmp_path: Path) -> None:
    assert "no input" in problems(store)[0]
    cam = touch(tmp_path / "cam", "1.jpg")
    assert "2 --stream-id for 1 --input" in problems(store, cam, stream_ids=["a", "b"])[0]


def test_an_id_stays_with_its_folder(store: Store, tmp_path: Path) -> None:
    one, two = touch(tmp_path / "x/cam", "1.jpg"), touch(tmp_path / "y/cam", "1.jpg")
    record(listed(store, one), store, "job")
    (found,) = problems(store, two)
    assert "--rebind" in found
    assert str(one) in found
    assert listed(store, two, rebind=True)[0].uri == str(two)


def test_lost_frames_stop_the_run_above_a_tenth(store: Store, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(20))
    record(listed(store, cam), store, "job")
    for number in (3, 4):
        (cam / f"image_{number}.jpg").unlink()
    assert listed(store, cam)[0].n_frames == 18
    (cam / "image_5.jpg").unlink()
    (found,) = problems(store, cam)
    assert "has lost 3 of its 20 frames" in found
    assert "--allow-missing" in found
    assert listed(store, cam, allow_missing=True)[0].n_frames == 17


def test_the_listing_is_written_where_it_changed(store: Store, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(10))
    record(listed(store, cam), store, "job")
    before = store.open(schemas.LISTING).version
    record(listed(store, cam), store, "job")
    assert store.open(schemas.LISTING).version == before
    write_noise_stream(cam, [77], start=10)
    (cam / "image_0.jpg").unlink()
    record(listed(store, cam), store, "job")
    rows = store.open(schemas.LISTING).read(("frame_idx",))
    assert sorted(rows["frame_idx"].to_pylist()) == list(range(1, 11))
    assert store.read(schemas.STREAMS)["n_frames"].to_pylist() == [10]


def test_frames_next_to_folders_of_frames_need_a_setting(store: Store, tmp_path: Path) -> None:
    touch(tmp_path / "data", "floorplan2.png")
    touch(tmp_path / "data/cam1", "image_0.jpg")
    (text,) = problems(store, tmp_path / "data")
    assert "cam1" in text
    assert "ingest.nested=skip" in text
    (found,) = listed(store, tmp_path / "data", params=IngestParams(nested="skip"))
    assert (found.stream_id, found.n_frames) == ("data", 1)


def test_a_stream_below_an_input_that_lost_all_frames_is_missed(store: Store, tmp_path: Path) -> None:
    for name in ("c1", "c2"):
        touch(tmp_path / "data" / name, "image_0.jpg", "image_1.jpg")
    record(listed(store, tmp_path / "data"), store, "one")
    shutil.rmtree(tmp_path / "data/c2")
    (text,) = problems(store, tmp_path / "data")
    assert "'c2' has lost 2 of its 2 frames" in text
    found = listed(store, tmp_path / "data", allow_missing=True)
    assert [(s.stream_id, s.n_frames) for s in found] == [("c1", 2), ("c2", 0)]
    record(found, store, "two")
    assert set(store.read(schemas.LISTING)["stream_id"].to_pylist()) == {"c1"}


def test_a_folder_is_not_taken_under_a_second_id(store: Store, tmp_path: Path) -> None:
    touch(tmp_path / "data/site/cam", "image_0.jpg")
    record(listed(store, tmp_path / "data"), store, "one")
    (text,) = problems(store, tmp_path / "data/site")
    assert "is stream 'site/cam'" in text


def test_linked_folders_are_followed_once(store: Store, tmp_path: Path) -> None:
    real = touch(tmp_path / "real", "image_0.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/cam").symlink_to(real)
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    assert [s.stream_id for s in listed(store, tmp_path / "data")] == ["cam"]


def linked(tmp_path: Path) -> Path:
    """Return a folder with a link, `night`, to a stream elsewhere, and with a clip-free stream of its own."""
    touch(tmp_path / "disk2/night_0412", "image_0.jpg", "image_1.jpg")
    touch(tmp_path / "links/day", "image_0.jpg")
    (tmp_path / "links/night").symlink_to(tmp_path / "disk2/night_0412")
    return tmp_path / "links"


def test_a_linked_stream_is_the_same_however_it_is_named(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = linked(tmp_path)
    first = {s.stream_id: s.uri for s in listed(store, links)}
    assert first == {"day": str(links / "day"), "night": str(links / "night")}
    record(listed(store, links), store, "one")
    monkeypatch.chdir(links)
    for named in (links / "night", Path("night"), Path("../links/day/../night"), Path("./night/")):
        (found,) = listed(store, named)
        assert (found.stream_id, found.uri) == ("night", first["night"])
    assert [s.stream_id for s in listed(store, links, links / "night")] == ["day", "night"]
    # Where it leads to is the same folder, under another name.
    (text,) = problems(store, tmp_path / "disk2/night_0412")
    assert "is stream 'night' in this workspace" in text
    (text,) = problems(store, tmp_path / "disk2")
    assert "is stream 'night' in this workspace" in text


def test_a_stream_that_was_listed_with_its_links_followed_stays_what_it_is(store: Store, tmp_path: Path) -> None:
    linked(tmp_path)
    (tmp_path / "data").symlink_to(tmp_path / "disk2")
    record(listed(store, tmp_path / "disk2"), store, "one")
    (found,) = listed(store, tmp_path / "data")
    assert found.stream_id == "night_0412"
    record([found], store, "two")
    assert [s.stream_id for s in listed(store, tmp_path / "disk2")] == ["night_0412"]
    # Its loss is seen by either name.
    for name in ("image_0.jpg", "image_1.jpg"):
        (tmp_path / "disk2/night_0412" / name).unlink()
    for root in ("data", "disk2"):
        (text,) = problems(store, tmp_path / root)
        assert "lost 2 of its 2 frames" in text


def test_another_folder_behind_the_same_link_is_another_place(store: Store, tmp_path: Path) -> None:
    links = linked(tmp_path)
    record(listed(store, links), store, "one")
    touch(tmp_path / "disk3/night", "image_7.jpg")
    (text,) = problems(store, tmp_path / "disk3")
    assert f"stream 'night' is {links / 'night'} in this workspace" in text


def test_a_link_to_itself_hides_no_other_frame(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", "image_0.jpg")
    (cam / "image_1.jpg").symlink_to(cam / "image_1.jpg")
    (found,) = listed(store, cam)
    assert found.frame_idx.tolist() == [0, 1]


def test_names_that_are_not_utf8_are_ignored_unless_they_are_frames(store: Store, tmp_path: Path) -> None:
    cam = touch(tmp_path / "cam", "image_0.jpg")
    (Path(os.fsdecode(os.fsencode(cam) + b"/caf\xe9.txt"))).touch()
    (found,) = listed(store, cam)
    assert found.row["n_ignored"] == 1
    (Path(os.fsdecode(os.fsencode(cam) + b"/caf\xe9_1.jpg"))).touch()
    (text,) = problems(store, cam)
    assert "not UTF-8" in text


def test_a_moved_folder_is_not_listed_as_a_new_stream(store: Store, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(8))
    record(listed(store, cam), store, "one")
    moved = cam.rename(tmp_path / "cam_moved")
    (text,) = problems(store, moved)
    assert f"{moved} has the frames of stream 'cam', whose location {cam} no longer exists" in text
    assert "--stream-id cam --rebind" in text
    (found,) = listed(store, moved, stream_ids=["cam"], rebind=True)
    assert (found.stream_id, found.uri) == ("cam", str(moved))
    # An id of its own says that it is another stream.
    assert listed(store, moved, stream_ids=["cam_moved"])[0].stream_id == "cam_moved"


def test_a_stream_is_new_if_its_frames_differ_from_a_missing_ones(store: Store, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(8))
    record(listed(store, cam), store, "one")
    # A copy of a stream that is still there is a stream of its own.
    assert listed(store, copy_stream(cam, tmp_path / "copy"))[0].stream_id == "copy"
    shutil.rmtree(cam)
    assert listed(store, write_noise_stream(tmp_path / "other", range(20, 28)))[0].stream_id == "other"


def test_a_moved_folder_can_be_rebound_to_its_earlier_id(store: Store, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(8))
    record(listed(store, cam), store, "one")
    moved = cam.rename(tmp_path / "cam_moved")
    record(listed(store, moved, stream_ids=["cam_moved"]), store, "two")
    (text,) = problems(store, moved, stream_ids=["cam"])
    assert "or drop 'cam_moved' with --rebind" in text
    found = listed(store, moved, stream_ids=["cam"], rebind=True)
    assert [(s.stream_id, s.uri, s.n_frames) for s in found] == [("cam", str(moved), 8), ("cam_moved", str(moved), 0)]
    record(found, store, "three")
    assert set(store.read(schemas.LISTING)["stream_id"].to_pylist()) == {"cam"}
    # From now on it is that stream, and no other.
    assert [s.stream_id for s in listed(store, moved, stream_ids=["cam"])] == ["cam"]
    (text,) = problems(store, moved)
    assert "is stream 'cam' in this workspace" in text


def test_a_stream_whose_location_no_longer_exists_can_be_dropped(store: Store, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "data/cam", range(8))
    record(listed(store, cam), store, "one")
    shutil.rmtree(tmp_path / "data")
    (text,) = problems(store, cam)
    assert "'cam' has lost 8 of its 8 frames" in text
    assert "--stream-id cam --rebind, or drop it with --allow-missing" in text
    for given in (cam, tmp_path / "data"):
        assert [(s.stream_id, s.n_frames) for s in listed(store, given, allow_missing=True)] == [("cam", 0)]
    record(listed(store, cam, allow_missing=True), store, "two")
    assert store.read(schemas.LISTING).num_rows == 0
    assert "does not exist" in problems(store, cam)[0]
    assert "does not exist" in problems(store, tmp_path / "nowhere", allow_missing=True)[0]


@pytest.mark.parametrize(
    ("stream_id", "said"),
    [
        ("", "is empty; expected a name"),
        ("../x", "has a part that is . or ..; expected names"),
        ("a//b", "has an empty part"),
        ("a\tb", "has the character '\\t'; expected none of that kind"),
        ("x" * 120, "has a part of 120 characters; expected 100 at most"),
    ],
)
def test_an_id_is_refused_with_the_rule_that_it_breaks(
    stream_id: str, said: str, workspace: Workspace, tmp_path: Path
) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(2))
    for name in (cam, tmp_path / "nowhere"):
        with pytest.raises(UserError) as refused:
            catalogue([str(name)], IngestParams(), IngestOverrides((stream_id,)), Store(workspace.root))
        assert said in refused.value.problems[0]
        assert len(refused.value.problems) == (1 if name == cam else 2)


def test_problems_of_inputs_and_ids_are_reported_with_all_others(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    settings = ("--set", "curation.dark_maen=3", "--workspace", tmp_path / "taken")
    ids = ("--stream-id", "a", "--stream-id", "b", "--stream-id", "../c")
    found = helpers.problems(winnow("run", "--input", tmp_path / "nope", *ids, *settings))
    signs = ("dark_maen", "is a file, expected a folder", "3 --stream-id for 1", "'../c' has a part", "does not exist")
    assert len(found) == len(signs)
    for line, sign in zip(found, signs, strict=True):
        assert sign in line


def test_problems_of_inputs_are_reported_with_an_unreachable_cluster(workspace: Workspace, tmp_path: Path) -> None:
    where = ("-w", workspace.root, "--ray-address", "127.0.0.1:1")
    cluster, missing = helpers.problems(winnow("run", "--input", tmp_path / "nope", *where))
    assert "no Ray cluster answers" in cluster
    assert "does not exist" in missing


def test_a_clip_keeps_its_id_when_one_of_the_same_name_is_added_or_removed(store: Store, tmp_path: Path) -> None:
    def ids() -> list[str]:
        found = listed(store, tmp_path / "site", allow_missing=True)
        record(found, store, "job")
        return [stream.stream_id for stream in found if stream.n_frames]

    gate = write_clip(tmp_path / "site" / "gate.mp4", scenery(2))
    assert ids() == ["gate"]
    write_clip(tmp_path / "site" / "gate.mkv", scenery(3))
    assert ids() == ["gate", "gate.mkv"]
    gate.unlink()
    assert ids() == ["gate.mkv"]
