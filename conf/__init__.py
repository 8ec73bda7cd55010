"""The configuration of a run: declarations and parameters of all stages, profiles, and how files and flags combine."""

from conf.loader import ConfigError, Loaded, describe, load, profile_names, profile_text, to_dict, to_yaml
from conf.pipeline import PipelineConfig, Resources
from conf.stages import MODEL_STAGES, OPTIONAL_STAGES, STAGE_NAMES

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
