"""A seeded generator of bad files of annotation tools: sound ones, damaged at random."""

from __future__ import annotations

import copy
import json
import random
from typing import Any
from xml.etree import ElementTree as ET

from tests.bad_inputs import ODD_NUMBERS, nested

_ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    0.5,
    2**31,
    2**63,
    2**200,
    -(2**63) - 1,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x00",
    "a\nb",
    "\ud800",
    "9" * 5000,
    [],
    {},
    [[]],
    [None],
    {"a": None},
    [1, 2, 3],
    "0001-01-01T00:00:00",
    "9999-12-31T23:59:59.999999-23:59",
    "2262-05-01T00:00:00+00:00",
    "2024-13-45",
    "red",
)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, part in below for path in _paths(part, (*at, key)))]


def damaged_json(rng: random.Random, text: bytes) -> bytes:
    """Return a JSON file in which values were replaced, removed or repeated, or whose bytes were damaged."""
    if rng.random() < 0.12:
        return damaged_bytes(rng, text)
    if rng.random() < 0.04:
        return nested(rng, '[{"annotations":', "}]", "1").encode()
    document: Any = {"root": json.loads(text)}
    for _ in range(rng.choice((1, 1, 2, 4))):
        paths = [path for path in _paths(document) if path]
        path = rng.choice(paths)
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        what = rng.randrange(6)
        if what == 0 and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        elif what == 1 and path != ("root",):
            del parent[path[-1]]
        else:
            parent[path[-1]] = copy.deepcopy(rng.choice(_ODD_VALUES))
    return json.dumps(document["root"]).encode()


_ODD_ATTRIBUTES = (*ODD_NUMBERS, "", "x", "200000", "-5", "1,2", "1,2;3,4", "1, 2, 3", "1e400,0;0,0;1,1", "1;2;3")
_ENCODINGS = ("x-unknown", "utf-7", "utf-16", "idna", "zip", "rot13", "cp037", "shift_jis", "ascii", "", "\U0001f4a5")


def damaged_xml(rng: random.Random, text: bytes) -> bytes:
    """Return an XML file with other attributes, elements, encodings or entities, or whose bytes were damaged."""
    kind = rng.random()
    if kind < 0.1:
        return damaged_bytes(rng, text)
    body = text.split(b"?>", 1)[-1] if text.lstrip().startswith(b"<?xml") else text
    if kind < 0.2:
        return f'<?xml version="1.0" encoding="{rng.choice(_ENCODINGS)}"?>'.encode() + body
    if kind < 0.25:
        entities = '<!ENTITY a0 "x">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
        return f"<?xml version='1.0'?><!DOCTYPE d [{entities}]><annotations>&a11;</annotations>".encode()
    if kind < 0.28:
        return (
            b"<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><annotations><version>&a;</version></annotations>"
        )
    if kind < 0.3:
        return nested(rng, "<annotations>", "</annotations>", "<version>1.1</version>").encode()
    root = ET.fromstring(body)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _damage(rng, rng.choice(list(root.iter())))
    return ET.tostring(root)


def _damage(rng: random.Random, element: ET.Element) -> None:
    """Change one thing about an element."""
    what = rng.randrange(8)
    if what == 0 and len(element):
        element.remove(rng.choice(list(element)))
    elif what == 1 and len(element):
        element.append(copy.deepcopy(rng.choice(list(element))))
    elif what == 2:
        element.text = rng.choice((*_ODD_ATTRIBUTES, "a\nb"))
    elif what == 3:
        element.tag = rng.choice(("mask", "box", "polygon", "points", "track", "image", "tag", "cuboid", "version"))
    elif what == 4 and element.attrib:
        del element.attrib[rng.choice(list(element.attrib))]
    elif what == 5:
        element.append(_absurd_mask(rng))
    elif element.attrib:
        element.attrib[rng.choice(list(element.attrib))] = rng.choice(_ODD_ATTRIBUTES)


def _absurd_mask(rng: random.Random) -> ET.Element:
    size = rng.choice(("200000", "3", "9" * 30, "-1"))
    runs = rng.choice((str(int(size) ** 2), "0, 9", "1, 1, 1, 6", "9" * 5000, "4, -4, 9", ""))
    values = {"label": "red", "left": "0", "top": "0", "width": size, "height": size, "rle": runs}
    return ET.Element("mask", values)


def damaged_bytes(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 5, 50))):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged[: rng.choice((len(damaged), rng.randrange(len(damaged))))])
