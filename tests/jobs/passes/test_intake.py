from __future__ import annotations

from typing import Any

import pytest

from jobs.passes.intake import common_error


def fault(number: int, error: str, kind: str = "OSError", stage: str = "frames") -> dict[str, Any]:
    uri = f"/cam/image_{number}.jpg"
    named = {"stream_id": "cam", "frame_idx": number, "uri": uri, "stage": stage}
    return named | {"error_type": kind, "error": error.format(uri)}


@pytest.mark.parametrize(
    ("faults", "n_frames", "expected"),
    [
        # The file is all that differs; each stage of a frame has a fault of its own.
        (
            [fault(n, "denied: '{}'", stage=stage) for n in range(2) for stage in ("frames", "quality")],
            2,
            "OSError: denied: 'its file'",
        ),
        ([fault(0, "denied: '{}'"), fault(1, "gone: '{}'")], 2, None),
        ([fault(0, "denied"), fault(1, "denied", "RuntimeError")], 2, None),
        ([fault(0, "denied"), fault(1, "denied")], 3, None),
        ([fault(0, "denied")], 1, None),
        ([], 0, None),
    ],
)
def test_an_error_of_all_frames_is_distinguished_from_errors_of_some(
    faults: list[dict[str, Any]], n_frames: int, expected: str | None
) -> None:
    assert common_error(faults, n_frames) == expected
