from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.review.review_files import FileRequest, read_file

XML = b"""<annotations><version>1.1</version>
  <image id="0" name="a/00000001-aaaaaaaaaaaaaaaa.jpg" width="8" height="6"/></annotations>"""
VIDEO = b"""<annotations><version>1.1</version><meta><task><mode>interpolation</mode></task></meta></annotations>"""
TASKS = [{"id": 3, "data": {"image": "a/00000001-aaaaaaaaaaaaaaaa.jpg"}, "annotations": [{"result": []}]}]
COCO = {
    "images": [{"id": 1, "file_name": "a/00000001-aaaaaaaaaaaaaaaa.jpg", "width": 8, "height": 6}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
}
FRAMES = [{"name": "a/00000001-aaaaaaaaaaaaaaaa.jpg", "width": 8, "height": 6}]


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("kind", "name", "data"),
    [
        ("cvat", "annotations.xml", XML),
        ("labelstudio", "project.json", json.dumps(TASKS).encode()),
        ("coco", "annotations/instances_default.json", json.dumps(COCO).encode()),
    ],
)
def test_formats_are_found_out_plain_or_packed(tmp_path: Path, kind: str, name: str, data: bytes, bom: bytes) -> None:
    (tmp_path / "file").write_bytes(bom + data)
    packed = {name: bom + data, "images/a.jpg": b"x", "manifest.json": b"{}", f"__MACOSX/._{name}": b"y"}
    for file in (tmp_path / "file", zipped(tmp_path / "file.zip", **packed)):
        found, content = read_file(FileRequest(file))
        assert (found, len(content.frames), content.problems) == (kind, 1, [])


def test_companion_files_of_a_review_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "frames.json").write_text(json.dumps(FRAMES))
    (tmp_path / "ids.json").write_text(json.dumps({"5": "f" * 32}))
    (tmp_path / "video.xml").write_bytes(VIDEO)
    (tmp_path / "coco.json").write_text(json.dumps(COCO))
    (frame,) = read_file(FileRequest(tmp_path / "video.xml"))[1].frames
    assert (frame.name, frame.size, frame.shapes) == (FRAMES[0]["name"], (8, 6), ())
    (frame,) = read_file(FileRequest(tmp_path / "coco.json"))[1].frames
    assert frame.shapes[0].numbered_id == "f" * 32


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "other.json").write_text("[]")
    two = zipped(tmp_path / "two.zip", **{"a.xml": XML, "b.xml": XML})
    broken = tmp_path / "broken.zip"
    broken.write_bytes(two.read_bytes().replace(b"annotations", b"annotatiens"))
    for request, hint in (
        (FileRequest(tmp_path / "missing"), "cannot be read"),
        (FileRequest(tmp_path / "text"), "expected JSON of Label Studio or COCO, or XML of CVAT"),
        (FileRequest(two), "expected one file of annotations in it, .xml or .json, found a.xml, b.xml"),
        (FileRequest(zipped(tmp_path / "none.zip", **{"a.jpg": b"x"})), "found none"),
        (FileRequest(broken), "cannot be unpacked"),
        (FileRequest(tmp_path / "other.json", "coco"), "expected|found"),
        (FileRequest(tmp_path / "text", "coco", ids=tmp_path / "text"), "ids "),
    ):
        with pytest.raises(UserError, match=hint):
            read_file(request)
