"""The configuration of a pipeline: the parameters of its stages, composed."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from transforms.curation import CurationParams
from transforms.detect.motion import MotionBoxParams
from transforms.detect.params import AnnotateParams
from transforms.duplicates import DuplicateParams
from transforms.embeddings import EmbedParams
from transforms.idle import IdleParams
from transforms.image import ImageParams
from transforms.ingest import IngestParams
from transforms.motion import MotionParams
from transforms.quality import BlurParams
from transforms.scenes import SceneParams

MODEL_STAGES = frozenset({"embeddings", "annotate"})
"""The stages that show frames to a model."""

OPTIONAL_STAGES = MODEL_STAGES | {"media"}
"""The stages that run only where they are asked for."""

STAGES = (
    "frames",
    "quality",
    "fingerprints",
    "motion",
    "media",
    "embeddings",
    "scenes",
    "idle",
    "duplicates",
    "curation",
    "annotate",
)
"""Every stage, in the order in which they run; embeddings of kept frames come after curation."""

_NEEDS = {
    "scenes": ("fingerprints",),
    "idle": ("motion", "fingerprints", "scenes"),
    "duplicates": ("fingerprints",),
    "curation": ("quality",),
}


@dataclass(frozen=True)
class Resources:
    """What a run may use; nothing here changes a result.

    `num_cpus`: processes that measure; None takes all cores.
    `block_frames`: frames that one task measures.
    `commit_seconds`: how often finished blocks are committed, and so at most what a killed run loses.
    `object_store_mb`: shared memory of the engine; only descriptors and receipts go through it.
    `models`: processes that hold a model; None takes one for each GPU, without any one for every four cores.
    `model_frames`: frames that such a process is given at a time; None takes 1024 on a GPU, else 64.
    `model_batch`: frames that a model looks at at once.
    """

    num_cpus: Annotated[int, Ge(1)] | None = None
    block_frames: Annotated[int, Ge(1), Le(65536)] = 1024
    commit_seconds: Annotated[float, Gt(0)] = 5.0
    object_store_mb: Annotated[int, Ge(80)] = 256
    models: Annotated[int, Ge(1)] | None = None
    model_frames: Annotated[int, Ge(1), Le(65536)] | None = None
    model_batch: Annotated[int, Ge(1), Le(4096)] = 32


@dataclass(frozen=True)
class PipelineConfig:
    """Everything that decides what a run computes, and what it may use.

    `stages`: what to run; whatever these stages need is added.
    `unit_frames`: the grid of frame numbers in which work is handed out; no result depends on it.
    """

    stages: tuple[str, ...] = tuple(stage for stage in STAGES if stage not in OPTIONAL_STAGES)
    unit_frames: Annotated[int, Ge(1), Le(65536)] = 256
    ingest: IngestParams = IngestParams()
    image: ImageParams = ImageParams()
    blur: BlurParams = BlurParams()
    motion: MotionParams = MotionParams()
    scenes: SceneParams = SceneParams()
    idle: IdleParams = IdleParams()
    embed: EmbedParams = EmbedParams()
    duplicates: DuplicateParams = DuplicateParams()
    curation: CurationParams = CurationParams()
    annotate: AnnotateParams = AnnotateParams()
    moving: MotionBoxParams = MotionBoxParams()
    resources: Resources = Resources()

    @property
    def closed_stages(self) -> tuple[str, ...]:
        """Return the stages to run with all that they need, in running order."""
        uses_vectors = "duplicates" in requirements(self.stages) and self.duplicates.uses == "vector"
        asked = (*self.stages, "embeddings") if uses_vectors else self.stages
        if self.ingest.materialize != "none":
            asked = (*asked, "media")
        only_kept = {"embeddings": self.embed.frames, "annotate": self.annotate.frames}
        if any(only_kept.get(stage) == "kept" for stage in asked):
            asked = (*asked, "curation")
        found = requirements(asked)
        if self.embed.frames == "all" or "embeddings" not in found:
            return found
        # What is kept is known only after curation.
        return (*(stage for stage in found if stage != "embeddings"), "embeddings")

    def conflicts(self) -> list[str]:
        """Return what is wrong with values that are each right by themselves."""
        if self.embed.frames == "kept" and self.duplicates.uses == "vector" and "duplicates" in self.closed_stages:
            return [
                "embed.frames: duplicates by embedding are found before anything is kept; expected all, found 'kept'"
            ]
        return []


def requirements(stages: tuple[str, ...]) -> tuple[str, ...]:
    """Return these stages and all that they need, in running order; the reading of frames is always among them."""
    wanted = {"frames", *stages}
    while more := {need for stage in wanted for need in _NEEDS.get(stage, ())} - wanted:
        wanted |= more
    return tuple(stage for stage in STAGES if stage in wanted)


def dotted_keys(kind: Any = PipelineConfig, prefix: str = "") -> list[str]:
    """Return every key that can be set, `section.key` or `key`, in declared order."""
    found = []
    for entry in fields(kind):
        if is_dataclass(entry.default):
            found += dotted_keys(type(entry.default), f"{prefix}{entry.name}.")
        else:
            found.append(prefix + entry.name)
    return found
