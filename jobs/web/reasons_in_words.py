"""Why a frame was kept or dropped, in plain words: the measure, its value, and the threshold that decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from conf import PipelineConfig
from jobs.analysis.curation_configs import curation_configs
from jobs.views.overridden_verdicts import BY_HAND, DROP
from jobs.web.frame_table import FrameTable
from jobs.web.plain import utc
from jobs.web.project_data import Shown
from transforms.curate.curation import MEASURES
from transforms.curate.soft_streams import stream_levels

_UNEXPOSED = ("corrupt", "damaged", "dark", "overexposed", "low_information")
_FLAGS = {
    "odd_size": "its size is not the usual one of its stream",
    "frozen": "the feed was frozen: the frame repeats earlier ones",
    "soft_throughout": (
        "it is soft, but all frames of its stream are alike, which does not tell blur from a soft subject "
        "(curation.soft_streams)"
    ),
}
_MEASURES = {
    "sharpness": "sharpness",
    "luma_mean": "mean luma",
    "luma_p95": "the 95th percentile of luma",
    "luma_p50": "median luma",
    "entropy": "the entropy of luma",
}

Values = dict[str, dict[str, Any]]
"""The rows of a frame by table."""


class _About(NamedTuple):
    """A frame: its row, its values, and the configuration that judged it, if that is known."""

    shown: Shown
    row: int
    values: Values
    config: PipelineConfig | None


def why(shown: Shown, row: int, values: Values, by_hand: Mapping[str, Any] | None = None) -> list[str]:
    """Return a line for each reason for which a frame was dropped, or one that says that it was kept; and its flags.

    `values` has what curation decided by itself, `by_hand` the row of `overrides` of somebody who decided otherwise.
    """
    verdict = values.get("curation")
    stream, _ = shown.frames.keys.frame(row)
    if verdict is None:
        return [f"not decided: curation has not run on stream {stream}"]
    configs = shown.result("configs", lambda: curation_configs(shown.store, shown.view))
    about = _About(shown, row, values, configs.get(stream))
    lines = [line for reason in verdict["reasons"] for line in _reason(reason, about)]
    if by_hand is not None:
        lines = _by_hand(by_hand, lines)
    elif verdict["keep"]:
        lines.insert(0, "kept: no reason to drop it")
    return [*lines, *(f"{flag}: {_FLAGS.get(flag, 'flagged')}" for flag in verdict["flags"] or ())]


def _by_hand(decision: Mapping[str, Any], lines: list[str]) -> list[str]:
    """Return the lines of a verdict that somebody has overridden."""
    note = f": {decision['note']}" if decision["note"] else ""
    who = f"{decision['author']} decided it by hand on {(utc(decision['decided_ns']) or '')[:10]}{note}"
    if decision["decision"] == DROP:
        return [*lines, f"{BY_HAND}: {who}"]
    return [f"kept: {who}", *(f"curation alone would drop it for {line}" for line in lines)]


def _reason(reason: str, about: _About) -> Iterator[str]:
    found = [*(_WORDS[reason](about) if reason in _WORDS else _measured(reason, about))]
    yield f"{reason}: {'; '.join(found)}" if found else reason


def _measured(reason: str, about: _About) -> Iterator[str]:
    """Yield the measures that are beyond their thresholds, of reasons that compare them with one each."""
    quality = about.values.get("quality", {})
    if about.config is None:
        return
    for column, parameter in MEASURES.get(reason, {}).items():  # type: ignore[call-overload] # any text is asked about
        value, limit = quality.get(column), getattr(about.config.curation, parameter)
        is_above = reason == "overexposed"
        if value is not None and (value > limit if is_above else value < limit):
            side = "above" if is_above else "below"
            yield f"{_MEASURES[column]} is {value:.3g}, {side} {limit:g} (curation.{parameter})"


def _blurry(about: _About) -> Iterator[str]:
    value = about.values.get("quality", {}).get("sharpness")
    if about.config is None or value is None:
        return
    params = about.config.curation
    limits = params.blur_limits(about.config.blur.method)
    level = _level(about, limits.floor)
    if value < limits.floor:
        yield f"sharpness is {value:.3g}, below {limits.floor:g} (curation.blurry_floor)"
    if level is not None and value < params.blurry_relative * level and value < limits.below:
        yield (
            f"sharpness is {value:.3g}, below {limits.below:g} (curation.blurry_below), and below "
            f"{params.blurry_relative * level:.3g}, which is {params.blurry_relative:g} (curation.blurry_relative) of "
            f"the level of its stream, {level:.3g}"
        )


def _level(about: _About, floor: float) -> float | None:
    """Return the level of sharpness of the frame's stream: of its well-exposed frames, as curation has it."""
    table = about.shown.frames
    stream, _ = table.keys.frame(about.row)
    return about.shown.result(("level", stream, floor), lambda: _level_of(table, stream, floor))


def _level_of(table: FrameTable, stream: str, floor: float) -> float | None:
    rows = table.keys.rows_of(stream)
    names = {"sharpness": "sharpness", "luma_mean": "luma", "contrast": "contrast"}
    columns = {name: pl.Series(table.column(own)[rows], nan_to_null=True) for name, own in names.items()}
    unexposed = sum(1 << (2 + table.verdicts.names.index(reason)) for reason in _UNEXPOSED)
    exposed = (table.verdicts.bits[rows] & unexposed) == 0
    frames = pl.DataFrame(columns).with_columns(stream=pl.lit(stream)).filter(pl.Series(exposed))
    level: float | None = stream_levels(frames, "stream", floor)["level"][0] if frames.height else None
    return level


def _corrupt(about: _About) -> Iterator[str]:
    yield f"its bytes do not decode: {about.values.get('frames', {}).get('error') or 'the reason is not known'}"


def _damaged(_: _About) -> Iterator[str]:
    yield "a part of the data of its file is damaged, and what the image shows there is wrong"


def _idle(about: _About) -> Iterator[str]:
    interval = about.values.get("idle")
    if interval is None or about.config is None:
        return
    params = about.config.idle
    yield (
        f"nothing moves from frame {interval['start_idx']} to {interval['end_idx']}: motion is below "
        f"{params.threshold:g} (idle.threshold); of these {interval['n_frames']:,} frames the {params.keep} sharpest "
        "may stay (idle.keep)"
    )


def _exact(about: _About) -> Iterator[str]:
    yield f"its bytes are those of another frame of its group{_of_group(about)}"


def _near(about: _About) -> Iterator[str]:
    group = about.values.get("duplicates")
    if group is None:
        return
    measures = [f"{group['hamming']} of 64 bits of the hash differ from the representative"]
    if group["agreement"] is not None:
        measures.append(f"the layouts agree by {group['agreement']:.3g}")
    if group["cosine"] is not None:
        measures.append(f"the embeddings agree by {group['cosine']:.3g}")
    yield f"it resembles a frame that represents it{_of_group(about)}: {', '.join(measures)}"


def _of_group(about: _About) -> str:
    group = about.values.get("duplicates")
    if group is None:
        return ""
    shown = f"frame {group['representative_idx']} of {group['representative_stream']}"
    return f" ({group['group_id']}, represented by {shown})"


_WORDS: dict[str, Callable[[_About], Iterator[str]]] = {
    "blurry": _blurry,
    "corrupt": _corrupt,
    "damaged": _damaged,
    "idle": _idle,
    "exact_duplicate": _exact,
    "near_duplicate": _near,
}
