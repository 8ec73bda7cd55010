"""Parameters and weights of a model, resolved before any work, from which worker processes load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ModelWeights:
    """Weights on this machine.

    `name` is what rows call them, `sha256` the hash of their bytes as hex; `kind` names the class that runs them, where
    a folder says so.
    """

    path: Path
    name: str
    sha256: str
    kind: str = ""


@dataclass(frozen=True)
class ModelInput:
    """What the model of a stage is made from.

    `params`: the sections of the configuration that the stage declares, by name. `batch`: the most frames that are
    shown to it at once. `weights` is None for models that have none.
    """

    params: Mapping[str, Any]
    stage_key: str
    batch: int
    weights: ModelWeights | None = None

    @property
    def given_weights(self) -> ModelWeights:
        """Return the weights of a model that has some."""
        assert self.weights is not None
        return self.weights
