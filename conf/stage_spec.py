"""Types of which the declaration of a stage is made; the stages themselves are declared in `conf/stages.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

import schemas
from transforms.core.table_stage import TableInput, TableOutput
from transforms.frames.pixel_measure import PixelMeasure
from transforms.models.model_input import ModelInput

if TYPE_CHECKING:
    from conf.pipeline import PipelineConfig

Kind = Literal["pixels", "model", "table", "calls"]
Weights = Literal["none", "folder", "open_clip", "rapidocr", "detector", "sam2_package"]
Scope = Literal["frame", "stream", "run", "workspace"]
REACH = ("url", "key_env", "attempts", "timeout_s", "per_minute", "parallel", "wait_s", "usd_in", "usd_out", "max_usd")
"""Parameters of calls of a model: how it is reached, and what may be spent, changes no answer."""

Condition = Callable[["PipelineConfig"], bool]
Check = Callable[["PipelineConfig", str], list[str]]


def setting(config: PipelineConfig, key: str) -> Any:
    """Return the value of a dotted key of a configuration, such as `duplicates.rebuild`."""
    return attrgetter(key)(config)


@dataclass(frozen=True)
class Params:
    """Parameters that decide the result of a stage: those of a section of the configuration.

    All of them, `only` some, or all `without` some. `also` gives names to further attributes of the section. With
    `unless_default` those that have their default are left out, so that keys of before these parameters hold.
    """

    section: str
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict)
    unless_default: bool = False

    def of(self, config: PipelineConfig) -> dict[str, Any]:
        """Return the parameters under the keys by which a user sets them."""
        values = getattr(config, self.section)
        names = self.only or [f.name for f in fields(values) if f.name not in self.without]
        named = {name: name for name in names} | dict(self.also)
        defaults = type(values)() if self.unless_default else None
        return {
            f"{self.section}.{name}": getattr(values, attribute)
            for name, attribute in named.items()
            if defaults is None or getattr(values, attribute) != getattr(defaults, attribute)
        }


@dataclass(frozen=True)
class Read:
    """A stage whose rows another one reads.

    Where it is `needed` (always, or under a configuration that says so), asking for the reader runs it too. With
    `if_there` it is read in every run that has it, otherwise only where it is needed. With `rule_param` the reader's
    result also depends on which frames the stage processes: its rule is the parameter of that name, and the stages that
    the rule asks are read as well.
    """

    stage: str
    needed: bool | Condition = True
    if_there: bool = False
    rule_param: str = ""

    def is_needed(self, config: PipelineConfig) -> bool:
        """Say whether the reader cannot do without it."""
        return self.needed if isinstance(self.needed, bool) else self.needed(config)


@dataclass(frozen=True)
class Counted:
    """The rows that a table stage with one row per frame is compared with: those with a value in `column`, or all."""

    stage: str
    column: str | None = None


@dataclass(frozen=True)
class TableWork:
    """How a table stage computes its rows.

    `compute`: the function of `transforms` that does. `scope`: what is computed together; of a `run`, each stream has
    rows of its own that depend on all of them. `scope_setting` names the key that decides it instead.
    `rebuild_setting` names the key that has all rows computed from scratch, once.
    `incremental`: rows stay as they are when others are added, and carry the input ids of their own frames.
    `groups`: the stage over the workspace whose groups connect streams; rows of a stream depend on all streams that
    share a group with it, and follow when another run changes the groups.
    `counted`: where the number of rows is not that of the first stage that is read; the last one that is read counts.
    `reads_reviews`: rows also depend on which frames people have reviewed. `lists`: tables that are no stage's, all of
    whose rows decide the result.
    `on_cluster`: machines of a cluster may share the search for near pairs; see `jobs/passes/distributed_pairs.py`.
    """

    compute: Callable[[TableInput], TableOutput]
    scope: Scope = "stream"
    scope_setting: str = ""
    rebuild_setting: str = ""
    incremental: bool = False
    groups: str = ""
    counted: tuple[Counted, ...] = ()
    reads_reviews: bool = False
    lists: tuple[schemas.Table, ...] = ()
    on_cluster: bool = False

    def scope_in(self, config: PipelineConfig) -> Scope:
        """Return what is computed together under a configuration."""
        return setting(config, self.scope_setting) if self.scope_setting else self.scope

    def rebuilds(self, config: PipelineConfig) -> bool:
        """Say whether a configuration asks for all rows to be computed from scratch."""
        return bool(self.rebuild_setting) and bool(setting(config, self.rebuild_setting))


@dataclass(frozen=True)
class Alternative:
    """What a stage does in addition, or in another way, where a setting says so.

    It holds where the value of `setting` is `value`, or with no `value` where it is anything but empty. `code` and
    `packages`, from the extra `extra`, then come in addition to those of the stage. Of a model stage, `weights`, `make`
    and `replaces_code` take the place of those of the stage.
    """

    setting: str
    value: str | None = None
    code: tuple[Callable[..., Any], ...] = ()
    packages: tuple[str, ...] = ()
    extra: str = ""
    weights: Weights | None = None
    make: Callable[[ModelInput], Callable[[int], Any]] | None = None
    replaces_code: bool = False

    def holds(self, config: PipelineConfig) -> bool:
        """Say whether a configuration makes this choice."""
        found = setting(config, self.setting)
        return bool(found) if self.value is None else found == self.value


@dataclass(frozen=True)
class Finds:
    """The categories that a model can find: fixed `names`, or those in the parameter `param` of the stage."""

    names: tuple[str, ...] = ()
    param: str = ""


@dataclass(frozen=True)
class ModelWork:
    """How a model stage gets its model, which frames it sees, and how it is described.

    `weights` is the way in which they are resolved before any work, see `jobs/stages/model_sources.py`: there are
    `none`; a `folder` as transformers writes it, of one of `kinds` (type in its `config.json` to class); an `open_clip`
    repository, folder or file; those that come with `rapidocr`; a checkpoint of the `sam2_package`; those of a
    `detector` (`conf/detectors.py`), of the section `annotate` or with the keys `other` for weights and detector in
    place of that section's.
    `make` returns what makes the model, given the number of its threads. Its first section of parameters is `section`.

    `shown`: single `frames`; `objects`, the frames on which the first stage that is read has found some, with these;
    `stretches`: the frames after such a frame; `crops`: those with regions that are read or compared with
    logos; `lines`: those with regions that are read. `like` is another stage
    that chooses the frames; with `route` they are those that the stage `route` sends there, and its objects count in
    place of the first detector's; `kept_setting` is a key whose value `kept` leaves only those that curation keeps.
    `context_setting` names the key for how many frames before each come along.

    `finds`: the categories that get numbers. `is_final`: its objects are part of `annotations` as `winnow sql` and
    exports show them. `section` holds what decides them, `name_column` the model's name in its table of objects.
    `credit` orders models in the manifests of exports.
    """

    weights: Weights
    section: str
    make: Callable[[ModelInput], Callable[[int], Any]] | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    other: tuple[str, str] | None = None
    shown: Literal["frames", "objects", "stretches", "crops", "lines"] = "frames"
    like: str = ""
    route: str = ""
    kept_setting: str = ""
    context_setting: str = ""
    finds: Finds | None = None
    is_final: bool = False
    name_column: str = "model"
    credit: int = 100

    @property
    def rule(self) -> str:
        """Return the fixed SQL condition that chooses the frames, or nothing."""
        return f"routing.route = '{self.route}'" if self.route else ""


@dataclass(frozen=True)
class CallWork:
    """Which service outside a stage asks (`jobs/stages/services.py`), with which section of the configuration."""

    service: Literal["vlm", "brands"]
    section: str


@dataclass(frozen=True)
class Comparison:
    """How rows of two runs are compared.

    `key`: the columns by which they are matched, where that is not the key of the table; `derived`: columns that follow
    from others and are not compared. `groups`: group ids are compared by the members of the groups. `verdicts`: changes
    of `keep` are counted by reason.
    """

    key: tuple[str, ...] = ()
    derived: frozenset[str] = frozenset()
    groups: bool = False
    verdicts: bool = False


def _never(_config: PipelineConfig, _chosen: AbstractSet[str]) -> bool:
    return False


@dataclass(frozen=True)
class StageSpec:
    """The declaration of a stage; everything else that is specific to it follows from this.

    `kind` chooses the runner: a `pixels` stage is part of the pass that reads frames (`measure`), `table` stages
    compute whole scopes from rows (`work`), `model` stages show frames to a model (`model`), `calls` stages ask a
    service outside (`calls`). `measure` makes what computes the rows of a block, given the sections of its parameters
    by name, besides `image`; the rows of `frames` are the pass's own.
    `table`: where its rows go, one per frame unless it is a table stage; `more_tables`: what else it writes.
    `code`: the functions of `transforms` that decide its result: with all that they reach, they are part of its key;
    of a detector, `conf/detectors.py` has them. `params` are the other part. `version` is raised by hand where a
    library changes results that the code does not show.
    `reads`: the stages whose rows it reads, in the order of the key; `after`: stages that only have to run before it.
    `optional`: it runs only where it is requested, or where `joins` says so, given the stages that run.
    `of_pairs`: a row also depends on the frame before. `packages` have to be installed, from the extra `extra`.
    `choices`: what settings change of it.
    `checks` return what is wrong with values of the configuration that are each right by themselves; they are given the
    name of the stage, and called whether it runs or not.
    """

    name: str
    kind: Kind
    table: schemas.Table
    code: tuple[Callable[..., Any], ...] = ()
    params: tuple[Params, ...] = ()
    more_tables: tuple[schemas.Table, ...] = ()
    reads: tuple[Read, ...] = ()
    after: tuple[str, ...] = ()
    optional: bool = False
    joins: Callable[[PipelineConfig, AbstractSet[str]], bool] = _never
    version: int = 1
    of_pairs: bool = False
    choices: tuple[Alternative, ...] = ()
    packages: tuple[str, ...] = ()
    extra: str = "annotate"
    checks: tuple[Check, ...] = ()
    work: TableWork | None = None
    model: ModelWork | None = None
    calls: CallWork | None = None
    measure: Callable[..., PixelMeasure] | None = None
    comparison: Comparison = Comparison()

    @property
    def tables(self) -> tuple[schemas.Table, ...]:
        """Return every table that the stage writes."""
        return (self.table, *self.more_tables)

    def made_of(self, config: PipelineConfig) -> tuple[tuple[Callable[..., Any], ...], ModelWork | None]:
        """Return its code and its model under a configuration: as declared, or as its choices say."""
        code, model = self.code, self.model
        for choice in (choice for choice in self.choices if choice.holds(config)):
            code = choice.code if choice.replaces_code else (*code, *choice.code)
            if model and choice.weights:
                model = replace(model, weights=choice.weights, make=choice.make)
        return code, model

    def packages_in(self, config: PipelineConfig) -> list[tuple[str, tuple[str, ...]]]:
        """Return the packages that it needs under a configuration, each with the extra that they are from."""
        chosen = [(choice.extra, choice.packages) for choice in self.choices if choice.holds(config)]
        return [found for found in [(self.extra, self.packages), *chosen] if found[1]]

    def needs(self, config: PipelineConfig) -> tuple[str, ...]:
        """Return the stages that it needs, directly, leaving rules out of account."""
        return (*(read.stage for read in self.reads if read.is_needed(config)), *self.after)

    def read_in(self, config: PipelineConfig, chosen: AbstractSet[str]) -> tuple[Read, ...]:
        """Return what it reads in a run of the chosen stages."""
        return tuple(r for r in self.reads if r.stage in chosen and (r.if_there or r.is_needed(config)))

    @property
    def section_names(self) -> frozenset[str]:
        """Return the sections of the configuration that it reads, those of a detector left out."""
        keys = [self.work.scope_setting, self.work.rebuild_setting] if self.work else []
        if self.model:
            keys += [self.model.section, self.model.kept_setting, self.model.context_setting, *(self.model.other or ())]
        names = {p.section for p in self.params} | {self.calls.section if self.calls else ""}
        return frozenset(names | {key.split(".")[0] for key in keys}) - {""}

    def sections(self, config: PipelineConfig) -> dict[str, Any]:
        """Return the sections of the configuration that its parameters are from, by name."""
        return {p.section: getattr(config, p.section) for p in self.params}
