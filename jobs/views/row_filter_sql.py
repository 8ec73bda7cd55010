"""SQL that selects the rows of each table: by stage key, and by the rules that chose frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

import schemas
from jobs.views.snapshot_spec import Selection

SELECTED_KEYS = "selected_keys"
"""The relation that the statements read in addition to the tables: see `RowFilter.selected_keys`."""

_SELECTED_KEYS_SCHEMA = pa.schema(
    [*(pa.field(name, pa.string()) for name in ("stage", "stream_id", "stage_key")), pa.field("rule", pa.int64())]
)

_Within = tuple[str, int]
"""A stage and the number of one of its rules: the streams that have it."""


@dataclass(frozen=True)
class RowFilter:
    """Writes the SELECT behind each table's plain name, over `NAME_all` and the relation `selected_keys`.

    >>> keys = {"quality": {"cam1": "4f2a"}}
    >>> row_filter = RowFilter(Selection(None, keys))
    >>> row_filter.selected_keys().to_pylist()
    [{'stage': 'quality', 'stream_id': 'cam1', 'stage_key': '4f2a', 'rule': None}]
    >>> row_filter.has_rules(schemas.QUALITY)
    False
    """

    selection: Selection

    @cached_property
    def _rules(self) -> Mapping[str, Sequence[str]]:
        return {stage: sorted(set(rules.values())) for stage, rules in self.selection.rules.items()}

    def has_rules(self, table: schemas.Table) -> bool:
        """Say whether the rows of a table are chosen by a rule, in any stream."""
        return table.written_by in self._rules

    def selected_keys(self) -> pa.Table:
        """Return stage, stream_id, stage_key, and the number of the rule, of everything that is selected."""
        rows = [
            {"stage": stage, "stream_id": stream, "stage_key": key, "rule": self._number(stage, stream)}
            for stage, keys in self.selection.keys.items()
            for stream, key in keys.items()
        ]
        return pa.Table.from_pylist(rows, _SELECTED_KEYS_SCHEMA)

    def statement(self, table: schemas.Table) -> str:
        """Return the SELECT of the rows that the selection shows of a stage's table.

        Where there are rules it reads the plain names of tables that have none.
        """
        return self._rows(table, (), frozenset(self.selection.keys.get(table.written_by, ())))

    def _number(self, stage: str, stream: str) -> int | None:
        rule = self.selection.rules.get(stage, {}).get(stream)
        return None if rule is None else self._rules[stage].index(rule)

    def _rows(self, table: schemas.Table, within: tuple[_Within, ...], streams: frozenset[str]) -> str:
        """Return the SELECT for `streams`, which are those that have all the rules of `within`."""
        stage = table.written_by
        parts = [self._under_keys(table, "k.rule IS NULL", within)]
        for number, text in enumerate(self._rules.get(stage, ())):
            mine = frozenset(s for s in streams if self.selection.rules[stage].get(s) == text)
            if mine:
                rows = self._under_keys(table, f"k.rule = {number}", within)
                frames = self._frames(text, (*within, (stage, number)), mine)
                parts.append(
                    f"SELECT r.* FROM ({rows}) AS r SEMI JOIN ({frames}) AS c "
                    "ON r.stream_id = c.stream_id AND r.frame_idx = c.frame_idx"
                )
        return " UNION ALL ".join(parts)

    def _frames(self, text: str, within: tuple[_Within, ...], streams: frozenset[str]) -> str:
        """Return the SELECT of the frames of `streams` that a rule chooses."""
        # Takes as long to import as all else that a query needs, and few selections have a rule.
        from conf.rules import TABLES, understood

        rule = understood(text)
        # Of a table that is chosen from itself, a rule sees what that table's own rule chooses.
        sources = {
            name: f"({self._rows(TABLES[name], within, streams)})"
            for name in rule.columns
            if self.has_rules(TABLES[name]) and TABLES[name].written_by not in dict(within)
        }
        return rule.query(sources)

    def _under_keys(self, table: schemas.Table, condition: str, within: tuple[_Within, ...]) -> str:
        stage = table.written_by
        # DuckDB passes literals on to Arrow, which then leaves out the files of other keys.
        literals = ", ".join(f"'{key}'" for key in sorted(set(self.selection.keys.get(stage, {}).values()))) or "NULL"
        tests = [f"a.stage_key IN ({literals})"]
        tests += [
            f"a.stream_id IN (SELECT stream_id FROM {SELECTED_KEYS} WHERE stage = '{other}' AND rule = {number})"
            for other, number in within
        ]
        return (
            f"SELECT a.* FROM {table.name}_all AS a SEMI JOIN {SELECTED_KEYS} AS k "
            f"ON k.stage = '{stage}' AND a.stream_id = k.stream_id AND a.stage_key = k.stage_key AND {condition} "
            f"WHERE {' AND '.join(tests)}"
        )
