"""Output of results as JSON, for programs. It imports little, so that these are answered at once."""

from __future__ import annotations

import json
import sys
from typing import Any


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(json.dumps(value, default=str) + "\n")
    sys.stdout.flush()


def print_job_id(job_id: str, as_json: bool) -> None:
    """Print the id of a job that was put into the queue, alone on its line or as `job_id` of an object."""
    if as_json:
        print_json({"job_id": job_id})
    else:
        sys.stdout.write(f"{job_id}\n")
        sys.stdout.flush()
