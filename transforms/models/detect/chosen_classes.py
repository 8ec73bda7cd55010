"""A detector of which only some classes count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from transforms.frames.image import Color
from transforms.models.detect.annotator import Annotator, FrameDetector
from transforms.models.detect.detections import Bgr, Detections, FrameKey

Ready = TypeVar("Ready")


class ChosenClasses(Generic[Ready]):
    """A detector without the objects of all but some classes; what it says of itself is what the detector says.

    Objects are left out of what the detector returns, after its suppression and its limit on their number.
    """

    def __init__(self, detector: FrameDetector[Ready], classes: Sequence[str]) -> None:
        self._detector = detector
        self.names = detector.names
        self.source, self.model, self.weights_hash = detector.source, detector.model, detector.weights_hash
        self._wanted = np.isin(np.array(detector.names), classes)

    def prepare(self, frame: Color, /) -> Ready:
        """Preprocess a frame; called in threads."""
        return self._detector.prepare(frame)

    def detect(self, prepared: Sequence[Ready], /) -> list[Detections]:
        """Detect objects of the chosen classes on preprocessed frames."""
        return [self._chosen(found) for found in self._detector.detect(prepared)]

    def __call__(self, frames: Sequence[Bgr], keys: Sequence[FrameKey], /) -> list[Detections]:
        """Detect objects of the chosen classes on frames."""
        return [self._chosen(found) for found in self._detector(frames, keys)]

    def _chosen(self, found: Detections) -> Detections:
        stays = self._wanted[found.labels]
        masks = (
            tuple(mask for mask, stay in zip(found.masks, stays.tolist(), strict=True) if stay) if found.masks else ()
        )
        return Detections(found.boxes[stays], found.scores[stays], found.labels[stays], masks)


def annotate_chosen(
    load: Callable[[Any, int], FrameDetector[Any]], spec: Any, classes: Sequence[str], key: str, threads: int
) -> Annotator[Any]:
    """Load a detector of which some classes count, for a model pass of the stage with this key."""
    return Annotator(ChosenClasses(load(spec, threads), classes), key)
