"""What an export meets at its place: edited files, symbolic links, names with line breaks, what a killed one left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.core.choices import ExportFormat
from jobs.core.errors import UserError
from jobs.datasets.export import ExportRequest, export
from jobs.datasets.export_formats import FORMATS
from jobs.storage.paths import ObjectPath, place
from jobs.storage.spare_files import spare_name
from jobs.storage.workspace import Workspace
from tests.helpers import go, winnow, write_noise_stream
from transforms.io import object_store

pytestmark = pytest.mark.process

BROKEN_NAMES = ("a\n1.jpg", "a%0A2.jpg", "a\r3.jpg", "a\u20284.jpg", "a\x1b[31m5.jpg", "100%6.jpg", "a\x857.jpg")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose files have names with line breaks, and all that reads like one."""
    root = tmp_path_factory.mktemp("earlier")
    cam = write_noise_stream(root / "cam", range(1, 8), start=1)
    for number, name in enumerate(BROKEN_NAMES, 1):
        (cam / f"image_{number}.jpg").rename(cam / name)
    workspace = Workspace.at(root / "tables")
    assert go(workspace, cam).frames == 7
    return workspace


# Formats of masks need a model that makes some.
@pytest.mark.parametrize("format_", [name for name, kind in FORMATS.items() if not kind.by_masks])
def test_names_with_line_breaks_break_no_second_export(
    exported: Workspace, tmp_path: Path, format_: ExportFormat
) -> None:
    request = ExportRequest(format_, place(tmp_path / "out"), everything=True)
    first = export(exported, request)
    assert export(exported, request) == first
    assert first["frames"] == {"default": 7}
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert not [name for name in files if not name.isprintable()]
    if (listed := tmp_path / "out/pictures.txt").exists():
        names = listed.read_text().splitlines()
        assert set(names) <= files
        assert sorted(Path(name).name for name in names) == sorted(
            ["a%0A1.jpg", "a%250A2.jpg", "a%0D3.jpg", "a%E2%80%A84.jpg", "a%1B[31m5.jpg", "100%6.jpg", "a%C2%857.jpg"]
        )


@pytest.mark.parametrize(
    ("format_", "edited"),
    [
        ("coco", "annotations/instances_default.json"),
        ("yolo", "labels/default/a%0A1.txt"),
        ("voc", "Annotations/a%0A1.xml"),
        ("datumaro", "annotations/default.json"),
        ("webdataset", "default-000000.tar"),
        ("jsonl", "frames_default.jsonl"),
    ],
)
def test_edited_files_of_an_earlier_export_are_not_overwritten(
    exported: Workspace, tmp_path: Path, format_: ExportFormat, edited: str
) -> None:
    words = ("export", "--format", format_, "--all", "--workspace", exported.root, "--out", tmp_path / "out")
    assert winnow(*words).exit_code == 0
    file = tmp_path / "out" / edited
    written = file.read_bytes()
    file.write_bytes(written + b"\n")
    before = sorted(tmp_path.iterdir())
    refused = winnow(*words)
    assert isinstance(refused.exception, UserError)
    (said,) = refused.exception.problems
    assert f"out: {edited} changed after the export had written them; name another folder" in said
    assert said.endswith("or replace them with --overwrite")
    assert file.read_bytes() == written + b"\n"
    assert sorted(tmp_path.iterdir()) == before
    assert winnow(*words, "--overwrite").exit_code == 0
    assert file.read_bytes() == written
    # A file that was deleted holds nothing that could be lost.
    file.unlink()
    assert winnow(*words).exit_code == 0
    assert file.read_bytes() == written


def test_edited_files_in_a_bucket_are_not_overwritten(exported: Workspace, bucket: str) -> None:
    request = ExportRequest("jsonl", ObjectPath(f"{bucket}/set"), everything=True)
    export(exported, request)
    export(exported, request)
    object_store.put(f"{bucket}/set/frames_default.jsonl", b"mine")
    with pytest.raises(UserError, match=r"set: frames_default\.jsonl changed after the export had written them"):
        export(exported, request)
    assert ObjectPath(f"{bucket}/set/frames_default.jsonl").read() == b"mine"


