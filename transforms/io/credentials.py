"""Credentials and endpoint of the object store, from the environment or a profile of `~/.aws`."""

from __future__ import annotations

import configparser
import os
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

_METADATA = "http://169.254.169.254"
_METADATA_ANSWER_S = 1.0
_OF_OTHERS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
VARIABLES = {
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
}
"""The environment variables that give each entry of `options`; the first one that is set counts."""

_FROM_PROFILE = {
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
    "region": "region",
    "endpoint": "endpoint_url",
}
_KEYS = ("access_key_id", "secret_access_key", "session_token")


class AccessError(PermissionError):
    """The object store denies access with these credentials, or there are no credentials."""


def options() -> Mapping[str, str]:
    """Return the settings of the object store from the environment, or else from a profile of `~/.aws`.

    Keys are those of `VARIABLES`. Raises `AccessError` where credentials are missing or incomplete.
    """
    return _options(
        tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_") or item[0] == "HOME"))
    )


@lru_cache(maxsize=8)
def _options(environment: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    given = dict(environment)
    found = {
        name: value
        for name, variables in VARIABLES.items()
        if (value := next((given[v] for v in variables if given.get(v)), ""))
    }
    profile = _profile(given)
    if "access_key_id" in found:
        # Keys from the environment and from the profile belong to different accounts and must not be mixed.
        profile = {name: value for name, value in profile.items() if name not in _KEYS}
    found = {"region": "us-east-1"} | profile | found
    if given.get("AWS_SKIP_SIGNATURE", "").lower() == "true":
        return {name: value for name, value in found.items() if name not in _KEYS} | {"skip_signature": "true"}
    if "access_key_id" in found and "secret_access_key" in found:
        return found
    if half := [name for name in _KEYS[:2] if name in found]:
        raise AccessError(f"credentials for an object store: found {half[0].upper()} alone, expected key and secret")
    if not any(given.get(name) for name in _OF_OTHERS) and not _has_metadata(given):
        raise AccessError(
            "no credentials for an object store: expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile "
            "with such keys ($AWS_PROFILE, ~/.aws/credentials); with single sign-on, "
            "`aws configure export-credentials --format env` prints them"
        )
    return {name: value for name, value in found.items() if name not in _KEYS}


def _profile(given: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the active profile from the shared AWS files."""
    home = Path(given.get("HOME", "~")).expanduser() / ".aws"
    name = given.get("AWS_PROFILE") or "default"
    files = (
        (Path(given.get("AWS_CONFIG_FILE") or home / "config"), name if name == "default" else f"profile {name}"),
        (Path(given.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"), name),
    )
    found: dict[str, str] = {}
    for path, section in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path.expanduser(), encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise AccessError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
        if parser.has_section(section):
            values = dict(parser.items(section))
            found |= {ours: values[theirs] for ours, theirs in _FROM_PROFILE.items() if values.get(theirs)}
    return found


def _has_metadata(given: Mapping[str, str]) -> bool:
    """Return whether a cloud metadata service answers, which gives this machine credentials."""
    if given.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    place = urlsplit(given.get("AWS_METADATA_ENDPOINT") or given.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _METADATA)
    try:
        socket.create_connection((place.hostname or "", place.port or 80), _METADATA_ANSWER_S).close()
    except OSError:
        return False
    return True
