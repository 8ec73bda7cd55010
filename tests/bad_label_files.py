"""A seeded generator of bad datasets and label files: sound ones, damaged at random."""

from __future__ import annotations

import json
import os
import random
import shutil
import zipfile
from pathlib import Path

from tests.bad_inputs import ODD_NUMBERS, odd_text
from tests.bad_review_files import damaged_bytes, damaged_json, damaged_xml

_WORDS = (
    *ODD_NUMBERS,
    "",
    "0.5 0.5",
    "-0.1",
    "1.5",
    "red",
    "\ufeff",
    "\x00",
    '"',
    '""',
    "a,b",
    "é",
    "#",
    "{",
    "../../x",
)
_ELSEWHERE = (
    "/etc/passwd",
    "../../../../../../etc/passwd",
    "../tables",
    "",
    ".",
    "/dev/zero",
    "/proc/self/mem",
    "a\x00b",
)
_IMAGES = (".png", ".jpg")


def damaged_text(rng: random.Random, text: bytes) -> bytes:
    """Return lines of values with other values, columns, separators, ends of lines or encodings, or damaged bytes."""
    if rng.random() < 0.15 and text:
        return damaged_bytes(rng, text)
    lines = text.decode(errors="replace").split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        separator = "," if "," in lines[at] else " "
        words = lines[at].split(separator)
        what = rng.randrange(6)
        if what == 0:
            words.append(rng.choice(_WORDS))
        elif what == 1:
            del words[rng.randrange(len(words))]
        elif what == 2:
            lines.insert(at, rng.choice((lines[at], odd_text(rng), "")))
            continue
        else:
            words[rng.randrange(len(words))] = rng.choice(_WORDS)
        lines[at] = separator.join(words)
    joined = rng.choice(("\n", "\n", "\r\n", "\r")).join(lines)
    return joined.encode(rng.choice(("utf-8", "utf-8", "utf-16", "utf-8-sig")), "surrogatepass")


def _names_elsewhere(rng: random.Random, text: bytes) -> bytes:
    """Return a JSON file in which every text that names an image names something else."""
    elsewhere = rng.choice(_ELSEWHERE)

    def changed(value: object) -> object:
        if isinstance(value, dict):
            return {name: changed(part) for name, part in value.items()}
        if isinstance(value, list):
            return [changed(part) for part in value]
        return elsewhere if isinstance(value, str) and value.endswith(_IMAGES) else value

    return json.dumps(changed(json.loads(text))).encode()


def damaged(rng: random.Random, name: str, data: bytes) -> bytes:
    """Return the content of a file of labels, damaged as suits its kind."""
    if not data or rng.random() < 0.03:
        return rng.choice((b"", b"\x00" * 100, b"[" * 100_000, b"<" * 100_000))
    if name.endswith(".json"):
        return _names_elsewhere(rng, data) if rng.random() < 0.1 else damaged_json(rng, data)
    if name.endswith(".xml"):
        return damaged_xml(rng, data)
    if name.endswith(".jsonl"):
        lines = data.splitlines()
        at = rng.randrange(len(lines))
        return b"\n".join([*lines[:at], damaged_json(rng, lines[at]), *lines[at + 1 :]])
    if name.endswith((".txt", ".yaml", ".csv")):
        return damaged_text(rng, data)
    return damaged_bytes(rng, data)


def damage_dataset(rng: random.Random, sound: Path, target: Path) -> Path:
    """Write a copy of a dataset with one or two files that are damaged, missing, or something else than files.

    Return what to name in its place: the folder, one file in it, or an archive of it.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(sound, target)
    files = sorted(path for path in target.rglob("*") if path.is_file() and path.suffix not in _IMAGES)
    for path in rng.sample(files, min(len(files), rng.choice((1, 1, 2)))):
        what = rng.random()
        if what < 0.9:
            path.write_bytes(damaged(rng, path.name, path.read_bytes()))
            continue
        path.unlink()
        if what < 0.93:
            path.mkdir()
        elif what < 0.96:
            path.symlink_to(rng.choice(("/etc/passwd", "/dev/zero", "nowhere", path.name)))
        elif what < 0.98:
            os.mkfifo(path)
    if rng.random() < 0.15:
        return rng.choice(files)
    return _packed(rng, target) if rng.random() < 0.15 else target


def _packed(rng: random.Random, folder: Path) -> Path:
    """Return an archive of a folder, with a name that leads out of it, and damaged bytes half of the time."""
    packed = folder.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                archive.write(path, path.relative_to(folder))
        archive.writestr("../../escaped.txt", "0 0.5 0.5 0.1 0.1")
        archive.writestr("/escaped.json", "[]")
    if rng.random() < 0.5:
        packed.write_bytes(damaged_bytes(rng, packed.read_bytes()))
    return packed
