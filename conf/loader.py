"""Loads a configuration: profile, file and flags become one, validated, or a list of everything that is wrong."""

from __future__ import annotations

import difflib
import json
import math
import re
import runpy
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from conf.pipeline import PipelineConfig, dotted_keys
from conf.stages import STAGE_NAMES
from transforms.core.plain_yaml import YamlError, read_yaml

DEFAULT_PROFILE = "quality"

_TYPE_NAME = re.compile(r"float|int|none|constrained-.*|literal\[.*")
_MOST_SHOWN = 120
_MOST_PROBLEMS = 50
_MOST_BYTES = 4 << 20


class ConfigError(ValueError):
    """The configuration cannot be used; `problems` has one line for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        found = list(problems)
        more = [f"… and {len(found) - _MOST_PROBLEMS:,} more"] if len(found) > _MOST_PROBLEMS else []
        self.problems = [*found[:_MOST_PROBLEMS], *more]
        super().__init__("\n".join(self.problems))


_ADDED = "+"


@dataclass(frozen=True)
class Loaded:
    """A configuration, the name of the profile it started from, and the keys that a file or a setting gave."""

    config: PipelineConfig
    profile: str
    given: tuple[str, ...] = field(default=(), compare=False)

    def unread(self) -> list[str]:
        """Return the given keys that no stage of the configuration reads."""
        sections = self.config.read_sections
        return [key for key in self.given if "." in key and key.split(".")[0] not in sections]


def profile_names() -> list[str]:
    """Return the names of the built-in profiles."""
    folder = resources.files("conf") / "profiles"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def profile_text(name: str) -> str:
    """Return a built-in profile as it is written. Raises `ConfigError` for an unknown one."""
    if name not in profile_names():
        known = ", ".join(profile_names())
        raise ConfigError([f"unknown profile {name!r}{_nearest(name, profile_names())}; there are: {known}"])
    return (resources.files("conf") / "profiles" / f"{name}.yaml").read_text()


def describe(name: str) -> str:
    """Return what a built-in profile is for, in a line."""
    return " ".join(str((read_yaml(profile_text(name)) or {}).get("description", "")).split())


def load(profile: str | None = None, config: str | None = None, settings: Iterable[str] = ()) -> Loaded:
    """Compose a configuration: the profile, then the config file, then `key=value` settings, the last one winning.

    `config` is a YAML file or `FILE.py:attribute` (a `PipelineConfig` or a mapping). A YAML file may name the profile
    that it builds on under `profile`. Raises `ConfigError` with every problem found.
    """
    problems: list[str] = []
    given = _attempt(problems, lambda: _read_config(config)) if config else None
    layer = dict(given or {})
    named = layer.pop("profile", None)
    name = profile or (str(named) if named else DEFAULT_PROFILE)
    merged: dict[str, Any] = _attempt(problems, lambda: _read_profile(name)) or {}
    sources = (layer, *(_attempt(problems, partial(_read_setting, s)) or {} for s in settings))
    for source in sources:
        merged = _merge(merged, source)
    if problems:
        raise ConfigError([*problems, *_problems(merged)])
    return Loaded(parse(merged), name, tuple(dict.fromkeys(key for source in sources for key in flat(source))))


def parse(values: Mapping[str, Any]) -> PipelineConfig:
    """Return the configuration that a mapping of sections describes, as a run recorded it. Raises `ConfigError`."""
    if problems := _problems(values):
        raise ConfigError(problems)
    return _validated(values)


def override(config: PipelineConfig, settings: Iterable[str]) -> PipelineConfig:
    """Return a configuration with `key=value` settings on top. Raises `ConfigError` with every problem found."""
    problems: list[str] = []
    merged = to_dict(config)
    for setting in settings:
        merged = _merge(merged, _attempt(problems, partial(_read_setting, setting)) or {})
    if problems:
        raise ConfigError([*problems, *_problems(merged)])
    return parse(merged)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a configuration as plain values under dotted keys."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def to_dict(config: PipelineConfig) -> dict[str, Any]:
    """Return the configuration as plain values, for YAML and JSON."""
    return json.loads(json.dumps(asdict(config)))


def to_yaml(config: PipelineConfig) -> str:
    """Return the configuration as a YAML file that `load` reads, in declared order."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None, width=120)


