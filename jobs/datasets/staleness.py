"""Detection of stale annotations, which were made on other content than frames have now."""

from __future__ import annotations

import json

import polars as pl
import pyarrow as pa

from jobs.core.errors import UserError
from jobs.core.naming import many
from jobs.passes.context_frames import in_runs, window_ids
from jobs.views import final_objects
from jobs.views.view import View
from schemas import FRAME_KEY

_SHOWN = 3


def refuse_outdated(view: View, rows: pa.Table) -> None:
    """Raise `UserError` if frames have annotations of other content, and no person has reviewed them.

    This happens if a run without the stage `annotate` finds a replaced image.
    """
    wanted = pl.DataFrame(rows.select(FRAME_KEY))
    seen = view.lazy(final_objects.REVIEWED).select(FRAME_KEY).collect()
    left = outdated(view).join(wanted, on=FRAME_KEY, how="semi").join(seen, on=FRAME_KEY, how="anti").sort(FRAME_KEY)
    if left.height:
        some = ", ".join(f"{stream} {number}" for stream, number in left.head(_SHOWN).iter_rows())
        more = ", …" if left.height > _SHOWN else ""
        raise UserError(
            f"{many(left.height, 'frame', 'were')} annotated when they had other content ({some}{more}); run their "
            "streams again with the stage annotate"
        )


def outdated(view: View) -> pl.DataFrame:
    """Return the frames whose rows in `annotated`, or `propagated`, are of other content than they have now."""
    annotated = view.lazy("annotated").select(*FRAME_KEY, "stage_key", was="input_id").collect()
    carried = view.lazy("propagated").filter(pl.col("n_propagated") > 0).select(*FRAME_KEY, "content_id").collect()
    if not annotated.height and not carried.height:
        return annotated.select(FRAME_KEY)
    frames = (
        view.lazy("frames").filter(pl.col("status") == "ok").select(*FRAME_KEY, "input_id").sort(FRAME_KEY).collect()
    )
    alone = carried.join(annotated, on=FRAME_KEY, how="anti").join(frames, on=FRAME_KEY)
    found = [alone.filter(pl.col("content_id") != pl.col("input_id")).select(FRAME_KEY)]
    for stage_key, context in _contexts(view, annotated["stage_key"].unique().sort().to_list()).items():
        mine = annotated.filter(pl.col("stage_key") == stage_key)
        now = frames.filter(pl.col("stream_id").is_in(mine["stream_id"].unique().to_list()))
        if context:
            followed = in_runs(now, view.lazy("streams").select("stream_id", "step").collect())
            now = now.with_columns(input_id=pl.Series(window_ids(followed, context)))
        both = mine.join(now, on=FRAME_KEY)
        found.append(both.filter(pl.col("was") != pl.col("input_id")).select(FRAME_KEY))
    return pl.concat(found)


def _contexts(view: View, keys: list[str]) -> dict[str, int]:
    """Return for each stage key how many previous frames its rows are computed from."""
    runs = view.newest("stage_runs").filter(pl.col("stage_key").is_in(keys)).select("stage_key", "context", "params")
    known = {key: context for key, context, _ in runs.collect().iter_rows() if context is not None}
    # Runs that are older than the column have it in their parameters.
    params = {key: json.loads(text) for key, _, text in runs.collect().iter_rows()}
    return {key: known.get(key, params.get(key, {}).get("moving.history", 0)) for key in keys}
