"""Intermediates of a stage on a frame: by the command line and by the API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from jobs.storage.workspace import Workspace
from tests.helpers import go, problems, winnow, write_pictures
from tests.web_server import WebServer, lines, web_server

pytestmark = pytest.mark.process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    """Four frames, half of them field."""
    pictures = [np.full((120, 160, 3), (40, 120, 44), np.uint8) for _ in range(4)]
    for number, picture in enumerate(pictures):
        picture[:60] = np.random.default_rng(number).integers(0, 255, (60, 160, 3), np.uint8)
    place = Workspace.at(tmp_path / "tables")
    files = write_pictures(tmp_path / "cam", pictures)
    go(place, files, settings=["stages=[frames, fingerprints, motion, scenes, field]", "field.hue_low=30"])
    with web_server(place) as found:
        yield found


def test_intermediates_of_a_frame(server: WebServer, tmp_path: Path) -> None:
    path = f"{server.project}/frame/debug"
    asked: dict[str, Any] = {"stream": "cam", "idx": 1, "stage": "field"}
    found = server.admin.get(path, params=asked).json()
    images = {each["name"]: each for each in found["images"]}
    assert list(images) == ["colour", "opened", "closed", "field"]
    mask = cv2.imdecode(np.frombuffer(base64.b64decode(images["field"]["png"]), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    assert list(mask.shape) == images["field"]["shape"]
    assert mask[100:].all()
    assert found["values"]["found"] is True
    # A setting changes what is seen, and nothing that is stored.
    other = server.admin.get(path, params={**asked, "set": ["field.hue_low=100", "field.hue_high=110"]}).json()
    assert other["values"] == {"found": False}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"stage": "nothing"}, "expected one of"),
        ({"set": ["image.long_side=9"]}, "those of the stage"),
        ({"set": ["field.hue=9"]}, "field.hue"),
    ]
    for wrong, word in refused:
        answer = server.admin.get(path, params={**asked, **wrong})
        assert answer.status_code == 400, answer.text
        assert word in " ".join(lines(answer))
    assert server.admin.get(path, params={**asked, "idx": 99}).status_code == 404
    assert server.client(None).get(path, params=asked).status_code == 401
    motion = server.admin.get(path, params={**asked, "stage": "motion"}).json()
    assert motion["values"]["motion"] > 0
    first = server.admin.get(path, params={**asked, "stage": "motion", "idx": 0}).json()
    assert first["values"] == {}
    _by_command(tmp_path)


def _by_command(folder: Path) -> None:
    to = ("--workspace", folder / "tables")
    words = ("inspect", "frame", "cam", "1", "--stage")
    done = winnow(*words, "field", "--debug", "--out", folder / "debug", "--set", "field.hue_low=32", *to)
    assert done.exception is None, done.output
    about = json.loads((folder / "debug/field.json").read_text())
    assert about["values"]["found"] is True
    for each in about["images"]:
        assert cv2.imread(str(folder / "debug" / each["file"])) is not None
    rows = json.loads(winnow(*words, "field", *to).stdout)
    assert rows["fields"][0]["found"] is True
    assert "both or neither" in problems(winnow(*words, "field", "--debug", *to))[0]
    assert "expected a stage with rows" in problems(winnow(*words, "read-all", *to))[0]
    missing = ("inspect", "frame", "cam", "77", "--stage", "field", "--debug", "--out", folder / "debug", *to)
    assert "no frame 77" in problems(winnow(*missing))[0]
