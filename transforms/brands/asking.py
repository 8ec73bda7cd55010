"""Prompt to a vision language model about a crop of which the brand is open, and validation of its answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from blake3 import blake3
from pydantic import BaseModel, ConfigDict, ValidationError

from transforms.assess.escalation import EscalateParams, misfit

_HEIGHT = 192
_LONGEST = 8192
"""The longest side that `long_side` allows."""

_QUALITY = 92
_SYSTEM = (
    "You read signs in broadcasts. The image shows one sign, cut out, upright and enlarged. Say which brand of the "
    "list it shows, by its name or its logo; null if it shows another word or none of them. A name that differs from a "
    "brand of the list in a letter is another name: the answer is then null. Say with `sure` whether you can read it "
    "well enough to know."
)


@dataclass(frozen=True)
class AskLocalParams(EscalateParams):
    """Which vision language model on this machine or network is asked about crops whose brand is open; see `escalate`.

    Without a model, none is asked.
    """


@dataclass(frozen=True)
class AskCloudParams(EscalateParams):
    """Which other vision language model is asked about what then still is open; see `escalate`.

    Without a model, none is asked.
    """


class BrandAnswer(BaseModel):
    """The schema of the model's answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    brand: str | None
    sure: bool


BRAND_SCHEMA: dict[str, Any] = BrandAnswer.model_json_schema()


@dataclass(frozen=True)
class BrandQuestion:
    """The prompt about a crop: what was read on it, and the brands of the dictionary."""

    text: str
    brands: tuple[str, ...]

    @property
    def system(self) -> str:
        """Return the system prompt."""
        return _SYSTEM

    @property
    def prompt_hash(self) -> str:
        """Return a hash of everything but the image."""
        parts = [self.system, self.text, BRAND_SCHEMA, _HEIGHT]
        return blake3(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def call_id(self, model: str, crop_hash: str) -> str:
        """Return the id of the call of a model with this prompt and an image."""
        return blake3("\x1f".join([model, self.prompt_hash, crop_hash]).encode()).hexdigest()[:32]

    def read(self, text: str) -> BrandAnswer:
        """Return an answer that is valid for schema and prompt. Raises `ValueError` with what is wrong."""
        try:
            answer = BrandAnswer.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(misfit(error)) from None
        if answer.brand is not None and answer.brand not in self.brands:
            raise ValueError("expected a brand of the list or null, found another name")
        return answer

    def most_tokens(self) -> int:
        """Return an upper estimate of the tokens of the prompt with its image, as `escalation.most_tokens` does."""
        letters = len(self.system) + len(self.text) + len(json.dumps(BRAND_SCHEMA))
        return letters // 3 + _HEIGHT * _LONGEST // 256 + 256


def brand_question(brands: Sequence[str]) -> BrandQuestion:
    """Return the prompt for a dictionary. What was read is left out of it: the model would agree with it."""
    names = tuple(sorted(brands))
    return BrandQuestion(f"Brands: {json.dumps(list(names), ensure_ascii=False)}", names)


def enlarged(jpeg: bytes, long_side: int) -> bytes:
    """Return a crop as JPEG, enlarged for a model that sees images in patches, at most `long_side` pixels long."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    scale = min(_HEIGHT / image.shape[0], long_side / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])
