"""A seeded generator of bad inputs: texts made by small grammars.

Each generator takes a `random.Random` and returns one input; equal seeds give equal inputs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from conf.pipeline import dotted_keys
from conf.stages import STAGE_NAMES

Make = Callable[[random.Random], str]

_KEYS = dotted_keys()
_SECTIONS = sorted({key.split(".")[0] for key in _KEYS if "." in key})
_ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "\x1b[31m",
    "\t",
    "a\nb",
    "\u202e",
    "\ufeff",
    "é" * 300,
    "../..",
    "/etc/passwd",
    "~root",
    "%00",
    "%s%n",
    "{}",
    "'; DROP TABLE frames; --",
    "$(touch here)",
    "`touch here`",
    "C:\\x",
    "CON",
    "-1",
    "--",
    "-h",
    "\u2028",
    "\U0001f4a5",
    "x" * 5000,
)
ODD_NUMBERS = (
    "0",
    "-1",
    "1e999",
    "-1e-999",
    "nan",
    ".inf",
    "9" * 5000,
    "0x" + "f" * 5000,
    "1" + "0" * 30,
    "0.1",
    "1_0",
    "0o17",
    "1:30:00",
    "٣",
    "²",
    "true",
    "null",
)


def _some(rng: random.Random, *makes: Make | str) -> str:
    made = rng.choice(makes)
    return made if isinstance(made, str) else made(rng)


def odd_text(rng: random.Random) -> str:
    """Return a text that is no proper name: empty, with control characters, far too long, or like code."""
    return "".join(rng.choice(_ODD_TEXTS) for _ in range(rng.choice((1, 1, 2))))


def nested(rng: random.Random, opening: str, closing: str, core: str) -> str:
    depth = rng.choice((2, 50, 400, 3000))
    return opening * depth + core + closing * (depth if rng.random() < 0.7 else rng.randrange(depth))


# --- YAML ---------------------------------------------------------------------------------------------------------


def _bomb(rng: random.Random) -> str:
    wide, deep = rng.choice(((10, 9), (2, 40), (50, 6)))
    key = rng.choice(("prompts", "annotate", "when", "stages", "anchors"))
    lines = [f"a0: &a0 [{', '.join('x' * wide)}]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * wide)}]" for at in range(1, deep)]
    lines.append(f"annotate: {{prompts: *a{deep - 1}}}" if key == "prompts" else f"{key}: *a{deep - 1}")
    return "\n".join(lines)


def _merges(rng: random.Random) -> str:
    deep = rng.choice((3, 9, 30))
    lines = ["b0: &b0 {hamming: 4}"]
    lines += [f"b{at}: &b{at} {{<<: [{', '.join([f'*b{at - 1}'] * 9)}]}}" for at in range(1, deep)]
    return "\n".join([*lines, f"duplicates: {{<<: *b{deep - 1}}}"])


def yaml_value(rng: random.Random) -> str:
    """Return a value in YAML: plain, of another kind than expected, or one that only a careless reader takes."""
    return _some(
        rng,
        *ODD_NUMBERS,
        lambda r: json.dumps(odd_text(r)),
        odd_text,
        "[a, b",
        "{a: b",
        "[]",
        "{}",
        "[[1, 2], {3: 4}]",
        "2024-13-45",
        "2024-01-01",
        "!!python/object/apply:os.system [touch here]",
        "!!binary aGVsbG8=",
        "!!binary '***'",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!timestamp 2024-99-99",
        "!!int x",
        "!!float x",
        "!!bool maybe",
        "!unknown x",
        "&a [*a]",
        "&a {b: *a}",
        "*nowhere",
        "? [a, b]\n: c",
        "{[1]: 2}",
        "{{1: 2}: 3}",
        "{null: 1, true: 2, 3.5: 4}",
        "'\ud800'",
        '"\\ud800"',
        '"\\x00"',
        "|\n  a\n  b",
        lambda r: nested(r, "[", "]", "1"),
        lambda r: nested(r, "{a: ", "}", "1"),
        lambda r: nested(r, "- ", "", "1"),
    )


def config_text(rng: random.Random) -> str:
    """Return a configuration in YAML with something wrong in it, most of the time."""
    kind = rng.randrange(10)
    if kind == 0:
        return _bomb(rng)
    if kind == 1:
        return _merges(rng)
    if kind == 2:
        return yaml_value(rng)
    lines = []
    for _ in range(rng.randrange(1, 5)):
        section = _some(rng, rng.choice(_SECTIONS), rng.choice(_KEYS), odd_text, "profile", "description", "stages")
        if rng.random() < 0.4:
            lines.append(f"{section}: {yaml_value(rng)}")
            continue
        lines.append(f"{section}:")
        for _ in range(rng.randrange(1, 4)):
            key = rng.choice(_KEYS).partition(".")[2] or rng.choice(STAGE_NAMES)
            lines.append(f"  {_some(rng, key, odd_text)}: {_some(rng, yaml_value, rule)}")
    text = "\n".join(lines)
    return text if rng.random() < 0.9 else text[: rng.randrange(len(text) + 1)]


def setting(rng: random.Random) -> str:
    """Return a text for `--set`."""
    key = _some(rng, rng.choice(_KEYS), rng.choice(_SECTIONS), f"when.{rng.choice(STAGE_NAMES)}", odd_text, "a.b.c.d")
    if rng.random() < 0.05:
        key = ".".join(["a"] * rng.choice((10, 500)))
    value = _some(rng, yaml_value, rule, odd_text, _bomb)
    return f"{key}={value}" if rng.random() < 0.95 else key + value


# --- SQL ----------------------------------------------------------------------------------------------------------

_COLUMNS = ("frame_idx", "stream_id", "curation.keep", "quality.luma_mean", "keep", "luma_mean", "reasons", "nothing")


def _scalar(rng: random.Random) -> str:
    return _some(
        rng,
        rng.choice(_COLUMNS),
        rng.choice(_COLUMNS),
        "1",
        "'a'",
        "NULL",
        "1e400",
        "9" * 400,
        "'" + "x" * 3000 + "'",
        "DATE '0001-01-01'",
        "DATE '290309-12-22 (BC)'",
        "TIMESTAMP '294247-01-10'",
        "make_timestamp(9223372036854775807)",
        "INTERVAL '1 year' * 999999999",
        "random()",
        "now()",
        "uuid()",
        "current_date",
        "nextval('s')",
        "getenv('HOME')",
        "version()",
        "pg_sleep(1)",
        "(SELECT 1)",
        "(SELECT max(frame_idx) FROM frames)",
        "repeat('a', 9000000000)",
        "range(9000000000)",
        "'\\x00'::BLOB",
        "x'zz'",
        "$1",
        "?",
        "*",
        "COLUMNS('(')",
        "list_transform([1], x -> x)",
        "regexp_matches('a', '(((')",
        "strftime(now(), '%')",
        "CAST('x' AS INT)",
        "1/0",
        "127::TINYINT + 1::TINYINT",
        "read_text('/etc/passwd')",
    )


def _expression(rng: random.Random, depth: int = 0) -> str:
    if depth > 3 or rng.random() < 0.4:
        return _scalar(rng)
    left, right = _expression(rng, depth + 1), _expression(rng, depth + 1)
    operator = rng.choice(("+", "=", ">", "AND", "OR", "LIKE", "IN", "||", "IS NOT", "BETWEEN 1 AND", ";", "--", "/*"))
    return f"({left} {operator} {right})"


def rule(rng: random.Random) -> str:
    """Return a condition in SQL, hardly ever one that could be used."""
    return _some(
        rng,
        _expression,
        _expression,
        _expression,
        lambda r: nested(r, "(", ")", "frame_idx > 1"),
        lambda r: nested(r, "NOT ", "", "keep"),
        lambda r: nested(r, "-", "", "1"),
        lambda r: " AND ".join(["frame_idx > 1"] * r.choice((10, 1000, 20000))),
        lambda r: " + ".join(["1"] * r.choice((10, 1000, 20000))) + " > 1",
        lambda r: nested(r, "CASE WHEN keep THEN ", " END", "true"),
        lambda r: nested(r, "abs(", ")", "1"),
        lambda r: nested(r, "[", "]", "1"),
        odd_text,
        "true) OR (true",
        "true -- ",
        "true /*",
        "true; SELECT 1",
        "true UNION SELECT 1",
        "true LIMIT 1",
        "true FROM frames",
        "keep QUALIFY row_number() OVER () = 1",
        "objects.category = 'red' AND random() > 0.5",
        "objects.nothing = 1",
        "frame_idx IN (FROM frames SELECT frame_idx)",
        "EXISTS (FROM read_csv('/etc/passwd'))",
    )


def query(rng: random.Random) -> str:
    """Return a text for `winnow sql`."""
    return _some(
        rng,
        lambda r: f"SELECT {_expression(r)}",
        lambda r: (
            f"SELECT {_expression(r)} FROM {r.choice(('frames', 'curated', 'objects', 'nowhere', 'quality_all'))}"
        ),
        lambda r: f"SELECT * FROM curated WHERE {rule(r)}",
        lambda r: "SELECT " + nested(r, "(", ")", "1"),
        lambda r: nested(r, "SELECT * FROM (", ")", "SELECT 1"),
        lambda r: " UNION ALL ".join(["SELECT 1"] * r.choice((10, 500))),
        lambda r: f"SELECT '{odd_text(r)}'",
        lambda r: f'SELECT 1 AS "{odd_text(r)}"',
        lambda r: "".join(
            r.choice(("SELECT ", "FROM ", "frames ", "WHERE ", "(", ")", ",", "'", '"', "1 ", ";", "$$", "\x00", "AS "))
            for _ in range(r.randrange(1, 20))
        ),
        odd_text,
        "COPY (SELECT 1) TO 'here.csv'",
        "ATTACH 'here.db'",
        "CREATE TABLE x AS SELECT 1",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '1GB'",
        "PRAGMA database_list",
        "EXPORT DATABASE 'here'",
        "CALL pragma_version()",
        "EXPLAIN ANALYZE SELECT 1",
        "FROM read_text('/etc/passwd')",
        "FROM glob('/*')",
        "FROM '/etc/passwd'",
        "FROM duckdb_settings()",
        "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a WHERE n < 3) FROM a",
        "SELECT DATE '290309-12-22 (BC)'",
        "SELECT TIMESTAMP '294247-01-10 04:00:54.775806'",
        "SELECT make_timestamp(-9223372036854775807)",
        "SELECT TIMESTAMPTZ '0001-01-01 00:00:00+15'",
        "SELECT INTERVAL '9999999 months'",
        "SELECT 170141183460469231731687303715884105727",
        "SELECT 'infinity'::TIMESTAMP",
        "SELECT 'nan'::DOUBLE",
        "SELECT MAP {'a': [1, NULL]}",
        "SELECT {'a': {'b': [x'00']}}",
        "SELECT '10110'::BIT",
        "SELECT uuid()",
        "SELECT TIME '24:00:00'",
        "SELECT NULL",
        "SELECT 1, 1, 1 AS x, 2 AS X",
        "PIVOT frames ON status USING count(*)",
    )


# --- schedules, names, addresses ----------------------------------------------------------------------------------


def cron(rng: random.Random) -> str:
    """Return an expression for `--cron`."""
    field = (
        *ODD_NUMBERS,
        "*",
        "*/0",
        "*/5",
        "1-",
        "-",
        "5-1",
        "1,2,",
        "L",
        "W",
        "#",
        "MON",
        "FEB",
        "1#9",
        "1/2/3",
        "60",
    )
    if rng.random() < 0.2:
        return _some(rng, odd_text, "@reboot", "@daily ", "@", "0 0 30 2 *", "0 0 31 2,4 *", "* " * 3000)
    return " ".join(rng.choice(field) for _ in range(rng.choice((5, 5, 5, 5, 4, 6))))


def zone(rng: random.Random) -> str:
    """Return a text for `--tz`."""
    return _some(rng, "UTC", "Europe/Berlin", "../../etc/passwd", "/etc/passwd", "Europe", "posix", odd_text)


def name(rng: random.Random) -> str:
    """Return a text for something that has a name: a stream, a category, a schedule, a release."""
    return _some(
        rng, odd_text, odd_text, "cam", "a/b", "a//b", "a/../b", "./a", "/a", "a/", ".", "x" * 101, "a\\b", "a\x7fb"
    )


def address(rng: random.Random) -> str:
    """Return a text where a URL is expected; none of them leads to another machine."""
    scheme = rng.choice(("http", "https", "s3", "file", "ftp", "gopher", "", "HTTP", "http\n", "javascript", "ray"))
    host = _some(
        rng,
        "127.0.0.1:1",
        "[::1]:1",
        "[::1",
        "::1",
        "[zz]",
        "127.0.0.1:99999",
        "127.0.0.1:-1",
        "127.0.0.1:x",
        "",
        ":",
        "a" * 300 + ".invalid",
        "x..invalid",
        "user:pass@127.0.0.1:1",
        "%zz",
        "*.invalid",
        "[v1.a]",
    )
    tail = _some(rng, "", "/", "/a/b", "/\x00", "/%zz", "?x=\n", "#", "/../..", odd_text)
    return _some(rng, f"{scheme}://{host}{tail}", f"{scheme}:{host}{tail}", odd_text)
