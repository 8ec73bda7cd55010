"""How a server is started: what it serves, where it listens, and who may stand in front of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jobs.core.choices import MaskDevice
from jobs.core.errors import UserError

if TYPE_CHECKING:
    from jobs.web.oidc_settings import OidcSettings

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
_ANY = ("0.0.0.0", "::")  # noqa: S104 - what people may ask for, not what is bound by default

FOLDER = ".winnow-server"
"""Folder of the accounts and of the server's lock, below what it serves."""


@dataclass(frozen=True)
class Settings:
    """Options of `winnow serve`.

    `root`: a folder of workspaces, or `workspace`, a single one; exactly one of them. `public_url`: the address that
    people use, where it is not the one that is listened at. `trusted_proxy`: networks whose `X-Forwarded-*` headers are
    believed. `database`: URL of a PostgreSQL database; None for SQLite below what is served. `oidc`: the provider that
    people may sign in with. `recovers`: whether an app database that has lost edits takes them over from the tables.
    `has_gateway`: whether to keep a gateway running for each project. `mask_weights`, `mask_device`: what makes
    masks for points and boxes, and where it may run. `upload_quota`: bytes that the uploads of one project may take.
    `allowed_inputs`: folders of this machine whose data admins of projects may register.
    """

    workspace: str | None = None
    root: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str | None = None
    trusted_proxy: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure_http: bool = False
    database: str | None = None
    oidc: OidcSettings | None = None
    has_pages: bool = True
    has_gateway: bool = False
    recovers: bool = False
    mask_weights: str = "sam2-tiny"
    mask_device: MaskDevice = "auto"
    upload_quota: int | None = None
    allowed_inputs: tuple[Path, ...] = ()

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def is_private(self) -> bool:
        """Return whether all requests come from this machine, and through no proxy that brings those of others."""
        return self.is_loopback and self.public_url is None and not self.trusted_proxy

    @property
    def is_https(self) -> bool:
        """Return whether people use HTTPS, so that cookies can be for HTTPS alone."""
        return self.tls_cert is not None or (self.public_url or "").startswith("https://")

    @property
    def scheme(self) -> str:
        """Return the scheme that the server itself speaks."""
        return "https" if self.tls_cert is not None else "http"

    def address(self, port: int) -> str:
        """Return the address that people use, without a slash at its end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{port}"

    def origins(self, port: int) -> frozenset[str]:
        """Return the origins that pages of this server have."""
        names = [*LOOPBACK_NAMES, self.host] if self.is_loopback else [self.host]
        own = {f"{self.scheme}://{f'[{name}]' if ':' in name else name}:{port}" for name in names}
        # Browsers leave out a port that is the scheme's own.
        own |= {origin.removesuffix(":443" if self.scheme == "https" else ":80") for origin in own}
        if self.public_url:
            parts = urlsplit(self.public_url)
            own.add(f"{parts.scheme}://{parts.netloc}".lower())
        return frozenset(own)

    def check(self) -> None:
        """Raise `UserError` with everything that is wrong with the options, before anything is opened."""
        problems = [*self._about_files(), *self._about_addresses()]
        if (self.root is None) == (self.workspace is None):
            problems.append("--root and --workspace: expected one of them")
        if not self.is_private:
            problems += self._about_others()
        if problems:
            raise UserError(problems)

    def _about_files(self) -> Iterator[str]:
        if (self.tls_cert is None) != (self.tls_key is None):
            yield "--tls-cert and --tls-key: expected both or none of them"
        for option, file in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            if file is not None and not file.is_file():
                yield f"{option}: expected a file, found none at {file}"
        for folder in self.allowed_inputs:
            if not folder.is_dir():
                yield f"--allow-input: expected a folder, found none at {folder}"

    def _about_addresses(self) -> Iterator[str]:
        for network in self.trusted_proxy:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError:
                yield f"--trusted-proxy: expected an address or a network as in 10.0.0.0/8, found {network!r}"
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
                yield f"--public-url: expected https://NAME without a path, found {self.public_url!r}"

    def _about_others(self) -> Iterator[str]:
        """Yield what is missing where other machines can reach the server."""
        if not (self.tls_cert or self.trusted_proxy or self.insecure_http or self.is_loopback):
            yield (
                f"--host {self.host}: others could read passwords on their way; give --tls-cert and --tls-key, or "
                "--trusted-proxy with the address of a proxy that speaks HTTPS, or --insecure-http to serve "
                "unprotected all the same"
            )
        if self.public_url is not None and self.is_loopback and not self.trusted_proxy:
            yield (
                f"--host {self.host} --public-url: requests of others come through a proxy here; give its address as "
                "--trusted-proxy, as in 127.0.0.1, so that tries to guess passwords are counted by who makes them"
            )
        if self.trusted_proxy and not (self.is_https or self.insecure_http):
            yield (
                "--trusted-proxy: give the address that people use as --public-url https://NAME, so that cookies are "
                "for HTTPS alone, or --insecure-http to serve unprotected all the same"
            )
        if self.host in _ANY and self.public_url is None:
            yield (
                f"--host {self.host}: give the address that people use as --public-url; requests under other names "
                "are refused"
            )


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
