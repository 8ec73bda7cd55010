"""Material for loops: a stream to learn from, one to measure on, and a person who reviews what the files ask."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.active_learning import people
from jobs.active_learning.options import LoopOptions
from jobs.datasets import release
from jobs.dispatch import tasks
from jobs.records.run_events import SilentListener
from jobs.review.import_reviews import ImportRequest, import_file
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import go, said, winnow, write_pictures
from tests.training_material import Box, coco, picture
from transforms.formats.reviewing.shapes import parse_name

POOL, HELD, TEST = "pool", "held", "held-out"
FIRST_HELD = 1000
ALIKE = 2
SETTINGS = ("annotate.min_score=0.01", "resources.commit_seconds=0.2")
"""A detector with random weights is sure of nothing."""

TINY: Mapping[str, Any] = {"epochs": 1, "size": 96, "batch": 8, "threads": 1, "onnx": False, "augment": "none"}
"""The smallest training that is one."""

Known = Mapping[int, list[tuple[str, Box]]]
"""What is on the frames of the pool, by their numbers."""


def loop_workspace(folder: Path, n: int = 20, held: int = 6) -> Workspace:
    """Return a workspace with a release of a labelled stream, and one of `n` frames that nobody has labelled.

    After these come `ALIKE` more, the first ones once more.
    """
    workspace = Workspace.at(folder / "ws")
    truth = [picture(FIRST_HELD + at) for at in range(held)]
    measured = write_pictures(folder / HELD, [image for image, _ in truth])
    pool = write_pictures(folder / POOL, [picture(at % n)[0] for at in range(n + ALIKE)])
    go(workspace, measured, pool)
    labels = folder / "labels.json"
    document = coco(truth)
    labels.write_text(json.dumps(document))
    words = ("--format", "coco", "--name", "truth", "--stream", HELD)
    said(winnow("labels", "import", labels, *words, "-w", workspace.root, "--json"))
    release.create(Store(workspace.root), TEST, streams=[HELD])
    return workspace


def loop_options(workspace: Workspace, name: str, **more: Any) -> LoopOptions:
    """Return options of a loop over the pool, as small as one can be."""
    given: dict[str, Any] = {
        "name": name,
        "inputs": (str(workspace.folder.parent / POOL),),
        "model": "torchvision:fasterrcnn-tiny",
        "on": f"release:{TEST}",
        "target": "AP50=0.99",
        "rounds": 2,
        "people": 16,
        "settings": SETTINGS,
        "training": {**TINY, "allow_leaks": True},
        "by": "ann",
    }
    return LoopOptions(**given | more)


def known_objects(n: int = 20) -> Known:
    """Return what is on the frames of the pool."""
    return {at: picture(at % n)[1] for at in range(n + ALIKE)}


def run_loop_job(root: str, job_id: str) -> None:
    """Run the job of a loop that waits, in this process, until it ends or waits; for processes that tests kill."""
    tasks.run_here(Workspace.at(root), job_id, SilentListener())


def review(workspace: Workspace, name: str, number: int, known: Known, most: int | None = None) -> int:
    """Review the files of a round as a person does, who draws what is there; return how many frames were."""
    file = people.folder_of(workspace, name, number) / "annotations.json"
    document = json.loads(file.read_text())
    images = document["images"][:most]
    numbers = {each["name"]: each["id"] for each in document["categories"]}
    document["annotations"] = []
    for image in images:
        frame = parse_name(image["file_name"])
        assert frame is not None, image
        for category, (x, y, w, h) in known[frame.number]:
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": image["id"],
                    "category_id": numbers[category],
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    document["images"] = images
    back = file.with_name("reviewed.json")
    back.write_text(json.dumps(document))
    found = import_file(workspace, ImportRequest(back, "coco", "ann", reviewed="all"))
    return int(found["frames"])
