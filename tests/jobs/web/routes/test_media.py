"""Images of frames: the right one, upright, small, cached, and never of another content."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image

from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, scenery
from tests.jobs.web.material import Server, served

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def viewer(server: Server) -> httpx.Headers:
    """Somebody who may look."""
    return server.sign_in("media-viewer", "viewer")


def _decoded(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)


def _hash_of(workspace: Workspace, stream: str, number: int) -> str:
    query = f"SELECT content_hash AS h FROM frames WHERE stream_id = '{stream}' AND frame_idx = {number}"
    found: str = View.of(workspace).sql(query)["h"][0].as_py()
    return found


def test_frames_of_a_clip_are_the_numbered_ones(server: Server, viewer: httpx.Headers) -> None:
    pictures = scenery(40)
    for number in (0, 7, 39, 11, 10, 9):
        shown = _decoded(server.get("media/frame", viewer, stream="drive", idx=number, w="full"))[..., 1].astype(float)
        off = [float(np.abs(shown - picture).mean()) for picture in pictures]
        assert int(np.argmin(off)) == number


def test_a_file_goes_out_as_it_is(server: Server, web_inputs: Path, viewer: httpx.Headers) -> None:
    answer = server.get("media/frame", viewer, stream="cam", idx=3, w="full")
    assert answer.content == (web_inputs / "cam" / "image_3.jpg").read_bytes()
    assert answer.headers["content-type"] == "image/jpeg"


def test_a_width_is_that_of_the_longer_side(server: Server, web_inputs: Path, viewer: httpx.Headers) -> None:
    # The frames are 320x180: they are never enlarged.
    for width in ("320", "640"):
        shown = _decoded(server.get("media/frame", viewer, stream="cam", idx=3, w=width))
        assert shown.shape == (180, 320, 3)
        there = cv2.imread(str(web_inputs / "cam" / "image_3.jpg"))
        assert np.abs(shown.astype(float) - there).mean() < 4


def test_what_is_requested_by_content_never_changes(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers
) -> None:
    whole = _hash_of(web_workspace, "cam", 5)
    for given in (whole, whole[:16]):
        answer = server.get("media/frame", viewer, stream="cam", idx=5, h=given)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert "private" in answer.headers["cache-control"]
    again = server.get(
        "media/frame", httpx.Headers({**viewer, "if-none-match": answer.headers["etag"]}), stream="cam", idx=5
    )
    assert (again.status_code, again.content) == (304, b"")
    assert "immutable" not in again.headers["cache-control"]
    other = server.get("media/frame", viewer, stream="cam", idx=6, h=whole)
    assert other.status_code == 410
    assert other.json()["lines"] == ["frame 6 of stream cam has other content now; load the page again"]


def test_a_corrupt_frame_says_so(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    bad = View.of(web_workspace).sql("SELECT frame_idx AS n FROM frames WHERE status = 'corrupt'")["n"].to_pylist()
    for number in bad:
        answer = server.get("media/frame", viewer, stream="cam", idx=number)
        assert answer.status_code == 422
        assert answer.json()["lines"][0].startswith(f"frame {number} of stream cam has no image: ")
    assert len(bad) == 2


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"stream": "cam", "idx": 112}, 404),
        ({"stream": "../../etc", "idx": 0}, 404),
        ({"stream": "cam", "idx": -1}, 422),
        ({"stream": "cam", "idx": 2**70}, 422),
        ({"stream": "cam", "idx": 0, "w": "10"}, 422),
        ({"stream": "cam", "idx": 0, "h": "../../x"}, 422),
        ({"stream": "cam", "idx": 0, "h": "0" * 16}, 410),
    ],
)
def test_what_is_not_there_has_a_clear_answer(
    server: Server, viewer: httpx.Headers, query: dict[str, Any], status: int
) -> None:
    answer = server.get("media/frame", viewer, **query)
    assert (answer.status_code, len(answer.json()["lines"])) == (status, 1)


def test_changed_and_missing_files_have_clear_answers_and_turned_ones_are_upright(tmp_path: Path) -> None:
    folder = tmp_path / "turned"
    folder.mkdir()
    picture = np.zeros((60, 120, 3), np.uint8)
    picture[:, :40] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(3):
        picture[number] += 9
        Image.fromarray(picture).save(folder / f"image_{number}.jpg", quality=95, exif=exif)
    deep = np.linspace(0, 4095, 120 * 60).reshape(60, 120).astype(np.uint16)
    cv2.imwrite(str(folder / "image_3.png"), deep)
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, folder)
    server = served(workspace, tmp_path)
    viewer = server.sign_in("viewer", "viewer")
    # Turned clockwise by a quarter: what was on the left is at the top.
    for width in ("320", "full"):
        shown = _decoded(server.get("media/frame", viewer, stream="turned", idx=0, w=width))
        assert shown.shape == (120, 60, 3)
        assert shown[10, 30, 2] > 200
        assert shown[110, 30, 2] < 50
    # 12 bits in 16 would be black where a browser shows them.
    bright = _decoded(server.get("media/frame", viewer, stream="turned", idx=3, w="full"))
    assert bright[-1, -1, 0] > 200
    shutil.copy(folder / "image_0.jpg", folder / "image_1.jpg")
    (folder / "image_2.jpg").unlink()
    changed = server.get("media/frame", viewer, stream="turned", idx=1)
    assert (changed.status_code, changed.json()["lines"]) == (
        410,
        ["frame 1 of stream turned: its file has changed since it was measured; run its stream again"],
    )
    missing = server.get("media/frame", viewer, stream="turned", idx=2)
    assert (missing.status_code, missing.json()["lines"]) == (
        410,
        ["frame 2 of stream turned: its file is not there any more"],
    )
    # What was made before is shown without the file.
    (folder / "image_0.jpg").unlink()
    assert server.get("media/frame", viewer, stream="turned", idx=0, w="320").status_code == 200
