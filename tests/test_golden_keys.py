from __future__ import annotations

import json

from tests.golden_keys import PATH, golden


def test_stage_keys_equal_the_golden_file() -> None:
    """After an intended change of results, `make golden` rewrites the file, and the diff shows which keys changed."""
    assert golden() == json.loads(PATH.read_text(encoding="utf-8"))
