from __future__ import annotations

import pytest

from jobs.views.sql_text import split_statements


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("SELECT 1;", ["SELECT 1"], ""),
        ("SELECT 1; SELECT\n2 ;\n", ["SELECT 1", "SELECT\n2"], ""),
        ("SELECT 1", [], "SELECT 1"),
        ("SELECT ';' ;", ["SELECT ';'"], ""),
        ("SELECT 'it''s; ' AS \"a;b\"; SELECT 2", ["SELECT 'it''s; ' AS \"a;b\""], "SELECT 2"),
        ("SELECT 1 -- not; here\n, 2;", ["SELECT 1 -- not; here\n, 2"], ""),
        ("SELECT /* ; \n ; */ 1;", ["SELECT /* ; \n ; */ 1"], ""),
        ("SELECT $$a;b$$; SELECT $x$;$$;$x$;", ["SELECT $$a;b$$", "SELECT $x$;$$;$x$"], ""),
        ("SELECT 'open; ", [], "SELECT 'open;"),
        ('SELECT 1; SELECT "open; ', ["SELECT 1"], 'SELECT "open;'),
        ("SELECT 4 / 2 - 1;", ["SELECT 4 / 2 - 1"], ""),
        (";;  ; -- nothing\n /* at all; */", [], ""),
        ("", [], ""),
    ],
)
def test_statements_end_at_semicolons_outside_of_strings_and_comments(
    text: str, statements: list[str], rest: str
) -> None:
    assert split_statements(text) == (statements, rest)


def test_a_comment_that_is_not_closed_ends_nothing() -> None:
    assert split_statements("SELECT /* open; ") == ([], "SELECT /* open;")
