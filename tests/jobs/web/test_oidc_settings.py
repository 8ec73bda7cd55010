"""The file that describes a provider."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.web import oidc_settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected issuer and client_id"),
        ("- 1", "expected issuer and client_id"),
        ("issuer: https://a.example", "client_id: field required"),
        ("issuer: http://a.example\nclient_id: x", "issuer: expected https://HOST"),
        ("issuer: https://a.example?x\nclient_id: x", "issuer: expected https://HOST"),
        ("issuer: https://a.example\nclient_id: x\nsecret: planted-secret", "a secret in it would be read with it"),
        ("issuer: https://a.example\nclient_id: x\nclient_secret: planted-secret", "client_secret: extra inputs"),
        ("issuer: https://a.example\nclient_id: x\nscopes: [profile]", "expected openid among them"),
        ("issuer: https://a.example\nclient_id: x\nnew_accounts: everybody", "new_accounts: input should be"),
        ("issuer: https://a.example\nclient_id: x\nsecret_file: not-there", "not-there cannot be read"),
        ("issuer: [", "while parsing"),
    ],
    ids=range(11),
)
def test_files_that_are_wrong(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "provider.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as wrong:
        oidc_settings.read(file)
    assert said in str(wrong.value)
    assert "planted-secret" not in str(wrong.value)


def test_the_secret_of_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "provider.yaml"
    file.write_text("issuer: https://a.example\nclient_id: x\n", encoding="utf-8")
    assert oidc_settings.read(file).secret is None
    monkeypatch.setitem(os.environ, "WINNOW_OIDC_SECRET", "from-the-environment")
    found = oidc_settings.read(file).secret
    assert found is not None
    assert found.get_secret_value() == "from-the-environment"
    assert "from-the-environment" not in repr(oidc_settings.read(file))
