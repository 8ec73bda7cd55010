"""`winnow serve-models`: models over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.options import ConfigOption, ProfileOption, SettingsOption


def serve_models(
    profile: ProfileOption = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all networks.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
    replicas: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that hold the models.", show_default="one per GPU, or four cores"),
    ] = None,
) -> None:
    """Serve the models of a configuration over HTTP, for runs on machines without a GPU, until Ctrl-C.

    Such a run has WINNOW_INFERENCE_URL=http://HOST:PORT in its environment, and the same settings. If
    WINNOW_INFERENCE_TOKEN is set here, it has to be set there. By default, only this machine can connect.

    Example: winnow serve-models --profile annotate --set annotate.weights=yolox_nano.onnx
    """
    import os

    from conf import ConfigError, load
    from jobs.cli.show import err
    from jobs.core.errors import UserError
    from jobs.dispatch.model_server import ServeOptions, serve
    from jobs.models.remote_models import TOKEN

    try:
        loaded = load(profile, config, settings or ())
    except ConfigError as error:
        raise UserError(error.problems) from error
    token = os.environ.get(TOKEN, "").strip()
    if host not in {"127.0.0.1", "::1", "localhost"} and not token:
        err.print(
            f"note: anybody who can connect to {host} may use the models; set {TOKEN} to require a token",
            soft_wrap=True,
        )

    def ready(url: str, stages: list[str]) -> None:
        err.print(f"serving {', '.join(stages)} at {url}", soft_wrap=True)

    serve(loaded, ServeOptions(host, port, token, replicas), ready)
