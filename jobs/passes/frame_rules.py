"""Frames that the rules of model stages choose, from the rows of the stages before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

import schemas
from conf.rules import TABLES, Rule, relation
from jobs.core.errors import RunFailedError, one_line
from jobs.core.stage import Stage
from jobs.storage.file_pruning import Span
from jobs.storage.store import Snapshot, Store
from jobs.views import overridden_verdicts
from schemas import FRAME_KEY


class Chooser:
    """Answers the rules of one run's stages, from the tables as they are when they are first requested.

    A rule sees of another model stage what that stage's own rule chooses, and not what is left of earlier choices.
    """

    def __init__(self, store: Store, stages: Mapping[str, Stage]) -> None:
        self._store = store
        self._stages = stages
        self._snapshots: dict[str, Snapshot] = {}

    def chosen(self, stage: Stage, streams: frozenset[str], span: Span) -> pl.DataFrame | None:
        """Return the keys of the frames in streams and a span that a stage processes; None for all of them.

        Raises `RunFailedError` for a rule that cannot be answered for what is in the tables.
        """
        if stage.rule is None:
            return None
        import duckdb

        with duckdb.connect(":memory:", config={"python_enable_replacements": False}) as connection:
            for name in {*stage.rule.columns, "frames"}:
                connection.register(name, self._rows(name, stage.rule, streams, span).to_arrow())
            connection.execute("SET enable_external_access = false")
            return pl.DataFrame(_answer(connection, stage))

    def _rows(self, name: str, rule: Rule, streams: frozenset[str], span: Span) -> pl.DataFrame:
        table = TABLES[name]
        columns = relation(table, rule.columns.get(name, ()))
        if not table.has_stage_key:
            return pl.DataFrame(self._snapshot(table).read(columns, None, streams))
        stage = self._stages[table.written_by]
        rows = pl.DataFrame(self._snapshot(table).read(columns, stage.key, streams, span))
        overrides = self._snapshot(schemas.OVERRIDES)
        if table is schemas.CURATION and overrides.n_rows:
            frames = self._stages[schemas.FRAMES.written_by]
            shown = self._snapshot(schemas.FRAMES).read(overridden_verdicts.IMAGE, frames.key, streams, span)
            by_hand = overridden_verdicts.valid(
                pl.LazyFrame(pl.DataFrame(overrides.read())), pl.LazyFrame(pl.DataFrame(shown))
            )
            rows = overridden_verdicts.applied(rows.lazy(), by_hand).collect()
        chosen = self.chosen(stage, streams, span)
        return rows if chosen is None else rows.join(chosen, on=FRAME_KEY, how="semi")

    def _snapshot(self, table: schemas.Table) -> Snapshot:
        if table.name not in self._snapshots:
            self._snapshots[table.name] = self._store.open(table)
        return self._snapshots[table.name]


def _answer(connection: Any, stage: Stage) -> Any:
    import duckdb

    assert stage.rule is not None
    try:
        return connection.sql(stage.rule.query()).to_arrow_table()
    except duckdb.Error as error:
        why = f"when.{stage.name}: {one_line(error)}; the rule is {stage.rule.sql}"
        raise RunFailedError(f"{why} (TRY_CAST gives null where a cast fails)") from error
