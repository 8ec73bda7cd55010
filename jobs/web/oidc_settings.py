"""The OpenID provider that people may sign in with: what the file of `winnow serve --oidc` says of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from jobs.web.settings import is_loopback
from transforms.core.plain_yaml import YamlError, read_yaml

SECRET = "WINNOW_OIDC_SECRET"  # noqa: S105 - the name of a variable
"""Variable of the environment with the client's secret; it comes before that of a file."""

_MOST_BYTES = 1 << 16
_LONGEST = 1000

Text = Annotated[str, Field(min_length=1, max_length=_LONGEST)]


class OidcSettings(BaseModel):
    """A provider, and this server as its client.

    `new_accounts`: whose identities nobody knows yet get an account by an invitation alone, or `anybody` that the
    provider lets in, without any rights. `claims` are what it has to say of everybody who signs in: of a list, that it
    has the value. `secret` is None for a public client, which has PKCE alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    issuer: Text
    client_id: Text
    name: Annotated[str, Field(min_length=1, max_length=60)] = "OpenID Connect"
    new_accounts: Literal["invitation", "anybody"] = "invitation"
    claims: Annotated[Mapping[str, str | bool | int], Field(max_length=20)] = {}
    scopes: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,100}$")], ...], Field(max_length=20)
    ] = (
        "openid",
        "profile",
    )
    secret_file: Path | None = None
    secret: Annotated[SecretStr | None, Field(exclude=True, repr=False)] = None


def read(file: Path) -> OidcSettings:
    """Return what a file of YAML says, with the secret of the environment or of the file that it names.

    Raises `UserError` with everything that is wrong; no line has a secret in it.
    """
    require("oidc", "joserfc", "httpx2")
    try:
        found = read_yaml(_text(file))
    except YamlError as error:
        raise UserError(f"--oidc {file}: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"--oidc {file}: expected issuer and client_id, as in docs/server.md")
    if "secret" in found:
        raise UserError(
            f"--oidc {file}: a secret in it would be read with it; set {SECRET}, or name a file of its own as "
            "secret_file"
        )
    try:
        settings = OidcSettings.model_validate(found)
    except ValidationError as error:
        lines = [
            f"--oidc {file}: {'.'.join(str(part) for part in each['loc']) or 'file'}: {each['msg'].lower()}"
            for each in error.errors(include_input=False)
        ]
        raise UserError(lines) from None
    _check_issuer(settings.issuer, file)
    if "openid" not in settings.scopes:
        raise UserError(f"--oidc {file}: scopes: expected openid among them, found {', '.join(settings.scopes)}")
    secret = os.environ.get(SECRET)
    if secret is None and settings.secret_file is not None:
        secret = _text(file.parent / settings.secret_file).strip()
        if not secret:
            raise UserError(f"--oidc {file}: secret_file: {settings.secret_file} is empty")
    return settings.model_copy(update={"secret": SecretStr(secret) if secret else None})


def _check_issuer(issuer: str, file: Path) -> None:
    parts = urlsplit(issuer)
    is_right = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not is_right or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise UserError(f"--oidc {file}: issuer: expected https://HOST/…, found {issuer[:200]!r}")


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"--oidc: {file} cannot be read: {error.strerror or error}") from error
    if len(data) > _MOST_BYTES:
        raise UserError(f"--oidc: {file}: expected at most {_MOST_BYTES:,} bytes, found more")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"--oidc: {file}: expected UTF-8") from error
