"""Output of results as JSON, for programs. It imports little, so that these are answered at once."""

from __future__ import annotations

import json
import sys
from typing import Any


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(json.dumps(value, default=str) + "\n")
    sys.stdout.flush()
