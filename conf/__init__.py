"""What a run is told: parameters of every stage, profiles, and how files and flags become one configuration."""

from conf.loader import ConfigError, Loaded, load, profile_names
from conf.pipeline import MODEL_STAGES, STAGES, PipelineConfig, Resources, requirements

__all__ = [
    "MODEL_STAGES",
    "STAGES",
    "ConfigError",
    "Loaded",
    "PipelineConfig",
    "Resources",
    "load",
    "profile_names",
    "requirements",
]
