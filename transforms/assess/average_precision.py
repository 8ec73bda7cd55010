"""COCO's figures of matched boxes, of all images or of images by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transforms.assess.box_matching import MOST, OVERLAPS, CategoryMatches, Floats
from transforms.assess.detection_scores import METRICS

_RECALLS = np.linspace(0, 1, 101)
_EPSILON = np.spacing(1)
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_AT_50, _AT_75 = 0, 5
_WHICH = {
    "AP": (_ALL, MOST, None),
    "AP50": (_ALL, MOST, _AT_50),
    "AP75": (_ALL, MOST, _AT_75),
    "APs": (_SMALL, MOST, None),
    "APm": (_MEDIUM, MOST, None),
    "APl": (_LARGE, MOST, None),
    "AR1": (_ALL, 1, None),
    "AR10": (_ALL, 10, None),
    "AR100": (_ALL, MOST, None),
    "ARs": (_SMALL, MOST, None),
    "ARm": (_MEDIUM, MOST, None),
    "ARl": (_LARGE, MOST, None),
}


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall of the boxes of a category at an overlap of 0.5 from each score down on, (N,)."""

    scores: Floats
    precision: Floats
    recall: Floats


class RankedMatches:
    """The boxes of a category and size by descending score, to have figures of for any weights of images."""

    def __init__(self, match: CategoryMatches, size: int = _ALL, most: int = MOST) -> None:
        chosen = np.flatnonzero(match.rank < most)
        chosen = chosen[np.argsort(-match.scores[chosen], kind="stable")]
        counted = ~match.ignored[size][:, chosen]
        self._image = match.image[chosen]
        self._right = (match.right[size][:, chosen] & counted).astype(np.float64)
        self._wrong = (~match.right[size][:, chosen] & counted).astype(np.float64)
        self._objects = match.objects[size].astype(np.float64)

    def precision_and_recall(self, weights: Floats | None = None) -> tuple[Floats, Floats] | None:
        """Return precision at 101 recalls, (10, 101), and the highest recall, (10,), by overlap; None without objects.

        `weights` of the images, (I,): 0 leaves one out, 2 counts one twice; None is 1 for each.
        """
        weights = np.ones(len(self._objects)) if weights is None else weights
        objects = float(self._objects @ weights)
        if objects <= 0:
            return None
        precision = np.zeros((len(OVERLAPS), len(_RECALLS)))
        weight = weights[self._image]
        used = weight > 0
        if not used.any():
            return precision, np.zeros(len(OVERLAPS))
        hits = np.cumsum(self._right[:, used] * weight[used], axis=1)
        wrong = np.cumsum(self._wrong[:, used] * weight[used], axis=1)
        shares = hits / objects
        exact = hits / (hits + wrong + _EPSILON)
        highest: Floats = np.maximum.accumulate(exact[:, ::-1], axis=1)[:, ::-1]
        for level in range(len(OVERLAPS)):
            at = np.searchsorted(shares[level], _RECALLS, side="left")
            reached = at < shares.shape[1]
            precision[level, reached] = highest[level, at[reached]]
        return precision, shares[:, -1]

    def average_precision(self, weights: Floats | None = None) -> float:
        """Return the AP; NaN where there is no object."""
        found = self.precision_and_recall(weights)
        return float("nan") if found is None else float(found[0].mean())


def coco_figures(matches: Sequence[CategoryMatches], weights: Floats | None = None) -> dict[str, float]:
    """Return COCO's twelve figures, means of the categories that have objects; NaN where none has.

    `weights` of the images, as for `RankedMatches.precision_and_recall`.
    """
    cached: dict[tuple[int, int], list[tuple[Floats, Floats]]] = {}
    found = {}
    for name in METRICS:
        size, most, level = _WHICH[name]
        if (size, most) not in cached:
            each = (RankedMatches(match, size, most).precision_and_recall(weights) for match in matches)
            cached[size, most] = [one for one in each if one is not None]
        parts = [part[name.startswith("AR")] for part in cached[size, most]]
        values = [float((part if level is None else part[level]).mean()) for part in parts]
        found[name] = float(np.mean(values)) if values else float("nan")
    return found


def curve(matches: Sequence[CategoryMatches]) -> PrecisionRecall:
    """Return precision and recall of the boxes of some categories together, at an overlap of 0.5."""
    counted = [~match.ignored[_ALL, _AT_50] for match in matches]
    scores = np.concatenate([np.empty(0), *(m.scores[c] for m, c in zip(matches, counted, strict=True))])
    right = np.concatenate(
        [np.empty(0, np.bool_), *(m.right[_ALL, _AT_50][c] for m, c in zip(matches, counted, strict=True))]
    )
    objects = sum(int(match.objects[_ALL].sum()) for match in matches)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(right[order])
    # Boxes of one score come or go together.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], np.True_)) if len(scores) else np.empty(0, np.int64)
    n = (ends + 1).astype(np.float64)
    return PrecisionRecall(scores[ends], hits[ends] / n, hits[ends] / max(objects, 1))
