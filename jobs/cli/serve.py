"""`winnow serve`: pages and an API in a browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import WorkspaceOption
from jobs.core.choices import MaskDevice

if TYPE_CHECKING:
    from jobs.web.serve import Address
    from jobs.web.settings import Settings

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")

RootOption = Annotated[
    Path | None,
    typer.Option("--root", help="Folder of workspaces, each a project, instead of a single one.", metavar="DIR"),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="Keep accounts in PostgreSQL, as in postgresql+psycopg://winnow@localhost/winnow.",
        metavar="URL",
        show_default="SQLite below what is served",
        envvar="WINNOW_DATABASE",
    ),
]


def settings_of(workspace: str | None, root: Path | None, database: str | None = None) -> Settings:
    """Return the settings of a server of a workspace, or of a folder of them; for commands about its accounts."""
    from jobs.core.optional_packages import require
    from jobs.storage.workspace import DEFAULT

    require("serve", "fastapi", "uvicorn", "sqlalchemy", "alembic", "argon2")
    from jobs.web.settings import Settings

    return Settings(None if root else workspace or DEFAULT, root.absolute() if root else None, database=database)


def serve(
    workspace: WorkspaceOption = None,
    root: RootOption = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = 8080,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", help="Address that people use, where a proxy is in between.", metavar="URL"),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option("--trusted-proxy", help="Proxy whose X-Forwarded headers are believed.", metavar="CIDR"),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate, PEM.", metavar="FILE")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.", metavar="FILE")] = None,
    insecure_http: Annotated[
        bool, typer.Option("--insecure-http", help="Serve other machines without TLS all the same.")
    ] = False,
    database: DatabaseOption = None,
    oidc: Annotated[
        Path | None,
        typer.Option(
            "--oidc",
            help="OpenID provider that people may sign in with; its secret is in WINNOW_OIDC_SECRET.",
            metavar="FILE",
            envvar="WINNOW_OIDC",
        ),
    ] = None,
    no_pages: Annotated[bool, typer.Option("--no-pages", help="Serve the API alone.")] = False,
    with_gateway: Annotated[
        bool, typer.Option("--with-gateway", help="Also run queued jobs, by a gateway of each project, until it ends.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser that is signed in.")] = False,
    address: Annotated[
        bool, typer.Option("--address", help="Print a new one-time address of the server that runs, and end.")
    ] = False,
    recover: Annotated[
        bool,
        typer.Option("--recover", help="Take reviews over from the tables that the app database, of a backup, lacks."),
    ] = False,
    mask_weights: Annotated[
        str,
        typer.Option("--mask-weights", help="SAM 2 or SAM 3 that makes masks for points and boxes.", metavar="MODEL"),
    ] = "sam2-tiny",
    mask_device: Annotated[
        MaskDevice, typer.Option("--mask-device", help="Where it runs; a job that runs has the GPU first.")
    ] = "auto",
    upload_quota: Annotated[
        float | None,
        typer.Option(
            "--upload-quota",
            help="Most gigabytes that uploads of one project take.",
            metavar="GB",
            min=0,
            show_default="any",
        ),
    ] = None,
    allow_input: Annotated[
        list[Path] | None,
        typer.Option("--allow-input", help="Folder whose data admins of projects may register.", metavar="DIR"),
    ] = None,
) -> None:
    """Serve a workspace, or a folder of them, to browsers and programs.

    On this machine alone by default, where a one-time address signs you in. Others need accounts (`winnow user add`)
    and HTTPS. Ctrl-C stops it; jobs are not affected.

    Example: winnow serve --open
    """
    from dataclasses import replace

    from jobs.core.memory import release_soon

    settings = settings_of(workspace, root, database)
    provider = None
    if oidc is not None and not address:
        from jobs.web import oidc_settings

        provider = oidc_settings.read(oidc)
    settings = replace(
        settings,
        host=host,
        port=port,
        public_url=public_url,
        trusted_proxy=tuple(trusted_proxy or ()),
        tls_cert=tls_cert,
        tls_key=tls_key,
        insecure_http=insecure_http,
        oidc=provider,
        has_pages=not no_pages,
        has_gateway=with_gateway,
        recovers=recover,
        mask_weights=mask_weights,
        mask_device=mask_device,
        upload_quota=None if upload_quota is None else int(upload_quota * 1e9),
        allowed_inputs=tuple(each.absolute() for each in allow_input or ()),
    )
    release_soon()
    from jobs.storage.workspace import Workspace
    from jobs.web.serve import new_entrance
    from jobs.web.serve import serve as run

    if address:
        typer.echo(new_entrance(settings))
        return

    if with_gateway and settings.workspace is not None and not (new := Workspace.at(settings.workspace)).exists:
        # What runs jobs can begin with nothing: the first one is submitted on the page.
        new.create()
        typer.echo(f"made the workspace {new.root}")

    def announce(found: Address) -> None:
        typer.echo(f"serving at {found.url}; Ctrl-C stops it")
        if found.entrance is not None:
            typer.echo(f"sign in within a minute, once: {found.entrance}")
        if open_browser and found.entrance is not None:
            _open(found.entrance)

    run(settings, announce)


def _open(address: str) -> None:
    """Open a browser with windows where there is one; one of the terminal would take the terminal."""
    import webbrowser
    from threading import Thread

    has_windows = sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in _SCREENS)
    if has_windows:
        # Some browsers take a while to answer, in which the server would not.
        Thread(target=webbrowser.open, args=(address,), daemon=True).start()
