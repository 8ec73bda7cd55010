from __future__ import annotations

from pathlib import Path

import pytest

from tests import s3
from transforms.io import credentials
from transforms.io.credentials import AccessError


def test_credentials_come_from_a_profile_where_the_environment_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in s3.environment(""):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AccessError, match="no credentials for an object store: expected AWS_ACCESS_KEY_ID"):
        credentials.options()
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
        "[night]\naws_access_key_id = c\naws_secret_access_key = d\n"
    )
    (folder / "config").write_text("[profile night]\nregion = eu-central-1\nendpoint_url = http://store:9000\n")
    assert credentials.options() == {"access_key_id": "a", "secret_access_key": "b", "region": "us-east-1"}
    monkeypatch.setenv("AWS_PROFILE", "night")
    assert credentials.options() == {
        "access_key_id": "c",
        "secret_access_key": "d",
        "region": "eu-central-1",
        "endpoint": "http://store:9000",
    }
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "e")
    with pytest.raises(AccessError, match="found ACCESS_KEY_ID alone"):
        credentials.options()
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert "access_key_id" not in credentials.options()
