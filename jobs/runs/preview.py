"""What a replay with other thresholds would decide, computed in memory by the stages' own functions.

Nothing is written. Measures are read once and kept, so that the next threshold costs the decision alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf import ConfigError, PipelineConfig
from conf.loader import override
from jobs.core.errors import UserError
from jobs.core.stage import Stage
from jobs.passes.scopes import Scopes
from jobs.passes.table_rows import RowsInStore
from jobs.runs.replay import changed_code, of_job
from jobs.stages.build import build
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import overridden_verdicts, snapshot_spec
from transforms.core.table_stage import WORKSPACE, Span, StageRows, TableInput
from transforms.curate import curation_input
from transforms.curate.curation import MEASURED, curate

_CURATION = schemas.CURATION.written_by
_KEY = list(schemas.FRAME_KEY)


@dataclass(frozen=True)
class Changes:
    """What other settings would do to the verdicts of a run's frames.

    `frames` has a row for each frame: `stream_id`, `frame_idx`, `keep`, `reasons` as they would be, and `kept`,
    `reasons_before` as they are, null where there is no verdict yet; in order of stream and number.
    """

    frames: pl.DataFrame

    def counts(self) -> dict[str, Any]:
        """Return how many frames are kept, would be kept, and change either way, and the reasons as they would be."""
        frames = self.frames
        reasons = dict(
            frames.select(pl.col("reasons").explode().drop_nulls().alias("r")).group_by("r").len().iter_rows()
        )
        return {
            "frames": frames.height,
            "kept_before": int(frames["kept"].fill_null(False).sum()),
            "kept": int(frames["keep"].sum()),
            "newly_kept": frames.filter(self._changed, pl.col("keep")).height,
            "newly_dropped": frames.filter(self._changed, ~pl.col("keep")).height,
            "reasons": {reason: reasons[reason] for reason in overridden_verdicts.ALL_REASONS if reason in reasons},
        }

    def changed(self) -> pl.DataFrame:
        """Return the frames that would be kept and are not, or the other way round."""
        return self.frames.filter(self._changed)

    @property
    def _changed(self) -> pl.Expr:
        return pl.col("keep") != pl.col("kept").fill_null(False)


class Preview:
    """Previews replays of one run. Not for several threads at once."""

    def __init__(self, workspace: Workspace, job_id: str) -> None:
        """Prepare previews of a run.

        Raises `UserError` for one that is unknown or decides nothing, and where this version of the program computes
        what it decides from in another way: a replay would be refused, too.
        """
        self._store = Store(workspace.require().root)
        row = snapshot_spec.find_run(self._store, job_id)
        self.job_id: str = row["job_id"]
        self._streams = sorted(row["streams"])
        self.config = of_job(workspace, self.job_id).loaded.config
        self._stages = {stage.name: stage for stage in build(self.config)}
        if _CURATION not in self._stages:
            raise UserError(f"run {self.job_id} has no stage {_CURATION}, so that it decides about no frame")
        if problems := list(changed_code(_up_to_curation(self._stages), row, workspace)):
            raise UserError(problems)
        self._inputs: tuple[Any, pa.Table] | None = None
        self._computed: dict[str, StageRows] = {}

    @property
    def n_bytes(self) -> int:
        """Return the memory of what is kept between previews."""
        return self._inputs[1].nbytes if self._inputs else 0

    def changes(self, settings: Sequence[str] = ()) -> Changes:
        """Return what a replay with these settings, `KEY=VALUE`, would change.

        Raises `UserError` for settings that are wrong, or that change stages which read pixels or ask models.
        """
        config = self._configured(settings)
        stages = {stage.name: stage for stage in build(config)}
        above = self._above(stages, config)
        wanted = stages[_CURATION]
        rows = self._gathered(wanted, above, stages)
        sections = wanted.spec.sections(config)
        decided = curate(rows, sections["curation"], sections["blur"].method, sections["idle"].keep)
        decided = decided.filter(pc.is_in(decided["stream_id"], pa.array(self._streams)))
        return Changes(_with_before(*(self._with_overrides(rows) for rows in (decided, self._before()))))

    def measures(self) -> pl.DataFrame:
        """Return the measures that verdicts compare with thresholds: the columns of `quality`, a row per frame."""
        above = self._above(self._stages, self.config)
        return pl.DataFrame(self._gathered(self._stages[_CURATION], above, self._stages).select(list(MEASURED)))

    def first_changed(self, settings: Sequence[str]) -> str | None:
        """Return the first stage that these settings change, from which a replay with them starts; None for none."""
        changed = (s for s in build(self._configured(settings)) if s.key != self._stages[s.name].key)
        return next((stage.name for stage in changed), None)

    def _configured(self, settings: Sequence[str]) -> PipelineConfig:
        try:
            return override(self.config, settings)
        except ConfigError as error:
            raise UserError(error.problems) from error

    def _above(self, stages: Mapping[str, Stage], config: PipelineConfig) -> dict[str, StageRows]:
        """Return the rows of the stages that curation reads: stored ones, or those that settings change, computed."""
        found: dict[str, StageRows] = {}

        def rows_of(stage: Stage) -> StageRows:
            if stage.name in found:
                return found[stage.name]
            before = self._stages.get(stage.name)
            if before is not None and before.key == stage.key:
                found[stage.name] = RowsInStore(self._store, stage)
            elif stage.kind != "table":
                raise UserError(
                    f"stage {stage.name} would be another one: a preview changes decisions, not measures; use "
                    "`winnow run` for that"
                )
            else:
                if stage.key not in self._computed:
                    inputs = {source.name: rows_of(source) for source in stage.upstream}
                    self._computed[stage.key] = self._compute(stage, config, inputs)
                found[stage.name] = self._computed[stage.key]
            return found[stage.name]

        above = {stage.name: rows_of(stage) for stage in stages[_CURATION].upstream}
        # The newest position of a slider is all that somebody comes back to.
        used = {stages[name].key for name in found}
        self._computed = {key: rows for key, rows in self._computed.items() if key in used}
        return above

    def _compute(self, stage: Stage, config: PipelineConfig, above: Mapping[str, StageRows]) -> StageRows:
        """Return the rows that a table stage would have, of all streams of the run."""
        work = stage.spec.work
        assert work is not None
        scopes = {WORKSPACE: 0} if stage.scope == "workspace" else dict.fromkeys(self._streams, 0)
        output = work.compute(
            TableInput(
                scopes=scopes,
                streams=self._streams,
                own=frozenset(self._streams),
                params=stage.spec.sections(config),
                above=above,
                before=RowsInMemory(stage.table.empty()),
                listed=lambda table, columns: self._store.read(schemas.BY_NAME[table], columns),
            )
        )
        return RowsInMemory(output.added)

    def _gathered(self, wanted: Stage, above: Mapping[str, StageRows], stages: Mapping[str, Stage]) -> pa.Table:
        """Return what is decided from, kept for the next call as long as it is the same."""
        versions = tuple(self._store.open(stage.table).version for stage in wanted.upstream)
        identity = (tuple(stage.key for stage in wanted.upstream), versions)
        if self._inputs is None or self._inputs[0] != identity:
            self._inputs = None
            streams: Collection[str] = self._streams
            if all(isinstance(rows, RowsInStore) for rows in above.values()):
                scopes = Scopes(self._store, list(stages.values()), self._streams)
                streams = scopes.input_streams(wanted, self._streams)
            self._inputs = (identity, curation_input.gather(above, sorted(streams)))
        return self._inputs[1]

    def _with_overrides(self, verdicts: pa.Table) -> pl.DataFrame:
        """Return verdicts with the last word of people, as all that reads them has it."""
        rows = pl.DataFrame(verdicts.select([*_KEY, "keep", "reasons"]))
        overrides = self._store.open(schemas.OVERRIDES)
        if not overrides.n_rows:
            return rows
        frames = RowsInStore(self._store, self._stages[schemas.FRAMES.written_by])
        shown = pl.LazyFrame(pl.DataFrame(frames.read(overridden_verdicts.IMAGE, self._streams)))
        by_hand = overridden_verdicts.valid(overrides.lazy(), shown)
        return overridden_verdicts.applied(rows.lazy(), by_hand).collect()

    def _before(self) -> pa.Table:
        """Return the verdicts that the run has recorded."""
        stage = self._stages[_CURATION]
        return RowsInStore(self._store, stage).read((*_KEY, "keep", "reasons"), self._streams)


class RowsInMemory:
    """The rows of a stage that are in no table; a `transforms.core.table_stage.StageRows`."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows

    def read(
        self,
        columns: Sequence[str] | None,
        streams: Collection[str] | None = None,
        span: Span = (None, None),
        table: str = "",
    ) -> pa.Table:
        """Return columns of the rows of some streams, with numbers in a span where there is one."""
        del table
        rows = self._rows
        if streams is not None:
            rows = rows.filter(pc.is_in(rows["stream_id"], pa.array(sorted(streams), pa.string())))
        if "frame_idx" in rows.schema.names:
            for border, compare in zip(span, (pc.greater_equal, pc.less), strict=True):
                if border is not None:
                    rows = rows.filter(compare(rows["frame_idx"], border))
        return rows if columns is None else rows.select(list(columns))

    def portions(self, streams: Collection[str]) -> Iterator[tuple[frozenset[str], Span]]:
        """Yield all streams at once: what is in memory fits there."""
        yield frozenset(streams), (None, None)


def _up_to_curation(stages: Mapping[str, Stage]) -> list[Stage]:
    """Return the stages that verdicts depend on, and curation itself."""
    wanted = {_CURATION}
    for stage in reversed(list(stages.values())):
        if stage.name in wanted:
            wanted |= {above.name for above in stage.upstream}
    return [stage for stage in stages.values() if stage.name in wanted]


def _with_before(decided: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    was = before.rename({"keep": "kept", "reasons": "reasons_before"})
    return decided.join(was, on=_KEY, how="left").sort(_KEY)
