"""Embedding model named by a configuration: location, hash and specification."""

from __future__ import annotations

import difflib
from pathlib import Path

from conf import PipelineConfig
from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from jobs.models.locations import fingerprint, locate
from transforms.models.embeddings import PACKAGES

_CONFIG = "open_clip_config.json"
_SUFFIXES = frozenset({".safetensors", ".bin", ".pth", ".pt"})
_HUB_FILES = ((_CONFIG,), ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"))


def weights_of(config: PipelineConfig) -> tuple[Path, str]:
    """Return where the weights of the embedder are, and their hash.

    Raises `UserError` if a package, or the weights, are missing.
    """
    require("embeddings", *PACKAGES)
    params = config.embed
    source = locate("embed.weights", params.weights, _HUB_FILES)
    return source, fingerprint(_files(source, params.model))


def _files(source: Path, model: str | None) -> list[Path]:
    """Return the files of an open-clip model. Raises `UserError` if some are missing."""
    named = f"embed.weights={source}"
    if source.is_dir():
        if model:
            raise UserError(f"embed.model={model}: expected no value, since {source} states its model itself")
        if not (source / _CONFIG).is_file():
            raise UserError(f"{named}: expected {_CONFIG} in it, as repositories of the hub have it")
        weights = [f for f in source.iterdir() if f.suffix in _SUFFIXES]
        if not weights:
            raise UserError(f"{named}: expected weights in it, one of {', '.join(sorted(_SUFFIXES))}")
        return [source / _CONFIG, *weights]
    if not model:
        raise UserError(
            f"{named} is a file, which does not state its architecture; name it as open-clip does, for instance "
            "--set embed.model=ViT-B-32"
        )
    import open_clip

    if model not in open_clip.list_models():
        near = difflib.get_close_matches(model, open_clip.list_models(), 3)
        raise UserError(f"embed.model={model}: open-clip has no such architecture; similar: {', '.join(near)}")
    return [source]
