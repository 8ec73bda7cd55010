"""What a replay with other thresholds would decide, computed in memory by the stages' own functions.

Nothing is written. Measures are read once and kept, so that the next threshold costs the decision alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf import ConfigError, PipelineConfig
from conf.loader import override
from jobs.core.errors import UserError
from jobs.core.memory import release_memory
from jobs.core.stage import Stage
from jobs.passes.scopes import Scopes
from jobs.passes.table_rows import RowsInStore
from jobs.runs.replay import changed_code, of_job
from jobs.stages.build import build
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import overridden_verdicts, snapshot_spec
from jobs.views.overridden_verdicts import ALL_REASONS, BY_HAND, KEEP
from transforms.core.table_stage import WORKSPACE, Span, StageRows, TableInput
from transforms.curate import curation_input
from transforms.curate.repeated_curation import FrameReasons, RepeatedCuration

_CURATION = schemas.CURATION.written_by
_KEY = list(schemas.FRAME_KEY)
_BETWEEN = "\n"


@dataclass(frozen=True)
class Changes:
    """What other settings would do to the verdicts of a run's frames, in order of stream and number, shape (N,).

    `after` has the reasons as they would be; `mine` says which of its frames are the run's. `kept_before`: which ones
    are kept, and `reasons_before`, in rows of `known`, their reasons; -1 where there is no verdict yet.
    """

    after: FrameReasons
    mine: npt.NDArray[np.bool_]
    kept_before: npt.NDArray[np.bool_]
    reasons_before: npt.NDArray[np.int32]
    known: tuple[tuple[str, ...], ...]

    def counts(self) -> dict[str, Any]:
        """Return how many frames are kept, would be kept, and change either way, and the reasons as they would be."""
        bits = self.after.bits[self.mine]
        kept, before = bits == 0, self.kept_before[self.mine]
        # One number for each set of reasons.
        sets = np.bincount(bits)
        reasons = {name: int(sets[np.arange(len(sets)) >> at & 1 == 1].sum()) for at, name in enumerate(ALL_REASONS)}
        return {
            "frames": len(bits),
            "kept_before": int(before.sum()),
            "kept": int(kept.sum()),
            "newly_kept": int((kept & ~before).sum()),
            "newly_dropped": int((before & ~kept).sum()),
            "reasons": {name: n for name, n in reasons.items() if n},
        }

    def changed(self, start: int = 0, limit: int | None = None) -> pl.DataFrame:
        """Return frames that would be kept and are not, or the other way round, in the columns of `frames`."""
        places = np.flatnonzero(self.mine & ((self.after.bits == 0) != self.kept_before))
        return self._rows(places[start : None if limit is None else start + limit])

    @property
    def frames(self) -> pl.DataFrame:
        """Return a row for each frame.

        `stream_id`, `frame_idx`, `keep` and `reasons` as they would be, `kept` and `reasons_before` as they are, null
        where there is no verdict yet.
        """
        return self._rows(np.flatnonzero(self.mine))

    def _rows(self, places: npt.NDArray[np.intp]) -> pl.DataFrame:
        bits, before = self.after.bits[places], self.reasons_before[places]
        names = pl.List(pl.String)
        return pl.DataFrame(
            {
                "stream_id": pl.Series(self.after.streams, dtype=pl.String).gather(self.after.stream[places]),
                "frame_idx": self.after.frame_idx[places],
                "keep": bits == 0,
                "reasons": pl.Series([_names(one) for one in bits.tolist()], dtype=names),
                "kept": [
                    bool(kept) if at >= 0 else None for kept, at in zip(self.kept_before[places], before, strict=True)
                ],
                "reasons_before": pl.Series(
                    [self.known[at] if at >= 0 else None for at in before.tolist()], dtype=names
                ),
            },
            schema_overrides={"kept": pl.Boolean},
        )


@cache
def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for at, name in enumerate(ALL_REASONS) if bits >> at & 1)


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
        self._prepared: tuple[Any, _Prepared] | None = None
        self._computed: dict[str, StageRows] = {}

    @property
    def n_bytes(self) -> int:
        """Return the memory of what is kept between previews."""
        return self._prepared[1].curation.n_bytes if self._prepared else 0

    def changes(self, settings: Sequence[str] = ()) -> Changes:
        """Return what a replay with these settings, `KEY=VALUE`, would change.

        Raises `UserError` for settings that are wrong, or that change stages which read pixels or ask models.
        """
        config = self._configured(settings)
        stages = {stage.name: stage for stage in build(config)}
        above = self._above(stages, config)
        wanted = stages[_CURATION]
        prepared = self._ready(wanted, above, stages)
        sections = wanted.spec.sections(config)
        after = prepared.curation.decide(sections["curation"], sections["idle"].keep)
        after = replace(after, bits=prepared.overridden(after.bits))
        return Changes(after, prepared.mine, prepared.kept, prepared.reasons, prepared.known)

    def measures(self) -> pl.DataFrame:
        """Return the measures that verdicts compare with thresholds: the columns of `quality`, a row per frame."""
        above = self._above(self._stages, self.config)
        return self._ready(self._stages[_CURATION], above, self._stages).curation.measures

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

    def _ready(self, wanted: Stage, above: Mapping[str, StageRows], stages: Mapping[str, Stage]) -> _Prepared:
        """Return what is decided from, kept for the next call as long as it is the same."""
        versions = tuple(self._store.open(stage.table).version for stage in (*wanted.upstream, wanted))
        versions += (self._store.open(schemas.OVERRIDES).version,)
        identity = (tuple(stage.key for stage in wanted.upstream), versions)
        if self._prepared is None or self._prepared[0] != identity:
            self._prepared = None
            streams: Collection[str] = self._streams
            if all(isinstance(rows, RowsInStore) for rows in above.values()):
                scopes = Scopes(self._store, list(stages.values()), self._streams)
                streams = scopes.input_streams(wanted, self._streams)
            method = wanted.spec.sections(self.config)["blur"].method
            curation = RepeatedCuration(curation_input.gather(above, sorted(streams)), method)
            self._prepared = (identity, self._with_before(curation))
            release_memory()
        return self._prepared[1]

    def _with_before(self, curation: RepeatedCuration) -> _Prepared:
        """Return frames with the verdicts that the run has recorded."""
        mine = np.isin(curation.stream, [at for at, name in enumerate(curation.streams) if name in self._streams])
        read = RowsInStore(self._store, self._stages[_CURATION]).read((*_KEY, "keep", "reasons"), self._streams)
        by_hand = self._by_hand()
        rows = overridden_verdicts.applied(pl.LazyFrame(pl.DataFrame(read)), by_hand.lazy()).collect()
        del read
        reasons = rows["reasons"].list.join(_BETWEEN)
        codes = reasons.rank("dense").cast(pl.Int32) - 1
        names = sorted(reasons.unique().to_list())
        stream = rows["stream_id"].replace_strict(
            curation.streams, range(len(curation.streams)), return_dtype=pl.Int64, default=-1
        )
        was = rows.select("frame_idx", "keep", stream=stream, code=codes)
        now = pl.DataFrame({"stream": curation.stream, "frame_idx": curation.frame_idx})
        decided = by_hand.with_columns(
            stream=pl.col("stream_id").replace_strict(
                curation.streams, range(len(curation.streams)), return_dtype=pl.Int64, default=-1
            )
        )
        decided = now.with_row_index("at").join(decided, on=["stream", "frame_idx"])
        was = now.join(was, on=["stream", "frame_idx"], how="left", maintain_order="left")
        return _Prepared(
            curation,
            mine,
            was["keep"].fill_null(False).to_numpy(),
            was["code"].fill_null(-1).to_numpy(),
            tuple(tuple(one.split(_BETWEEN)) if one else () for one in names),
            decided["at"].to_numpy(),
            (decided["decision"] == KEEP).to_numpy(),
        )

    def _by_hand(self) -> pl.DataFrame:
        """Return the overrides of the run's frames that are valid now."""
        overrides = self._store.open(schemas.OVERRIDES)
        if not overrides.n_rows:
            return pl.DataFrame(schemas.OVERRIDES.empty())
        frames = RowsInStore(self._store, self._stages[schemas.FRAMES.written_by])
        shown = pl.LazyFrame(pl.DataFrame(frames.read(overridden_verdicts.IMAGE, self._streams)))
        return overridden_verdicts.valid(overrides.lazy(), shown).collect()


class _Prepared(NamedTuple):
    """Frames to decide about, which of them are the run's, and the verdicts on record.

    `rows_by_hand` are those of frames that people decided about, shape (K,), and `kept_by_hand` whether they keep them.
    """

    curation: RepeatedCuration
    mine: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.bool_]
    reasons: npt.NDArray[np.int32]
    known: tuple[tuple[str, ...], ...]
    rows_by_hand: npt.NDArray[np.uint32]
    kept_by_hand: npt.NDArray[np.bool_]

    def overridden(self, bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        """Return reasons as bits, shape (N,), with the last word of people."""
        if not len(self.rows_by_hand):
            return bits
        found = bits.copy()
        reason = np.uint16(1 << ALL_REASONS.index(BY_HAND))
        found[self.rows_by_hand] = np.where(self.kept_by_hand, 0, bits[self.rows_by_hand] | reason)
        return found


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

    def batches(self, columns: Sequence[str], streams: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield columns of the rows of some streams, or of all."""
        yield from self.read(columns, streams).to_batches()

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
