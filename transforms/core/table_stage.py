"""Interface of table stages: the input that each gets, and the rows that it returns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

WORKSPACE = "*"
"""The scope that is the whole workspace."""

Span = tuple[int | None, int | None]
"""Frame numbers from the first on and below the second; None leaves that side open."""


class StageRows(Protocol):
    """The rows of one stage under its key. All that is read of it comes from one version of each table."""

    def read(
        self,
        columns: Sequence[str] | None,
        streams: Collection[str] | None = None,
        span: Span = (None, None),
        table: str = "",
    ) -> pa.Table:
        """Return columns (None: all) of the rows of some streams (None: all), in no particular order.

        `table` names a further table that the stage writes.
        """

    def batches(self, columns: Sequence[str], streams: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield columns of the rows of some streams (None: all), in no particular order, without holding them."""

    def portions(self, streams: Collection[str]) -> Iterator[tuple[frozenset[str], Span]]:
        """Yield portions of the frames that it has rows for that fit in memory: small streams, or a span of one."""


@dataclass(frozen=True)
class TableInput:
    """What a table stage computes rows from.

    `scopes`: the scopes to compute, with their input ids: streams, or `WORKSPACE` alone. `streams`: all streams whose
    rows decide the result, sorted; `own` are those of the run. `params`: the sections of the configuration that the
    stage declares, by name. `above`: the stages that it reads, by name. `before`: its own rows as they are.
    `listed` returns columns of a table that is no stage's, whole: `streams`, `reviews`. `check` is to be called now and
    then in long computations, and may end these. `recompute`: rows that are there are no reason to keep any.
    `near_pairs`: finds near hashes on a cluster, see `transforms.curate.duplicates.grouping.NearPairs`; None elsewhere.
    """

    scopes: Mapping[str, int]
    streams: Sequence[str]
    own: frozenset[str]
    params: Mapping[str, Any]
    above: Mapping[str, StageRows]
    before: StageRows
    listed: Callable[[str, Sequence[str]], pa.Table]
    check: Callable[[], None] = lambda: None
    recompute: bool = False
    near_pairs: Callable[..., pa.Table | None] | None = None


@dataclass(frozen=True)
class TableOutput:
    """What a table stage computed.

    `added`: rows with all columns of the stage's table but `stage_key`. `n_frames`: the frames of the run that were
    computed. `removed`: the keys of the rows that go; None for all rows of the scopes. `n_rows`: how many rows each
    scope has then; None where these are the rows added, counted by stream.
    """

    added: pa.Table
    n_frames: int
    removed: pa.Table | None = None
    n_rows: Mapping[str, int] | None = None
