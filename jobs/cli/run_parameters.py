"""The options that `run`, `submit` and `schedule add` share, declared once; a decorator gives them to a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from jobs.cli.options import ConfigOption, ProfileOption, RayOption, SettingsOption
from jobs.core.choices import OnError
from jobs.runs.run_option_help import RUN_OPTION_HELP as HELP

if TYPE_CHECKING:
    from jobs.runs.run_options import RunOptions

Command = Callable[..., None]


class _Parameters:
    """Name, type, spelling and default of each option; the names are those of the fields of `RunOptions`."""

    inputs: Annotated[list[str], typer.Option("--input", "-i", help=HELP["inputs"], metavar="PATH")]
    profile: ProfileOption = None
    config: ConfigOption = None
    settings: SettingsOption = None
    add_stages: Annotated[list[str] | None, typer.Option("--add-stage", help=HELP["add_stages"], metavar="STAGE")] = (
        None
    )
    stream_ids: Annotated[
        list[str] | None, typer.Option("--stream-id", help=HELP["stream_ids"], metavar="ID", show_default="its name")
    ] = None
    rebind: Annotated[bool, typer.Option("--rebind", help=HELP["rebind"])] = False
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help=HELP["allow_missing"])] = False
    reread: Annotated[bool, typer.Option("--reread", help=HELP["reread"])] = False
    limit: Annotated[int | None, typer.Option("--limit", min=0, help=HELP["limit"])] = None
    strict: Annotated[bool, typer.Option("--strict", help=HELP["strict"])] = False
    on_error: Annotated[OnError, typer.Option("--on-error", help=HELP["on_error"])] = "quarantine"
    pause_after: Annotated[str | None, typer.Option("--pause-after", help=HELP["pause_after"], metavar="STAGE")] = None
    ray_address: RayOption = None


def _parameters() -> dict[str, inspect.Parameter]:
    kind, missing = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    return {
        name: inspect.Parameter(name, kind, default=getattr(_Parameters, name, missing), annotation=hint)
        for name, hint in get_type_hints(_Parameters, include_extras=True).items()
    }


PARAMETERS: Mapping[str, inspect.Parameter] = _parameters()


def takes_run_options(*left_out: str) -> Callable[[Command], Command]:
    """Decorate a command whose parameter `options` is a `RunOptions`, so that typer sees one option for each field.

    `left_out` names fields that the command does not offer; they keep their defaults.
    """

    def decorate(command: Command) -> Command:
        shared = {name: p for name, p in PARAMETERS.items() if name not in left_out}
        # `RunOptions` itself is imported when a command runs: it takes pydantic along.
        hints = get_type_hints(command, localns={"RunOptions": object}, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for name, own in inspect.signature(command).parameters.items():
            if name == "options":
                parameters += shared.values()
            else:
                parameters.append(own.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

        def wrapper(**values: Any) -> None:
            command(options=_options({name: values.pop(name) for name in shared}), **values)

        wrapper.__name__, wrapper.__doc__, wrapper.__module__ = command.__name__, command.__doc__, command.__module__
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what typer reads
        return wrapper

    return decorate


def _options(values: Mapping[str, Any]) -> RunOptions:
    """Return the options of a command line; what was not given keeps the default of its field."""
    from jobs.runs.run_options import RunOptions

    given = {name: value for name, value in values.items() if value is not None}
    return RunOptions.parse(given)
