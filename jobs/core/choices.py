"""The words that options with a few choices take, one type each, for the command line and what it calls."""

from __future__ import annotations

from typing import Literal

OnError = Literal["quarantine", "abort"]
"""What to do with a frame that cannot be computed."""

Balance = Literal["stream", "scene", "hour"]
"""What has equal shares in a sample."""

CompareBy = Literal["layout", "embedding"]
"""What frames are compared by when a sample is chosen."""

IouType = Literal["bbox", "segm"]
"""Which shapes are compared with ground truth."""

QueryFormat = Literal["table", "json", "jsonl", "csv", "parquet"]
"""How the result of a query is printed."""

SubmitTo = Literal["queue", "ray"]
"""Who runs a job that is submitted."""

RetryOnly = Literal["quarantined"]
"""Which frames of a run are retried."""
