"""From a clip and a list of brands to exposure, by the stages of the profile `brands`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import schemas
from jobs.ingest.brand_dictionary import import_dictionary
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import computed, go, problems, rows, winnow, write_clip
from tests.sign_faces import logo_image
from transforms.brands.exposure import ExposureParams, exposures

SHOWN = range(5, 20)
STAGES = "stages=[frames, quality, fingerprints, scenes, regions, rectify, read, logos, match, vote, exposure]"


def frame(number: int) -> npt.NDArray[np.uint8]:
    """Return a frame: two boards from frame 5 to 19, which move a little, and another word throughout."""
    image = np.full((360, 640), 90, np.uint8)
    if number in SHOWN:
        left = 120 + 4 * number
        cv2.rectangle(image, (left, 130), (left + 240, 180), 35, -1)
        cv2.putText(image, "NORDVIG", (left + 40, 168), cv2.FONT_HERSHEY_DUPLEX, 1.1, 250, 2, cv2.LINE_AA)
        cv2.rectangle(image, (left, 240), (left + 200, 300), 50, -1)
        image[248:292, left + 80 : left + 124] = cv2.cvtColor(logo_image(44), cv2.COLOR_BGR2GRAY)
    cv2.putText(image, "NORDVIK", (420, 60), cv2.FONT_HERSHEY_DUPLEX, 1.1, 250, 2, cv2.LINE_AA)
    return image


@pytest.fixture
def dictionary(workspace: Workspace, tmp_path: Path) -> Path:
    file = tmp_path / "brands.yaml"
    cv2.imwrite(str(tmp_path / "moon.png"), logo_image(256))
    file.write_text("brands: [Nordvig, {name: Halvmaane, logos: [moon.png]}, Ferrano]")
    workspace.create()
    import_dictionary(Store(workspace.root), file)
    return file


@pytest.mark.process
@pytest.mark.slow
def test_seconds_of_a_board(workspace: Workspace, dictionary: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    clip = write_clip(tmp_path / "match.mp4", [frame(at) for at in range(25)], [200 * at for at in range(25)])
    first = go(workspace, clip, settings=[STAGES])
    assert computed(first)["edges"] == 25
    found = rows(workspace, schemas.EXPOSURE).to_dicts()
    assert [(row["brand"], row["visible_s"], row["hits"]) for row in found] == [
        ("Halvmaane", pytest.approx(3.0, abs=0.2), 1),
        ("Nordvig", pytest.approx(3.0, abs=0.2), 1),
    ]
    regions = rows(workspace, schemas.REGIONS)
    assert regions["placement"].unique().to_list() != []
    # Few of the regions are read, and all others take their readings.
    assert regions["is_read"].sum() * 4 <= regions["read_as"].is_not_null().sum()
    crops = rows(workspace, schemas.CROPS)
    texts = rows(workspace, schemas.APPEARANCES).sort("brand")
    assert texts.select("how", "text").rows() == [("logo", "moon.png"), ("name", "NORDVIG")]
    # A logo is not read, and a line is as high as its letters.
    emblems = regions.filter(kind="emblem")
    assert not set(rows(workspace, schemas.READINGS)["region_id"]) & set(emblems["region_id"])
    assert texts["height_px"].to_list() == pytest.approx([44, 24], rel=0.35)
    crop = cv2.imdecode(np.frombuffer(crops.filter(pl.col("width_px") > 150)["image"][0], np.uint8), cv2.IMREAD_COLOR)
    assert crop is not None
    assert crop.shape[0] == 48
    _recount(workspace, found)
    _report(workspace, tmp_path, found)
    # Nothing is left to do, and another dictionary has readings compared once more without a frame decoded.
    assert computed(go(workspace, clip, settings=[STAGES])) == {}
    dictionary.write_text("brands: [Nordvik]")
    import_dictionary(Store(workspace.root), dictionary)
    again = go(workspace, clip, settings=[STAGES])
    assert set(computed(again)) <= {"logos", "match", "vote", "exposure"}
    assert again.counts["frames_decoded"] == 0
    assert rows(workspace, schemas.EXPOSURE)["brand"].to_list() == ["Nordvik"]
    assert rows(workspace, schemas.EXPOSURE)["visible_s"].to_list() == pytest.approx([5.0], abs=0.2)


def _report(workspace: Workspace, folder: Path, found: list[dict[str, Any]]) -> None:
    """Assert that the report has the figures of the tables, in each of its forms, and an image as evidence."""
    for name in ("brands.html", "brands.csv", "brands.json"):
        assert winnow("brands", "report", "--out", folder / name, "--workspace", workspace.root).exception is None
    figures = json.loads((folder / "brands.json").read_text())
    assert [row["visible_s"] for row in figures["exposure"]] == [row["visible_s"] for row in found]
    assert sum(map(sum, figures["heat"][0]["cells"])) == pytest.approx(1)
    lines = list(csv.DictReader((folder / "brands.csv").open()))
    assert [float(line["visible_s"]) for line in lines] == [row["visible_s"] for row in found]
    page = (folder / "brands.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') == len(figures["appearances"])
    assert "http" not in page
    assert "found 'x.pdf'" in problems(winnow("brands", "report", "--out", "x.pdf"))[0]


def _recount(workspace: Workspace, found: list[dict[str, Any]]) -> None:
    """Assert that exposure follows from appearances, by the statement of the docs and by the function."""
    text = Path("docs/brands.md").read_text("utf-8")
    statement = next(part.split("```")[0] for part in text.split("```sql\n")[1:] if part.startswith("WITH"))
    counted = sorted(View.of(workspace).sql(statement).to_pylist(), key=lambda row: str(row["brand"]))
    assert [(row["brand"], row["visible_s"]) for row in counted] == [
        (row["brand"], pytest.approx(row["visible_s"])) for row in found
    ]
    again = exposures(rows(workspace, schemas.APPEARANCES).to_dicts(), ExposureParams())
    assert [row["visible_s"] for row in again] == [row["visible_s"] for row in found]


@pytest.mark.process
def test_text_on_what_a_detector_finds_is_on_a_kit(workspace: Workspace, tmp_path: Path) -> None:
    def shirt(number: int) -> npt.NDArray[np.uint8]:
        # The motion detector needs some frames to learn what is behind.
        image, left = np.full((360, 640), 90, np.uint8), 60 + 18 * number
        cv2.rectangle(image, (left, 60), (left + 150, 320), 35, -1)
        for text, place in (("NORDVIG", (left + 10, 130)), ("WELCOME", (440, 40))):
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_DUPLEX, 0.9, 250, 2, cv2.LINE_AA)
        return image

    clip = write_clip(tmp_path / "match.mp4", [shirt(at) for at in range(14)], [200 * at for at in range(14)])
    stages = "stages=[frames, fingerprints, scenes, annotate, regions]"
    go(workspace, clip, settings=[stages, "annotate.detector=motion", "annotate.frames=all", "regions.kit=[moving]"])
    found = rows(workspace, schemas.REGIONS).filter(kind="line")
    assert set(found.filter(pl.col("y1") > 60)["placement"]) == {"kit"}
    assert set(found.filter(pl.col("y1") < 60)["placement"]) == {"other"}