def _attempt(problems: list[str], read: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    try:
        return read()
    except ConfigError as error:
        problems += error.problems
        return None


def _read_profile(name: str) -> dict[str, Any]:
    values = read_yaml(profile_text(name)) or {}
    values.pop("description", None)
    return values


def _read_config(config: str) -> dict[str, Any]:
    path, _, attribute = config.partition(":") if ".py:" in config else (config, "", "")
    if wrong := _no_file(Path(path)):
        raise ConfigError([f"config file {path} {wrong}; expected a YAML file or FILE.py:attribute"])
    if (size := Path(path).stat().st_size) > _MOST_BYTES:
        raise ConfigError([f"config file {path}: expected at most {_MOST_BYTES:,} bytes, found {size:,}"])
    if path.endswith(".py"):
        return _read_python(path, attribute)
    try:
        values = read_yaml(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} cannot be read: {error}"]) from error
    except YamlError as error:
        raise ConfigError([f"{path} is not valid YAML: {error}"]) from error
    if not isinstance(values or {}, dict):
        raise ConfigError([f"{path} holds {_kind(values)}, expected sections with keys"])
    values = dict(values or {})
    values.pop("description", None)
    return values


def _no_file(path: Path) -> str | None:
    """Return why a path cannot be read as a file, if so."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return None if stat.S_ISREG(mode) else "is a folder" if stat.S_ISDIR(mode) else "is no file"


def _kind(value: Any) -> str:
    """Return what a value is, in words."""
    if isinstance(value, str):
        return "text"
    name = {bool: "boolean", int: "number", float: "number", tuple: "list"}.get(type(value), type(value).__name__)
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def _read_python(path: str, attribute: str) -> dict[str, Any]:
    if not attribute:
        raise ConfigError([f"{path} is Python: name the attribute that holds the configuration, as in {path}:config"])
    try:
        namespace = runpy.run_path(path)
    except SystemExit as error:
        raise ConfigError([f"{path} ends the program ({error!r}) where it was to say {attribute}"]) from error
    except Exception as error:
        raise ConfigError([f"{path} cannot be run: {type(error).__name__}: {error}"]) from error
    if attribute not in namespace:
        raise ConfigError([f"{path} has no attribute {attribute!r}{_nearest(attribute, list(namespace))}"])
    value = namespace[attribute]
    if isinstance(value, PipelineConfig):
        return to_dict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise ConfigError([f"{path}:{attribute} is {_kind(value)}, expected a PipelineConfig or a mapping"])


def _read_setting(setting: str) -> dict[str, Any]:
    key, sign, text = setting.partition("=")
    if not sign or not key.strip():
        raise ConfigError([f"--set {setting}: expected KEY=VALUE, as in --set duplicates.hamming=8"])
    try:
        value = read_yaml(text)
    except YamlError:
        value = text
    if key.strip() == "ingest.name" and text.strip() not in {"", "null", "none"}:
        # A pattern has braces, which mean something else in YAML.
        value = text
    if key.strip().startswith("when."):
        # A rule is SQL, also where YAML would read it as something else.
        value = None if text.strip() in {"", "null", "none"} else text.strip()
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return value


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(below, value)
        elif key == "stages":
            merged[key] = _with_added(value, below)
        else:
            merged[key] = value
    return merged


def _with_added(stages: Any, below: Any) -> Any:
    """Return stages where each is written `+NAME` as those that are added to the ones before; others unchanged."""
    names = stages if isinstance(stages, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) and name.startswith(_ADDED) for name in names):
        return stages
    base = below if isinstance(below, (list, tuple)) else PipelineConfig().stages
    return list(dict.fromkeys([*base, *(name.removeprefix(_ADDED) for name in names)]))


def _problems(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a merged configuration: unknown keys and stages, then values that do not fit."""
    keys = dotted_keys()
    sections = {key.split(".")[0] for key in keys if "." in key}
    problems: list[str] = []
    known: dict[str, Any] = {}
    for name, value in values.items():
        if name not in sections:
            unknown = [] if name in keys else [str(name)]
            known |= {name: value} if not unknown else {}
        elif isinstance(value, Mapping):
            unknown = [f"{name}.{key}" for key in value if f"{name}.{key}" not in keys]
            known[name] = {key: entry for key, entry in value.items() if f"{name}.{key}" in keys}
        else:
            problems.append(f"{name} is a section, expected keys below it, found {_shown(value)}")
            continue
        problems += [f"unknown key {key!r}{_nearest(key, keys)}" for key in unknown]
    stages = values.get("stages")
    if isinstance(stages, (list, tuple)):
        there_are = f"there are: {', '.join(STAGE_NAMES)}"
        problems += [
            f"stages: unknown stage {s!r}{_nearest(s, STAGE_NAMES)}; {there_are}"
            for s in stages
            if isinstance(s, str) and s not in STAGE_NAMES and not s.startswith(_ADDED)
        ]
        if any(isinstance(s, str) and s.startswith(_ADDED) for s in stages):
            problems.append("stages: expected names alone, or + before each one to add them, found both")
        if not stages:
            problems.append(f"stages: expected at least one, found none; {there_are}")
    try:
        _validated(known)
    except ConfigError as error:
        problems += error.problems
    return problems


def _nearest(word: str, words: Iterable[str]) -> str:
    """Return a hint at the known word that is most like an unknown one, or nothing."""
    words = list(words)
    by_last = [w for w in words if w.rpartition(".")[2] == word.rpartition(".")[2]]
    close = by_last or difflib.get_close_matches(word, words, 1, 0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


@cache
def _checker() -> TypeAdapter[PipelineConfig]:
    """Return what checks a configuration, which takes longer to make than a hundred checks do."""
    return TypeAdapter(PipelineConfig)


def _validated(values: Mapping[str, Any]) -> PipelineConfig:
    try:
        problems = [f"{key}: {problem}" for key, problem in _unfit(values)]
        # Strict JSON: "8" is no number and yes is no count, but a list will do for a tuple.
        config = _checker().validate_json(json.dumps(_fit(values)), strict=True)
    except ValidationError as error:
        problems += [_explain(e) for e in error.errors(include_url=False)]
        raise ConfigError([*problems, *_wrong_rules(values)]) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError([f"the configuration holds a value that is no plain data: {error}"]) from error
    # Without the values that do not fit, others may seem to contradict one another.
    if problems := problems or config.conflicts():
        raise ConfigError(problems)
    return config


def _wrong_rules(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the rules of a configuration whose other values do not fit."""
    rules = values.get("when")
    if not isinstance(rules, Mapping):
        return []
    texts = {str(stage): text for stage, text in rules.items() if isinstance(text, str)}
    return PipelineConfig(when=texts).wrong_rules()


def _unfit(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of values that JSON has no word for, and what is wrong with each."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _unfit(value, f"{prefix}{name}.")
        elif problem := _wrong_with(value):
            yield f"{prefix}{name}", problem


def _fit(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that JSON has words for."""
    return {
        name: _fit(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if isinstance(value, Mapping) or not _wrong_with(value)
    }


def _wrong_with(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"expected a finite number, found {value}"
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return f"expected text in UTF-8, found {_shown(value)}"
    except TypeError:
        return f"expected numbers, text and lists, found {_kind(value)}"
    except ValueError:
        return f"expected finite numbers, found {_shown(value)}"
    return None


def _explain(error: Any) -> str:
    # Of a value that may be of several types, pydantic names the type as well.
    place = ".".join(part for part in map(str, error["loc"]) if not _TYPE_NAME.fullmatch(part))
    found = _shown(error["input"])
    if error["type"] in {"tuple_type", "list_type"}:
        return f"{place}: expected a list, as in --set '{place}=[one, two]', found {found}"
    return f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}, found {found}"


def _shown(value: Any) -> str:
    """Return a value as it was found, of a long one its beginning."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}… ({len(text):,} characters)"
