"""A process of its own, next to a server: how long a training would take, and what a model finds on an image."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from jobs.core.choices import MaskDevice
from jobs.core.errors import UserError
from jobs.dispatch.line_worker import IDLE_S, LineWorker
from jobs.storage.workspace import Workspace
from jobs.training.options import TrainOptions


class TriedImageError(UserError):
    """The image does not decode."""


class TrialWorker(LineWorker):
    """Asks the process, one request after the other; safe for threads."""

    def __init__(self, device: MaskDevice, is_busy: Callable[[], str | None], idle_s: float = IDLE_S) -> None:
        """Start nothing yet. `device` and `is_busy` as of every such worker."""
        super().__init__("trials of models", ("jobs.dispatch.trial_process",), device, is_busy, idle_s=idle_s)

    def estimate(self, workspace: Workspace, options: TrainOptions) -> dict[str, Any] | None:
        """Return `step_s`, `frame_s`, `minutes` and `memory_bytes` of a training here; None with nothing to learn from.

        Raises `UserError` for what cannot be trained, and `JobStateError` where a job has the GPU.
        """
        wanted = {"workspace": str(workspace.root), "options": options.model_dump(mode="json")}
        # Of a process of its own, whose memory is that of the training alone.
        found: dict[str, Any] | None = _checked(self.send({"estimate": wanted}, alone=True))["estimate"]
        return found

    def find(self, workspace: Workspace, model: str, image: bytes) -> dict[str, Any]:
        """Return what a registered model finds on an image: `width`, `height`, `milliseconds`, and `objects`.

        Raises `TriedImageError`, `UserError` for weights that cannot be used, and `JobStateError` as `estimate`.
        """
        wanted = {"workspace": str(workspace.root), "model": model, "image": base64.b64encode(image).decode()}
        return _checked(self.send({"find": wanted}))


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    if "lines" not in found:
        return found
    raise (TriedImageError if found["kind"] == "image" else UserError)(found["lines"])
