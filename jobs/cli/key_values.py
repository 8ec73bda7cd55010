"""Options of the form KEY=VALUE whose values are those of YAML."""

from __future__ import annotations

from collections.abc import Sequence


def key_values(option: str, texts: Sequence[str]) -> list[tuple[str, object]]:
    """Return the pairs that an option was given. Raises `UserError` with all that are none."""
    from jobs.core.errors import UserError
    from transforms.core.plain_yaml import YamlError, read_yaml

    problems: list[str] = []
    found: list[tuple[str, object]] = []
    for text in texts:
        key, sign, value = text.partition("=")
        try:
            found.append((key, read_yaml(value)))
        except YamlError as error:
            problems.append(f"{option} {text}: {error}")
        if not sign:
            problems.append(f"{option} {text}: expected KEY=VALUE")
    if problems:
        raise UserError(problems)
    return found
