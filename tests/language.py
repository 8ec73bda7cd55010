"""The words of the project as a program: `python -m tests.language` prints words that CONTRIBUTING.md replaces.

The table in CONTRIBUTING.md is the only list. It is checked over code (comments, docstrings, messages, names), the help
of commands, which is written in docstrings, the documents, and the names of tests; phrases marked there `in prose` not
over strings of one word and names, except of tests.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import schemas
from tests.reference import ROOT

_LIST = ROOT / "CONTRIBUTING.md"
_ROW = re.compile(r"^\| (?P<write>[^|]+) \| (?P<instead_of>[^|]+) \|", re.MULTILINE)
_CODE = ("schemas", "transforms", "conf", "jobs", "tests")
_DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "conf/**/*.yaml",
    "jobs/**/*.j2",
    "Makefile",
    "pyproject.toml",
    ".ci/run",
)


# Columns are a contract, and so is what the manifest of weights calls its list of licences that were printed.
_COLUMNS = frozenset(column.name for table in schemas.ALL for column in table.columns)
_ON_DISK = _COLUMNS | {"told"}
# Texts of code that stage keys depend on: the prompt of reviewing models, contents of frames that are no images.
_HASHED = frozenset(
    {("transforms/assess/escalation.py", "picture"), ("transforms/frames/container.py", "picture")}
    | {("transforms/frames/frame_image.py", "picture"), ("tests/transforms/frames/test_clip_index.py", "picture")}
)
_EXPRESSION = re.compile(r"\{[^{}]*\}")
_CODE_SPAN = re.compile(r"^```.*?^```|`[^`\n]+`|\{\{.*?\}\}", re.MULTILINE | re.DOTALL)


class Phrase(NamedTuple):
    """A phrase that is not to be written: what to write, and whether it may be a name."""

    write: str
    in_prose: bool


def words() -> dict[str, Phrase]:
    """Return the phrases that are not to be written, in lower case."""
    text = _LIST.read_text(encoding="utf-8")
    table = text[text.index("| Write |") :]
    found: dict[str, Phrase] = {}
    for row in _ROW.finditer(table):
        for phrase, in_prose in re.findall(r"`([^`]+)`( in prose)?", row["instead_of"]):
            found[phrase.lower()] = Phrase(row["write"].strip(), bool(in_prose))
    return found


def _pattern(listed: dict[str, Phrase], names: bool) -> re.Pattern[str]:
    """Return what finds phrases, of names or of prose. What is to be written may contain one: `ground truth`."""
    phrases = [phrase for phrase, about in listed.items() if not (names and about.in_prose)]
    write = {term.strip() for phrase in phrases for term in listed[phrase].write.split(",") if phrase in term.split()}
    either = "|".join(sorted(map(re.escape, phrases), key=len, reverse=True))
    allowed = "".join(
        rf"(?<!{re.escape(term.removesuffix(each))})" for term in write for each in phrases if term.endswith(f" {each}")
    )
    return re.compile(rf"(?<![\w-]){allowed}({either})(?![\w-])")


def main() -> int:
    """Print every place where a word stands that is not to be written, and return the exit code."""
    listed = words()
    prose, names = _pattern(listed, names=False), _pattern(listed, names=True)
    found = [*_in_code(prose, names), *_in_documents(prose)]
    found = [(where, phrase) for where, phrase in found if (where.partition(":")[0], phrase) not in _HASHED]
    for where, phrase in found:
        sys.stderr.write(f"{where}: {phrase!r}; write {listed[phrase].write} (see CONTRIBUTING.md)\n")
    return 1 if found else 0


def _in_code(prose: re.Pattern[str], names: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    for room in _CODE:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT)
            texts: list[tuple[int, str]] = []
            words_alone: list[tuple[int, str]] = []
            for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
                kind = tokenize.tok_name[token.type]
                if kind == "NAME":
                    parts = [part for part in token.string.split("_") if part and part.lower() not in _COLUMNS]
                    is_sentence = token.string.startswith("test_")
                    (texts if is_sentence else words_alone).append((token.start[0], " ".join(parts)))
                elif kind in {"COMMENT", "STRING", "FSTRING_MIDDLE"} and token.string.strip("\"'") not in _ON_DISK:
                    text = _EXPRESSION.sub("{}", token.string) if token.string[0] in "fF" else token.string
                    is_prose = kind == "COMMENT" or " " in text
                    (texts if is_prose else words_alone).append((token.start[0], text))
            yield from _in_texts(str(name), texts, prose)
            yield from _in_texts(str(name), words_alone, names)


def _in_documents(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    for glob in _DOCUMENTS:
        for path in sorted(ROOT.glob(glob)):
            text = path.read_text(encoding="utf-8")
            if path == _LIST:
                text = text[: text.index("| Write |")]
            yield from _in_texts(str(path.relative_to(ROOT)), [(1, text)], pattern)


def _in_texts(name: str, texts: list[tuple[int, str]], pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    if name == str(Path(__file__).relative_to(ROOT)):
        return
    for first, text in texts:
        # A phrase may be broken over two lines.
        prose = _CODE_SPAN.sub(lambda span: re.sub(r"[^\n]", "`", span[0]), text.lower())
        flat = re.sub(r"\n[ \t#>*-]*", lambda gap: " " * len(gap[0]), prose)
        squeezed = re.sub(r" {2,}", lambda gap: " " + "\0" * (len(gap[0]) - 1), flat)
        plain = squeezed.replace("\0", "")
        for hit in pattern.finditer(plain):
            at, seen = 0, 0
            while seen < hit.start():
                seen += squeezed[at] != "\0"
                at += 1
            yield f"{name}:{first + text.count(chr(10), 0, at)}", hit[1]


if __name__ == "__main__":
    sys.exit(main())
