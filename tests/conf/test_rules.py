"""Rules that choose frames: what is understood, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import schemas
from conf import ConfigError, load
from conf.rules import KEPT, RuleError, both, relation, understood

ANNOTATE = ("stages=[annotate]", "annotate.frames=all")


def problems(*settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(settings=settings)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "sql", "columns"),
    [
        ("curation.keep", "curation.keep", {"curation": {"keep"}}),
        ("KEEP and luma_mean > 40", "(curation.keep AND (quality.luma_mean > 40))", None),
        ("list_contains(reasons, 'idle')", "list_contains(curation.reasons, 'idle')", {"curation": {"reasons"}}),
        ("len(list_filter(reasons, lambda r: r <> 'idle')) = 0", None, {"curation": {"reasons"}}),
        ("streams.kind = 'video' and frame_idx % 2 = 0", None, {"streams": {"kind"}, "frames": {"frame_idx"}}),
        ("idle.start_idx is null", "(idle.start_idx IS NULL)", {"idle": {"start_idx"}}),
        ("annotated.n_objects between 1 and 5", None, {"annotated": {"n_objects"}}),
    ],
)
def test_columns_are_found_in_their_tables(text: str, sql: str | None, columns: dict[str, set[str]] | None) -> None:
    rule = understood(text)
    assert sql is None or rule.sql == sql
    assert columns is None or dict(rule.columns) == columns
    # The normal form means the same, and is its own.
    assert understood(rule.sql) == rule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("curation.kept", "table curation has no column 'kept' (did you mean 'curation.keep'?)"),
        ("curaton.keep", "there is no table 'curaton' (did you mean 'curation'?)"),
        ("luma_maen > 4", "no table has a column 'luma_maen' (did you mean 'quality.luma_mean'?)"),
        ("annotations.score > 0.5", "annotations has no one row for a frame"),
        ("stage_key = 'a'", "no table has a column 'stage_key'"),
        ("n_frames > 3", "column 'n_frames' is in several tables: expected streams.n_frames, "),
        ("frame_idx in (select 3)", "a subquery is not allowed"),
        ("lag(quality.luma_mean) over () > 3", "a window over several rows is not allowed"),
        ("quality.luma_mean > 'abc'", "Could not convert string 'abc' to FLOAT"),
        ("regexp_matches(frames.format, '(')", "missing )"),
        ("max(quality.luma_mean) > 3", "max() sums up several rows"),
        ("random() < 0.5 and curation.keep", "random() gives another answer every time"),
        ("now() > '2026-01-01' and curation.keep", "now() gives another answer every time"),
        ("lenght(curation.reasons) = 0", "there is no function lenght() (did you mean 'length'?)"),
        ("quality.luma_mean", "it gives FLOAT, expected a condition"),
        ("curation.keep > 'x' + 1", "+(STRING_LITERAL, INTEGER_LITERAL)"),
        ("true", "it names no column"),
        ("*", "a star is not allowed"),
        ("keep, keep", "expected one condition"),
        ("keep from curation", "expected one condition"),
        ("keep) or (true", "it is no SQL"),
        ("keep; drop table frames", "it is no SQL: Only SELECT"),
    ],
)
def test_invalid_rules_are_refused_with_what_is_expected(text: str, said: str) -> None:
    with pytest.raises(RuleError) as caught:
        understood(text)
    assert said in str(caught.value), caught.value.problems


def test_all_problems_are_reported_together() -> None:
    found = problems(
        "when.curation=quality.luma_mean > 4",
        "when.anotate=keep",
        "when.annotate=curation.kept and random() > bluriness",
        "duplicates.haming=3",
    )
    assert len(found) == 6, found
    assert "did you mean 'duplicates.hamming'" in found[0]
    assert found[1] == (
        "when.curation: curation works on all that is in the tables, and can leave no frame out; "
        "rules are for embeddings, annotate, propagate, ocr, caption, rectify"
    )
    assert "did you mean 'annotate'" in found[2]
    assert all(line.startswith("when.annotate: ") for line in found[3:])


def test_rules_that_go_round_in_circles_are_refused() -> None:
    circle = ("stages=[annotate, embeddings]", "annotate.frames=all", "when.annotate=embeddings.model is not null")
    assert load(settings=circle).config.closed_stages[-1] == "annotate"
    # What is wrong by itself does not hide it, nor does a value that does not fit hide a rule.
    assert len(problems(*circle, "when.embeddings=annotated.n_objects > 0", "when.ocr=nowhere.x > 0")) == 3
    assert len(problems("duplicates.hamming=99", "when.ocr=nowhere.x > 0")) == 2
    (one, other) = problems(*circle, "when.embeddings=annotated.n_objects > 0")
    assert one == "when.annotate: it asks for embeddings, which needs annotate first"
    assert other == "when.embeddings: it asks for annotate, which needs embeddings first"
    (own,) = problems(*ANNOTATE, "when.annotate=annotated.n_objects > 0")
    assert own.startswith("when.annotate: it asks for what annotate itself finds")
    (vector,) = problems("stages=[duplicates]", "duplicates.by=embedding", "when.embeddings=quality.luma_mean > 4")
    assert vector == "when.embeddings: duplicates by embedding need the vector of every frame; expected no rule"


def test_a_rule_brings_the_stages_that_it_asks() -> None:
    config = load(settings=[*ANNOTATE, "when.annotate=idle.start_idx is null and quality.luma_mean > 4"]).config
    assert config.closed_stages == ("frames", "quality", "fingerprints", "motion", "scenes", "idle", "annotate")
    # What is asked after annotation waits for it.
    later = load(settings=["stages=[annotate, embeddings]", "when.embeddings=n_objects > 0"]).config.closed_stages
    assert later[-2:] == ("annotate", "embeddings")
    assert load(settings=[*ANNOTATE, "when.annotate=null"]).config.rule("annotate") is None
    assert load("active").config.rule("annotate") == both(KEPT, understood("idle.start_idx IS NULL"))


def test_a_rule_is_written_in_yaml_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text('when: {annotate: "curation.keep and quality.luma_mean > 40"}\n')
    assert (
        load(config=str(file)).config
        == load(settings=["when.annotate=curation.keep and quality.luma_mean > 40"]).config
    )
    file.write_text("when: {annotate: [1]}\n")
    with pytest.raises(ConfigError, match=r"when\.annotate: .* valid string"):
        load(config=str(file))


def test_a_frame_is_chosen_by_the_rows_of_its_own_tables() -> None:
    rule = understood("curation.keep or (idle.start_idx is null and streams.kind = 'folder')")
    given = {
        "frames": [{"stream_id": s, "frame_idx": n} for s in ("a", "b") for n in range(6)],
        "curation": [{"stream_id": "a", "frame_idx": n, "keep": None if n == 5 else n == 2} for n in range(6)],
        "idle": [
            {"stream_id": "a", "start_idx": 1, "end_idx": 2},
            {"stream_id": "a", "start_idx": 4, "end_idx": 5},
            {"stream_id": "b", "start_idx": 0, "end_idx": 1},
        ],
        "streams": [{"stream_id": "a", "kind": "folder"}, {"stream_id": "b", "kind": "video"}],
    }
    assert relation(schemas.IDLE, ()) == ("stream_id", "start_idx", "end_idx")
    with duckdb.connect(":memory:") as connection:
        for name, rows in given.items():
            connection.register(name, pa.Table.from_pylist(rows))
        assert sorted(connection.execute(rule.query()).fetchall()) == [("a", 0), ("a", 2), ("a", 3)]
