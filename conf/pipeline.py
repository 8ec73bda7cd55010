"""Configuration of a pipeline: parameters of its stages, which of them run, and what a run may use (`Resources`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from dataclasses import field as field_of
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from conf.detectors import DETECTORS
from conf.rules import KEPT, Rule, RuleError, both, nearest, understood
from conf.stage_spec import setting
from conf.stages import SPECS, STAGE_NAMES, STAGES
from transforms.assess.escalation import EscalateParams
from transforms.assess.uncertainty import RouteParams
from transforms.brands.asking import AskCloudParams, AskLocalParams
from transforms.brands.crop_models import ReadParams, RectifyParams
from transforms.brands.exposure import ExposureParams
from transforms.brands.match_words import MatchParams
from transforms.brands.playing_field import FieldParams
from transforms.brands.regions import RegionParams
from transforms.brands.text_lines import EdgeParams
from transforms.brands.vote import VoteParams
from transforms.curate.curation import CurationParams
from transforms.curate.duplicates.grouping import DuplicateParams
from transforms.curate.idle import IdleParams
from transforms.curate.scenes import SceneParams
from transforms.frames.image import ImageParams
from transforms.frames.numbering import IngestParams
from transforms.metrics.imagehashes import FingerprintParams
from transforms.metrics.motion import MotionParams
from transforms.metrics.quality import BlurParams
from transforms.models.caption import CaptionParams
from transforms.models.detect.motion_boxes import MotionBoxParams
from transforms.models.detect.params import AnnotateParams
from transforms.models.embeddings import EmbedParams
from transforms.models.ocr import OcrParams
from transforms.models.propagate import PropagateParams
from transforms.models.segment import SegmentParams
from transforms.models.track import TrackParams

RULED_STAGES = tuple(spec.name for spec in STAGES if spec.model and not spec.model.like and not spec.model.rule)
"""The stages whose frames a rule may choose."""


@dataclass(frozen=True)
class Resources:
    """What a run may use; nothing here changes a result.

    `num_cpus`: processes that measure; None takes all cores.
    `block_frames`: frames that one task measures.
    `commit_seconds`: how often finished blocks are committed, and so at most what a killed run loses.
    `engine_after_seconds`: on one machine Ray is started where so much measuring is left, by the rate so far; until it
    takes over, and where less is left, processes of this machine measure. 0 starts it at once.
    `object_store_mb`: shared memory of the engine; only descriptors and receipts go through it.
    `models`: processes that hold a model; None takes one for each GPU, without any one for every four cores.
    `model_frames`: frames per task of such a process; None takes 1024 on a GPU, else 64.
    `model_batch`: frames in one batch of a model.
    `live`: whether the journal gets a few of the frames on which objects are found, at most four a second, for people
    who watch the run.
    """

    num_cpus: Annotated[int, Ge(1)] | None = None
    block_frames: Annotated[int, Ge(1), Le(65536)] = 1024
    commit_seconds: Annotated[float, Gt(0)] = 5.0
    engine_after_seconds: Annotated[float, Ge(0)] = 60.0
    object_store_mb: Annotated[int, Ge(80)] = 256
    models: Annotated[int, Ge(1)] | None = None
    model_frames: Annotated[int, Ge(1), Le(65536)] | None = None
    model_batch: Annotated[int, Ge(1), Le(4096)] = 32
    live: bool = True


@dataclass(frozen=True)
class PipelineConfig:
    """Everything that decides what a run computes, and what it may use.

    `stages`: what to run; what these stages need is added.
    `unit_frames`: the grid of frame numbers in which work is handed out; no result depends on it.
    `when`: for a stage that shows frames to a model, the SQL condition that chooses them, on columns of the stages
    before it: `when: {annotate: "curation.keep and quality.luma_mean > 40"}`, or `--set when.annotate="…"`.
    """

    stages: tuple[str, ...] = tuple(spec.name for spec in STAGES if not spec.optional)
    unit_frames: Annotated[int, Ge(1), Le(65536)] = 256
    when: Mapping[str, str | None] = field_of(default_factory=dict)
    ingest: IngestParams = IngestParams()
    image: ImageParams = ImageParams()
    blur: BlurParams = BlurParams()
    fingerprints: FingerprintParams = FingerprintParams()
    motion: MotionParams = MotionParams()
    scenes: SceneParams = SceneParams()
    idle: IdleParams = IdleParams()
    embed: EmbedParams = EmbedParams()
    duplicates: DuplicateParams = DuplicateParams()
    curation: CurationParams = CurationParams()
    annotate: AnnotateParams = AnnotateParams()
    moving: MotionBoxParams = MotionBoxParams()
    segment: SegmentParams = SegmentParams()
    propagate: PropagateParams = PropagateParams()
    track: TrackParams = TrackParams()
    ocr: OcrParams = OcrParams()
    caption: CaptionParams = CaptionParams()
    route: RouteParams = RouteParams()
    escalate: EscalateParams = EscalateParams()
    field: FieldParams = FieldParams()
    edges: EdgeParams = EdgeParams()
    regions: RegionParams = RegionParams()
    rectify: RectifyParams = RectifyParams()
    read: ReadParams = ReadParams()
    match: MatchParams = MatchParams()
    ask_local: AskLocalParams = AskLocalParams()
    ask_cloud: AskCloudParams = AskCloudParams()
    vote: VoteParams = VoteParams()
    exposure: ExposureParams = ExposureParams()
    resources: Resources = Resources()

    @property
    def closed_stages(self) -> tuple[str, ...]:
        """Return the stages to run with all that they need, in running order."""
        asked = self._closed(self.stages)
        # A stage whose rule asks for later ones waits for them; where that cannot be, `conflicts` says so.
        order: list[str] = []
        while len(order) < len(asked):
            ready = [s for s in asked if s not in order and not (set(self._needs(s)) & set(asked)) - set(order)]
            order += ready[:1] or [s for s in asked if s not in order]
        return tuple(order)

    @property
    def read_sections(self) -> frozenset[str]:
        """Return the sections that this configuration's stages read, and those that every run does."""
        specs = [SPECS[name] for name in self.closed_stages if name in SPECS]
        found = {"ingest", "image", "resources", "when"}.union(*(spec.section_names for spec in specs))
        if any(spec.model and spec.model.weights == "detector" for spec in specs):
            found |= {params.section for params in DETECTORS[self.annotate.detector].params}
        return frozenset(found)

    def rule(self, stage: str) -> Rule | None:
        """Return the rule that chooses the frames of a model stage; None for all that decode. Raises `RuleError`."""
        work = spec.model if (spec := SPECS.get(stage)) else None
        if work and work.like:
            return self.rule(work.like)
        text = (work and work.rule) or self.when.get(stage)
        only_kept = work is not None and bool(work.kept_setting) and setting(self, work.kept_setting) == "kept"
        return both(KEPT if only_kept else None, understood(text) if text else None)

    def conflicts(self) -> list[str]:
        """Return what is wrong with values that are each right by themselves."""
        found = self.wrong_rules()
        for spec in STAGES:
            found += [problem for check in spec.checks for problem in check(self, spec.name)]
        return [*found, *self._circles()]

    def wrong_rules(self) -> list[str]:
        """Return what is wrong with rules, each by itself, independent of other settings."""
        return [problem for stage in self.when for problem in self._wrong_rule(stage)]

    def _needs(self, stage: str) -> tuple[str, ...]:
        """Return the stages that a stage needs, directly."""
        spec = SPECS.get(stage)
        if spec is None:
            return ()
        try:
            rule = self.rule(stage) if spec.model else None
        except RuleError:
            rule = None
        return (*spec.needs(self), *(sorted(rule.stages - {stage}) if rule else ()))

    def _closed(self, stages: tuple[str, ...]) -> tuple[str, ...]:
        wanted = set(stages)
        while True:
            more = {need for stage in wanted for need in self._needs(stage)}
            more |= {spec.name for spec in STAGES if spec.joins(self, wanted)}
            if more <= wanted:
                return tuple(name for name in STAGE_NAMES if name in wanted)
            wanted |= more

    def _wrong_rule(self, stage: str) -> list[str]:
        """Return what is wrong with the rule of a stage, by itself."""
        text = self.when[stage]
        if stage not in RULED_STAGES:
            return [f"when.{stage}: {_why_no_rule(stage)}; rules are for {', '.join(RULED_STAGES)}"]
        if text is None:
            return []
        try:
            rule = understood(text)
        except RuleError as error:
            return [f"when.{stage}: {problem}" for problem in error.problems]
        if stage in rule.stages:
            return [f"when.{stage}: it asks for what {stage} itself finds; expected columns of stages before it"]
        return []

    def _circles(self) -> list[str]:
        """Return the rules that ask for what comes only after their own stage."""
        found = []
        for stage in self.when:
            above: set[str] = set()
            while more := {need for s in above or {stage} for need in self._needs(s)} - above:
                above |= more
            if stage in above:
                through = sorted(s for s in self._needs(stage) if stage in self._closed((s,)))
                found.append(f"when.{stage}: it asks for {', '.join(through)}, which needs {stage} first")
        return found


def _why_no_rule(stage: str) -> str:
    spec = SPECS.get(stage)
    if spec is None:
        return f"there is no such stage{nearest(stage, RULED_STAGES)}"
    if spec.model:
        return f"{stage} processes the frames {f'of {spec.model.like}' if spec.model.like else 'that are routed to it'}"
    reads = spec.kind == "pixels"
    why = "is measured for every frame, in one pass" if reads else "works on all that is in the tables"
    return f"{stage} {why}, and can leave no frame out"


def dotted_keys(kind: Any = PipelineConfig, prefix: str = "") -> list[str]:
    """Return every key that can be set, `section.key` or `key`, in declared order."""
    found = []
    for entry in fields(kind):
        if is_dataclass(entry.default):
            found += dotted_keys(type(entry.default), f"{prefix}{entry.name}.")
        else:
            found.append(prefix + entry.name)
    return found