def test_an_export_through_a_link_is_written_where_it_leads(exported: Workspace, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to("disk/set")
    request = ExportRequest("yolo", place(link), everything=True)
    # First where there is nothing yet, then over what is there, then over another format.
    formats: tuple[ExportFormat, ...] = ("yolo", "yolo", "coco")
    for format_ in formats:
        export(exported, ExportRequest(format_, place(link), everything=True, overwrite=True))
        assert link.readlink() == Path("disk/set")
        assert json.loads((tmp_path / "disk/set/manifest.json").read_text())["format"] == format_
    assert sorted(p.name for p in tmp_path.rglob("*") if p.parent in {tmp_path, tmp_path / "disk"}) == [
        "disk",
        "link",
        "set",
    ]
    (tmp_path / "disk/set/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"disk/set holds other things than an export, notes\.txt"):
        export(exported, request)
    round_about = tmp_path / "round"
    round_about.symlink_to("round")
    with pytest.raises(UserError, match="is a symbolic link that leads to itself"):
        export(exported, ExportRequest("yolo", place(round_about)))


def test_links_inside_an_earlier_export_are_refused_and_what_they_lead_to_stays(
    exported: Workspace, tmp_path: Path
) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine"
    request = ExportRequest("yolo", place(out), everything=True)
    export(exported, request)
    # Somebody keeps the labels elsewhere, equal or edited.
    label = out / "labels/default/a%0A1.txt"
    mine.mkdir()
    label.rename(mine / "label.txt")
    label.symlink_to(mine / "label.txt")
    with pytest.raises(UserError, match=r"labels/default/a%0A1\.txt changed after"):
        export(exported, request)
    export(exported, ExportRequest("yolo", place(out), everything=True, overwrite=True))
    assert not label.is_symlink()
    assert (mine / "label.txt").read_bytes() == label.read_bytes()
    # A whole folder, which `--overwrite` does not replace either.
    (out / "labels").rename(mine / "labels")
    (out / "labels").symlink_to(mine / "labels")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="out holds other things than an export, labels"):
            export(exported, ExportRequest("yolo", place(out), everything=True, overwrite=overwrite))
    assert len(list((mine / "labels/default").iterdir())) == 7


_LEAVE = """
import sys
from pathlib import Path
from jobs.storage.spare_files import spare_name
for suffix in sys.argv[2:]:
    folder = Path(sys.argv[1]).with_name(spare_name(Path(sys.argv[1]).name, suffix))
    folder.mkdir()
    (folder / "manifest.json").write_text(suffix)
    print(folder)
sys.stdout.flush()
sys.stdin.read()
"""


def test_what_killed_exports_left_is_cleared_and_nothing_of_others(exported: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", _LEAVE, str(out), "partial", "old"]
    left = []
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as lives,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed,
    ):
        for process in (lives, killed):
            assert process.stdout
            left.append([Path(process.stdout.readline().strip()) for _ in range(2)])
        killed.kill()
        killed.wait()
        # Of an earlier version, of another machine, and of another name.
        others = [tmp_path / ".out.1.partial", tmp_path / ".out.1.00112233aabbccdd.partial", tmp_path / ".x.1.partial"]
        for other in others:
            other.mkdir()
        assert all(path.exists() for some in left for path in some)
        request = ExportRequest("jsonl", place(out), everything=True)
        # The export that it had moved away is back, and it is no dataset of ours.
        with pytest.raises(UserError, match=r"out holds other things than an export, manifest\.json"):
            export(exported, request)
        assert (out / "manifest.json").read_text() == "old"
        assert [[path.exists() for path in some] for some in left] == [[True, True], [False, False]]
        (out / "manifest.json").unlink()
        export(exported, request)
        assert sorted(tmp_path.iterdir()) == sorted([*others, *left[0], out])
        assert lives.stdin
        lives.stdin.close()
    week_ago = others[1].stat().st_mtime - 8 * 24 * 3600
    for other in others:
        os.utime(other, (week_ago, week_ago))
    export(exported, request)
    assert sorted(tmp_path.iterdir()) == sorted([others[2], out])


def test_a_spare_name_is_of_this_process_alone() -> None:
    assert spare_name("set", "partial") == spare_name("set", "partial")
    code = "from jobs.storage.spare_files import spare_name; print(spare_name('set', 'partial'))"
    names = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(names) == 2
