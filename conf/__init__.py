"""The configuration of a run: declarations and parameters of all stages, profiles, and how files and flags combine.

What is named here is imported when it is used first: `conf.rules` alone, which queries need, takes little time to
import, and the declarations of all stages take much.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conf.loader import ConfigError, Loaded, describe, load, profile_names, profile_text, to_dict, to_yaml
    from conf.pipeline import PipelineConfig, Resources
    from conf.stages import MODEL_STAGES, OPTIONAL_STAGES, STAGE_NAMES

_PLACES = {
    **dict.fromkeys(("PipelineConfig", "Resources"), "conf.pipeline"),
    **dict.fromkeys(("MODEL_STAGES", "OPTIONAL_STAGES", "STAGE_NAMES"), "conf.stages"),
}

__all__ = [
    "MODEL_STAGES",
    "OPTIONAL_STAGES",
    "STAGE_NAMES",
    "ConfigError",
    "Loaded",
    "PipelineConfig",
    "Resources",
    "describe",
    "load",
    "profile_names",
    "profile_text",
    "to_dict",
    "to_yaml",
]


if not TYPE_CHECKING:  # A name that is not there is an error for type checkers, too.

    def __getattr__(name: str) -> object:
        """Import what a name refers to, the first time it is used."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_PLACES.get(name, "conf.loader")), name)
        globals()[name] = value
        return value
