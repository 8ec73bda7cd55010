"""Measure how many errors somebody finds who reviews the most uncertain frames first; write it into docs/review.md.

`python -m tests.evidence.review_queue FOLDER`, where FOLDER holds `detection` and `weights` as the realdata tests use
them: YOLOX-nano on the 128 photos of coco128, and two generated streams.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl

from conf import load
from jobs.stages.detection import choose
from transforms.assess.uncertainty import OBJECT_COLUMNS, RouteParams, doubts_of
from transforms.core.boxes import box_iou
from transforms.models.detect.detections import FrameKey

PAGE = Path(__file__).parents[2] / "docs/review.md"
_BEGIN, _END = "<!-- Written by `make evidence`. -->", "<!-- End of what is written. -->"
_MIN_SCORE = 0.25
_TYPES = [pl.Int64, pl.String, *[pl.Float64] * 5, pl.Int64]
_STEPS = (0.05, 0.1, 0.2, 0.3, 0.5)

N_FRAMES = 780
_WIDTH, _HEIGHT, _LIFE = 1280, 720, 60
_MISSED, _WRONG, _INVENTED = 0.03, 0.015, 0.05

Row = tuple[int, str, float, float, float, float, float, int | None]


@dataclass(frozen=True)
class Measured:
    """Frames in order: their errors, and by what they are ranked, `uncertainty` and the mean margin; shape (N,)."""

    errors: npt.NDArray[np.int64]
    uncertainty: npt.NDArray[np.float64]
    mean_margin: npt.NDArray[np.float64]

    def found(self, order: npt.NDArray[np.float64], share: float) -> tuple[float, float]:
        """Return the share of frames with an error among the first ones, and the share of all errors on these."""
        first = np.argsort(-order, kind="stable")[: round(len(self.errors) * share)]
        return float((self.errors[first] > 0).mean()), float(self.errors[first].sum() / self.errors.sum())

    @property
    def share_with_errors(self) -> float:
        """Return the share of all frames that have an error, which a random order finds."""
        return float((self.errors > 0).mean())


def measured(frames: Sequence[int], objects: Sequence[Row], errors: Sequence[int]) -> Measured:
    """Return the ranks of frames by what a detector found on them, as the stage `route` computes them."""
    rows = pl.DataFrame(list(objects), schema=dict(zip(OBJECT_COLUMNS, _TYPES, strict=True)), orient="row")
    doubts = doubts_of(frames, 1, rows, None, RouteParams(), _MIN_SCORE)
    margin = rows.group_by("frame_idx").agg(margin=(1 - pl.col("score")).mean())
    margins = dict(margin.iter_rows())
    return Measured(
        np.array(errors, np.int64),
        doubts["expected_errors"].to_numpy(),
        np.array([margins.get(number, 0.0) for number in frames]),
    )


def photos(data: Path) -> Measured:
    """Return what YOLOX-nano finds on the 128 photos; each is a stream of its own."""
    folder, weights = data / "detection/coco128", data / "weights/yolox_nano.onnx"
    names = f"annotate.names={data / 'weights/coco.names'}"
    model = choose(load(settings=["annotate.detector=onnx", f"annotate.weights={weights}", names]).config).exported
    detector = model.load()
    document = json.loads((folder / "instances.json").read_text())
    classes = {each["id"]: each["name"] for each in document["categories"]}
    objects: list[Row] = []
    errors = []
    # Numbers that do not follow one another: photos have no neighbours.
    for number, image in enumerate(document["images"]):
        frame = cv2.imread(str(folder / "images" / image["file_name"]))
        (found,) = detector([np.asarray(frame, np.uint8)], [FrameKey("photos", 10 * number, 0)])
        kinds = [detector.names[label] for label in found.labels]
        for kind, score, (left, top, width, height) in zip(kinds, found.scores, found.boxes.tolist(), strict=True):
            objects.append((10 * number, kind, float(score), left, top, width, height, None))
        truth = [each for each in document["annotations"] if each["image_id"] == image["id"]]
        errors.append(n_errors(found.boxes, kinds, [(each["bbox"], classes[each["category_id"]]) for each in truth]))
    return measured(range(0, 10 * len(errors), 10), objects, errors)


def n_errors(boxes: npt.NDArray[np.float32], kinds: list[str], truth: list[tuple[list[float], str]]) -> int:
    """Return how many objects were missed, and how many were found where none of that class is."""
    shared = box_iou(boxes.astype(float), np.array([box for box, _ in truth], float).reshape(-1, 4))
    taken: set[int] = set()
    for at, kind in enumerate(kinds):
        near = [(shared[at, n], n) for n, (_, c) in enumerate(truth) if c == kind and n not in taken]
        best, n = max(near, default=(0.0, -1))
        if best >= 0.5:
            taken.add(n)
    return len(kinds) + len(truth) - 2 * len(taken)


def stream(n_objects: int, seed: int) -> Measured:
    """Return what a detector finds on a generated stream of objects that cross the image, `n_objects` at a time.

    It misses 3 % of the objects, frame by frame, gets the class of 1.5 % wrong, and invents one on every twentieth
    frame. Scores are normal: 0.8 ± 0.12 for what is right, 0.55 ± 0.15 for a wrong class, 0.42 ± 0.12 for what is not
    there; at least 0.25.
    """
    rng = np.random.default_rng(seed)
    objects: list[Row] = []
    errors = np.zeros(N_FRAMES, np.int64)
    for number, (left, top, width, height) in _paths(n_objects, rng):
        if rng.random() < _MISSED:
            errors[number] += 1
            continue
        is_wrong = rng.random() < _WRONG
        errors[number] += is_wrong
        score = rng.normal(*((0.55, 0.15) if is_wrong else (0.8, 0.12)))
        objects.append((number, "van" if is_wrong else "car", _clipped(score), left, top, width, height, None))
    for number in np.flatnonzero(rng.random(N_FRAMES) < _INVENTED).tolist():
        errors[number] += 1
        left, top = rng.uniform(0, _WIDTH - 80), rng.uniform(0, _HEIGHT - 60)
        objects.append((number, "car", _clipped(rng.normal(0.42, 0.12)), left, top, 80.0, 60.0, None))
    return measured(range(N_FRAMES), objects, errors.tolist())


def _paths(n_objects: int, rng: np.random.Generator) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    """Yield the box of every object on every frame: each crosses the image on a line of its own in some 60 frames."""
    for lane in range(n_objects):
        begin = int(rng.integers(-_LIFE, 0))
        height = _HEIGHT / n_objects * 0.8
        while begin < N_FRAMES:
            life = int(rng.integers(_LIFE // 2, 3 * _LIFE // 2))
            for at in range(max(begin, 0), min(begin + life, N_FRAMES)):
                left = (at - begin) / life * (_WIDTH - 1.5 * height)
                yield at, (left, lane * _HEIGHT / n_objects, 1.5 * height, height)
            begin += life


def _clipped(score: float) -> float:
    return float(np.clip(score, _MIN_SCORE, 1.0))


def table(data: Path) -> str:
    """Return the table of docs/review.md."""
    found = [photos(data), stream(4, 1), stream(12, 1)]
    streams = [f"{n} objects: frames with an error" for n in (4, 12)]
    lines = [
        f"| reviewed first | coco128: photos with an error | coco128: errors found | {' | '.join(streams)} |",
        "| --- | --- | --- | --- | --- |",
        "| | `uncertainty` / mean margin / chance | | | |",
    ]
    for share in _STEPS:
        cells = []
        for at, each in enumerate(found):
            ours, margin = each.found(each.uncertainty, share), each.found(each.mean_margin, share)
            cells.append(f"{ours[0]:.2f} / {margin[0]:.2f} / {each.share_with_errors:.2f}")
            if at == 0:
                cells.append(f"{ours[1]:.2f} / {margin[1]:.2f} / {share:.2f}")
        lines.append(f"| {share:.0%} | ".replace("%", " %") + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(data: Path) -> None:
    """Write the table into the page."""
    page = PAGE.read_text()
    before, after = page.partition(_BEGIN)[0], page.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n\n{table(data)}\n\n{_END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
