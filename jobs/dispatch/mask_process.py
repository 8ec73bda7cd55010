"""The process of a `MaskWorker`: it holds one model, answers one request a line, and ends when nobody asks.

Requests and answers are JSON, one per line of the standard input and output. It ends with the server that started it,
whose end closes the input.
"""

from __future__ import annotations

import os
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from jobs.core.errors import UserError, one_line
from jobs.dispatch.line_process import answer_lines
from jobs.models.transformers import in_folder
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import CorruptImageError, ImageParams
from transforms.models.click_masks import CLICK_KINDS, ClickSegmenter, ImageEmbedding
from transforms.models.inference import ModelError

_MOST_EMBEDDINGS = 4


class MaskProcess:
    """The model, once it is loaded, and what it knows of the last images."""

    def __init__(self, weights: str) -> None:
        self._weights = weights
        self._segmenter: ClickSegmenter | None = None
        self._about: dict[str, Any] = {}
        self._known: OrderedDict[str, ImageEmbedding] = OrderedDict()
        self._clips = Clips()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of a request: a mask where there are points or a box, else when the image is encoded."""
        began = time.monotonic()
        try:
            segmenter = self._loaded()
            frame = request.get("frame")
            if frame is None:
                return self._about
            embedding = self._embedding(segmenter, frame)
            found = dict(self._about)
            if request["points"] or request["box"] is not None:
                box = request["box"]
                mask = segmenter.mask(
                    embedding, request["points"], request["labels"], None if box is None else tuple(box)
                )
                found |= {"rle": mask and mask.run_lengths, "score": mask and mask.score}
            return {**found, "seconds": round(time.monotonic() - began, 3)}
        except UserError as error:
            return {"lines": list(error.problems), "kind": "setup"}
        except ModelError as error:
            return {"lines": [one_line(error)], "kind": "setup"}
        except (OSError, ValueError, CorruptImageError) as error:
            return {"lines": [f"the frame cannot be read: {one_line(error)}"], "kind": "frame"}
        except RuntimeError as error:
            # Memory of a device that is full, above all.
            self._known.clear()
            return {"lines": [f"the model failed: {one_line(error)[:300]}"], "kind": "setup"}

    def _loaded(self) -> ClickSegmenter:
        if self._segmenter is None:
            found = in_folder("--mask-weights", self._weights, CLICK_KINDS)
            threads = max(1, (os.cpu_count() or 2) - 1)
            self._segmenter = ClickSegmenter(found.kind, Path(found.weights.path), threads=threads)
            self._about = {"model": found.weights.name, "device": self._segmenter.device}
        return self._segmenter

    def _embedding(self, segmenter: ClickSegmenter, frame: dict[str, Any]) -> ImageEmbedding:
        key = frame["content_hash"]
        if key not in self._known:
            image = open_frame(frame["uri"], None, ImageParams(white_level=frame["white_level"]), self._clips)
            image.load()
            if image.hash_hex != frame["content_hash"]:
                raise ValueError("its file has changed since it was measured; run its stream again")
            self._known[key] = segmenter.embed(image.color())
            while len(self._known) > _MOST_EMBEDDINGS:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


def main() -> None:
    """Answer the requests of the standard input: `python -m jobs.dispatch.mask_process WEIGHTS IDLE_SECONDS`."""
    answer_lines(MaskProcess(sys.argv[1]).answer, float(sys.argv[2]))


if __name__ == "__main__":
    main()
