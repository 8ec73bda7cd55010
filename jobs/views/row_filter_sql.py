"""The rows that a selection shows of each table, as SQL: by stage key, and by the rules that chose frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

import schemas
from conf.rules import TABLES, understood
from jobs.views.snapshot_spec import Selection

_Within = tuple[str, int]
"""A stage and the number of one of its rules: the streams that have it."""


@dataclass(frozen=True)
class Shown:
    """Writes the SELECT behind each table's plain name, over `NAME_all` and the relation `selected_keys`."""

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
        fields = [pa.field(n, pa.string()) for n in ("stage", "stream_id", "stage_key")]
        return pa.Table.from_pylist(rows, pa.schema([*fields, pa.field("rule", pa.int64())]))

    def rows(self, table: schemas.Table) -> str:
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
            if not mine:
                continue
            rule, inside = understood(text), (*within, (stage, number))
            # Of a table that is chosen from itself, a rule sees what that table's own rule chooses.
            sources = {
                name: f"({self._rows(TABLES[name], inside, mine)})"
                for name in rule.columns
                if self.has_rules(TABLES[name]) and TABLES[name].written_by not in dict(inside)
            }
            rows = self._under_keys(table, f"k.rule = {number}", within)
            parts.append(
                f"SELECT r.* FROM ({rows}) AS r SEMI JOIN ({rule.query(sources)}) AS c "
                "ON r.stream_id = c.stream_id AND r.frame_idx = c.frame_idx"
            )
        return " UNION ALL ".join(parts)

    def _under_keys(self, table: schemas.Table, condition: str, within: tuple[_Within, ...]) -> str:
        stage = table.written_by
        literals = ", ".join(f"'{key}'" for key in sorted(set(self.selection.keys.get(stage, {}).values()))) or "NULL"
        tests = [f"a.stage_key IN ({literals})"]
        tests += [
            f"a.stream_id IN (SELECT stream_id FROM selected_keys WHERE stage = '{other}' AND rule = {number})"
            for other, number in within
        ]
        return (
            f"SELECT a.* FROM {table.name}_all AS a SEMI JOIN selected_keys AS k "
            f"ON k.stage = '{stage}' AND a.stream_id = k.stream_id AND a.stage_key = k.stage_key AND {condition} "
            f"WHERE {' AND '.join(tests)}"
        )
