"""What the files of a dataset say of their classes and images, as an import takes it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers import winnow
from tests.jobs.ingest.label_import.test_label_import import GATE, brought, coco, made, place, view

__all__ = ["made", "place"]


def test_classes_are_numbered_in_the_order_of_the_file(place: Path) -> None:
    file = coco(place, *GATE)
    labels = json.loads(file.read_text())
    names = ["tram", "car", "", "bus"]
    labels["categories"] = [{"id": 7 - at, "name": name} for at, name in enumerate(names)]
    for each in labels["annotations"]:
        # These converters number no annotations.
        each["category_id"] = {1: 4, 2: 6}[each["category_id"]]
        del each["id"]
    file.write_text(json.dumps(labels))
    found = brought(place, file)
    assert found["new_categories"] == ["tram", "car", "bus"]
    assert any("a class without an object is left out: category ''" in note for note in found["notes"])
    numbers = view(place).sql("SELECT category FROM categories ORDER BY number")["category"].to_pylist()
    assert numbers == ["tram", "car", "bus"]
    out = place / "yolo"
    assert winnow("export", "-f", "yolo", "--all", "-w", place / "tables", "-o", out).exception is None
    assert '0: "tram"' in (out / "data.yaml").read_text()
    assert brought(place, file)["new_categories"] == []


def test_label_files_of_tools_name_images_without_their_suffix(place: Path) -> None:
    shown = view(place).sql("SELECT stream_id, frame_idx, content_hash FROM frames ORDER BY 1, 2").to_pylist()[0]
    folder = place / "studio"
    (folder / "labels").mkdir(parents=True)
    (folder / "classes.txt").write_text("car\nbus\n")
    (folder / "labels" / f"{shown['frame_idx']:08d}-{shown['content_hash'][:16]}.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    found = brought(place, folder, format_="yolo")
    assert (found["frames"], found["objects"], found["matched"]["name"]) == (1, 1, 1)
    assert found["new_categories"] == ["car", "bus"]
