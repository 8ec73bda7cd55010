"""Names of the strategies that choose a sample of frames."""

from __future__ import annotations

from typing import Literal

Strategy = Literal["uniform", "stratified", "diverse", "coverage"]
STRATEGIES: tuple[Strategy, ...] = ("uniform", "stratified", "diverse", "coverage")
