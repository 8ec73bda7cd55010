"""Results as plain values, for programs that read JSON."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """Return nested values with None in place of the numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
