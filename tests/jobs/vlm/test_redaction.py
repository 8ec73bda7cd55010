from __future__ import annotations

import pytest

from jobs.vlm.redaction import redaction_of


def test_keys_of_all_providers_are_redacted_and_words_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123")
    monkeypatch.setenv("GEMINI_API_KEY", "")
    hide = redaction_of("sk-ant-0123456789")
    assert hide("sk-ant-0123456789 sk-ant-0123, none") == "(hidden) (hidden), none"
    assert redaction_of(None)("sk-ant-0123456789") == "(hidden)456789"
