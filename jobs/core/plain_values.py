"""Conversion of results to values that JSON can represent."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """Return nested values with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
