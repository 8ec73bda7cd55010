"""How many frames people have to review in a loop, chosen by uncertainty and by chance, where a class fails in rain.

`python -m tests.evidence.active_learning FOLDER [SEED …]` prints a line for each seed. Scenes of 96 px have discs and
squares. The model that a loop begins with has learnt from scenes in clear weather; in rain a square looks otherwise. Of
the scenes to learn from one in eight is in rain, of those to measure on every second one. Both loops begin with the
same model and tables, have the same options but for `--policy`, and a person who draws what is there. The target is the
best AP50 that chance reaches within its frames.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from jobs.active_learning import explain
from jobs.active_learning.loop_tables import CurvePoint
from jobs.active_learning.options import LoopOptions, Policy
from jobs.datasets import release
from jobs.dispatch import loop_control, tasks
from jobs.models import registry
from jobs.records.run_events import SilentListener
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training.options import TrainOptions
from tests.helpers import go, said, winnow, write_pictures
from tests.loop_material import Known, review
from tests.training_material import CLASSES, Box, coco

SIDE = 96
N_CLEAR, N_POOL, N_TEST = 40, 96, 24
RAIN_OF_POOL, RAIN_OF_TEST = 8, 2
ROUNDS, A_ROUND = 4, 6
TRAINING: dict[str, Any] = {
    "size": SIDE,
    "batch": 4,
    "threads": 1,
    "onnx": False,
    "augment": "minimal",
    "split_by": "group",
    "allow_leaks": True,
}
STAGES = "stages=[frames,quality,fingerprints,curation,annotate]"

Scene = tuple[npt.NDArray[np.uint8], list[tuple[str, Box]]]


def scene(seed: int, rain: bool) -> Scene:
    """Return an image with two objects, and their boxes (x, y, w, h); in rain at least one of them is a square."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (4, 4, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
    objects: list[tuple[str, Box]] = []
    for number, cell in enumerate(rng.permutation(4)[:2]):
        side = int(rng.integers(20, 36))
        x, y = (int(part) * 48 + int(rng.integers(1, 47 - side)) for part in (cell % 2, cell // 2))
        kind = "square" if rain and not number else CLASSES[int(rng.integers(2))]
        colour = [int(value) for value in rng.integers(0, 120, 3)]
        colour[0 if kind == "disc" else 2] = int(rng.integers(160, 256))
        if kind == "disc":
            radius = side // 2
            cv2.circle(image, (x + radius, y + radius), radius, colour, -1, cv2.LINE_AA)
            objects.append((kind, (x, y, 2 * radius + 1, 2 * radius + 1)))
            continue
        if rain:
            # Wet: dark, with a bright edge, and no red.
            cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), (70, 80, 60), -1)
            cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), (210, 230, 200), 2)
        else:
            cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), colour, -1)
        objects.append((kind, (x, y, side, side)))
    if rain:
        for _ in range(60):
            x, y = (int(part) for part in rng.integers(0, SIDE, 2))
            cv2.line(image, (x, y), (x + 3, y + 10), (190, 190, 190), 1, cv2.LINE_AA)
    return image, objects


def _labelled(workspace: Workspace, name: str, scenes: list[Scene]) -> None:
    document = coco(scenes)
    for image in document["images"]:
        image |= {"width": SIDE, "height": SIDE}
    labels = workspace.folder.parent / f"{name}.json"
    labels.write_text(json.dumps(document))
    words = ("--format", "coco", "--name", name, "--stream", name)
    said(winnow("labels", "import", labels, *words, "-w", workspace.root, "--json"))


def curves(place: Path, seed: int) -> dict[str, list[CurvePoint]]:
    """Return the curve of a loop with each policy, each in a workspace of its own."""
    first = 100_000 * seed
    clear = [scene(first + at, rain=False) for at in range(N_CLEAR)]
    pool = [scene(first + 1000 + at, at % RAIN_OF_POOL == 3) for at in range(N_POOL)]
    test = [scene(first + 5000 + at, at % RAIN_OF_TEST == 0) for at in range(N_TEST)]
    sets = {"clear": clear, "pool": pool, "test": test}
    folders = {name: write_pictures(place / name, [image for image, _ in scenes]) for name, scenes in sets.items()}
    workspace = Workspace.at(place / "ws")
    go(workspace, *folders.values(), settings=["stages=[frames,quality,fingerprints,curation]"])
    _labelled(workspace, "clear", clear)
    _labelled(workspace, "test", test)
    store = Store(workspace.root)
    release.create(store, "before", streams=["clear"])
    release.create(store, "measured", streams=["test"])
    begin = TrainOptions(
        release="before",
        model="torchvision:fasterrcnn-tiny",
        name="start",
        epochs=24,
        split={"train": 0.8, "val": 0.2},
        seed=seed,
        **TRAINING,
    )
    tasks.run_here(workspace, tasks.submit(workspace, begin), SilentListener())
    known = {at: objects for at, (_, objects) in enumerate(pool)}
    return {policy: _curve(workspace, policy, seed, known) for policy in ("uncertain", "random")}


def _curve(before: Workspace, policy: Policy, seed: int, known: Known) -> list[CurvePoint]:
    """Return the curve of a loop over a copy of a workspace, in which people have reviewed nothing yet."""
    place = before.folder.with_name(policy)
    shutil.copytree(before.folder, place)
    workspace = Workspace.at(place)
    start = registry.find(Store(workspace.root), "start@1")
    options = LoopOptions(
        name=policy,
        inputs=tuple(str(place.with_name(name)) for name in ("clear", "pool")),
        model=str(start.folder),
        weights=f"models:{start.reference}",
        on="release:measured",
        target="AP50=1",
        policy=policy,
        rounds=ROUNDS,
        people=ROUNDS * A_ROUND,
        patience=ROUNDS,
        # Both learn from all that was reviewed by then, from the same beginning.
        from_base=True,
        settings=(STAGES, "annotate.min_score=0.05", "route.spread=0"),
        training=TRAINING | {"epochs": 8},
        seed=seed,
    )
    job_id = loop_control.start(workspace, options)
    while not explain.status(workspace, policy).is_over:
        tasks.run_here(workspace, job_id, SilentListener())
        if (now := explain.status(workspace, policy)).review:
            review(workspace, policy, now.round, known)
            loop_control.resume(workspace, policy)
    return explain.curve_of(workspace, policy)


def frames_to(curve: list[CurvePoint], target: float) -> int | None:
    """Return the frames after which a curve first reaches an AP50; None where it does not."""
    return next((point.frames for point in curve if (point.ap50 or 0.0) >= target), None)


def main() -> int:
    """Print the curves of each seed, and the frames that either policy needs."""
    place = Path(sys.argv[1])
    for seed in map(int, sys.argv[2:] or ("1", "2", "3", "4", "5")):
        found = curves(place / f"seed{seed}", seed)
        for policy, curve in found.items():
            reached = ", ".join(f"{point.frames}: {point.ap50:.3f}" for point in curve)
            sys.stdout.write(f"seed {seed}, {policy}: {reached}\n")
        target = max(point.ap50 or 0.0 for point in found["random"])
        need = {policy: frames_to(curve, target) for policy, curve in found.items()}
        sys.stdout.write(
            f"seed {seed}: AP50 {target:.3f} with {need['uncertain']} frames, by chance {need['random']}\n"
        )
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
