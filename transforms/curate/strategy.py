"""The ways in which a sample of frames can be chosen."""

from __future__ import annotations

from typing import Literal

Strategy = Literal["uniform", "stratified", "diverse", "coverage"]
STRATEGIES: tuple[Strategy, ...] = ("uniform", "stratified", "diverse", "coverage")
