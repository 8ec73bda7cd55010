from __future__ import annotations

import json

from tests.golden_keys import PATH, golden


def test_no_stage_key_changes_unless_that_is_meant() -> None:
    """Where a result changes on purpose, `make golden` writes the keys of the file anew, for the change to say so."""
    assert golden() == json.loads(PATH.read_text(encoding="utf-8"))
