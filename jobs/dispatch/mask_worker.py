"""A process of its own that makes masks for points and boxes: started by the first request, ended when nobody asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from jobs.core.choices import MaskDevice
from jobs.core.errors import UserError
from jobs.dispatch.line_worker import IDLE_S, LineWorker
from jobs.models.transformers import in_folder
from transforms.models.click_masks import CLICK_KINDS


@dataclass(frozen=True)
class MaskFrame:
    """A frame as its tables name it: its bytes, the content that was measured, and its level of white."""

    uri: str
    content_hash: str
    white_level: float | None


@dataclass(frozen=True)
class MaskRequest:
    """What a mask is wanted of: points (x, y in pixels) with labels (1 on the object, 0 not), a box x, y, w, h.

    Without a frame, only the model is loaded; without points and box, the image is encoded, so that the next request
    of it is quick.
    """

    frame: MaskFrame | None = None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None


class MaskFrameError(UserError):
    """The frame cannot be read as it was measured."""


class MaskWorker(LineWorker):
    """Asks the process, one request after the other; safe for threads."""

    def __init__(self, weights: str, device: MaskDevice, is_busy: Callable[[], str | None], idle_s: float = IDLE_S):
        """Start nothing yet. `device` and `is_busy` as of every such worker."""
        # Weights that are missing are reported at once, and no process is started for them.
        super().__init__(
            "masks",
            ("jobs.dispatch.mask_process", weights),
            device,
            is_busy,
            lambda: in_folder("--mask-weights", weights, CLICK_KINDS),
            idle_s,
        )

    def ask(self, request: MaskRequest) -> dict[str, Any]:
        """Return what the process answers: `model`, `device`, `seconds`, and `rle` and `score` of a mask.

        Raises `UserError` where the model cannot be loaded, with the command that gets it; `MaskFrameError`; and
        `JobStateError` where a job has the GPU, or too many wait.
        """
        found = self.send(asdict(request))
        if "lines" not in found:
            return found
        raise (MaskFrameError if found["kind"] == "frame" else UserError)(found["lines"])
