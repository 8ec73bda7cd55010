"""What a run is told: parameters of every stage, profiles, and how files and flags become one configuration."""

from conf.loader import ConfigError, Loaded, describe, load, profile_names, profile_text, to_dict, to_yaml
from conf.pipeline import MODEL_STAGES, OPTIONAL_STAGES, STAGES, PipelineConfig, Resources

__all__ = [
    "MODEL_STAGES",
    "OPTIONAL_STAGES",
    "STAGES",
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
