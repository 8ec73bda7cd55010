"""The process of a `TrialWorker`: what a training would take here, and what registered models find on an image.

Nothing that it is asked is recorded.
"""

from __future__ import annotations

import base64
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from jobs.core.errors import UserError, one_line
from jobs.core.plain_values import finite
from jobs.dispatch.line_process import answer_lines
from jobs.evaluation.detection import detector_of
from jobs.models import registry
from jobs.storage.spare_files import temporary_folder
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training.estimate import estimate
from jobs.training.networks import base_of
from jobs.training.options import TrainOptions
from jobs.training.training_data import tried
from transforms.frames.image import CorruptImageError, ImageParams, decode_color, read_header
from transforms.models.inference import ModelError

LEAST_SCORE = 0.05
"""Boxes below it are not returned."""

_MOST_MODELS = 2


class TrialProcess:
    """The models that were used last, and answers by them."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Any] = OrderedDict()

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer of a request, or `lines` of what is wrong, and `kind`, which is `image` for a bad one."""
        try:
            if "estimate" in request:
                return _estimated(request["estimate"])
            return self._found(request["find"])
        except UserError as error:
            return {"lines": list(error.problems), "kind": "setup"}
        except ModelError as error:
            return {"lines": [one_line(error)], "kind": "setup"}
        except CorruptImageError as error:
            return {"lines": [f"the image cannot be read: {one_line(error)}"], "kind": "image"}
        except (RuntimeError, MemoryError) as error:
            # Memory that is full, above all.
            self._known.clear()
            return {"lines": [f"the model failed: {one_line(error)[:300]}"], "kind": "setup"}

    def _found(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        data = base64.b64decode(wanted["image"])
        pixels = decode_color(data, read_header(data), ImageParams())
        version = registry.find(Store(Workspace.at(wanted["workspace"]).require().root), wanted["model"])
        if problem := registry.weights_problem(version, verify=version.model_id not in self._known):
            raise UserError(problem)
        if version.model_id not in self._known:
            self._known[version.model_id] = detector_of(version, os.cpu_count() or 1)
            while len(self._known) > _MOST_MODELS:
                self._known.popitem(last=False)
        self._known.move_to_end(version.model_id)
        detector = self._known[version.model_id]
        began = time.perf_counter()
        (found,) = detector([pixels])
        milliseconds = 1000 * (time.perf_counter() - began)
        objects = [
            {"category": detector.names[int(label)], "score": float(score), "bbox": [float(edge) for edge in box]}
            for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
            if score >= LEAST_SCORE
        ]
        return finite(
            {
                "model": version.reference,
                "width": int(pixels.shape[1]),
                "height": int(pixels.shape[0]),
                "objects": objects,
                "milliseconds": round(milliseconds, 1),
            }
        )


def _estimated(wanted: Mapping[str, Any]) -> dict[str, Any]:
    options = TrainOptions.model_validate(wanted["options"])
    base = base_of(options.model)
    with temporary_folder() as folder:
        data = tried(Workspace.at(wanted["workspace"]), options, folder)
    found = estimate(base, data, options) if all(data.images.values()) and data.classes else None
    return {"estimate": vars(found) if found else None}


def main() -> None:
    """Answer the requests of the standard input: `python -m jobs.dispatch.trial_process IDLE_SECONDS`."""
    answer_lines(TrialProcess().answer, float(sys.argv[1]))


if __name__ == "__main__":
    main()
