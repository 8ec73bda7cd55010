"""Category names of detectors: those of COCO, of a names file, or of a model's metadata."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from transforms.core.plain_yaml import YamlError, read_yaml

_COCO = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop
sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack,
umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball
glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana,
apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed,
dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""
COCO = tuple(name.strip() for name in _COCO.replace("\n", " ").split(","))
"""The 80 categories of COCO 2017 in their order, on which most detectors are trained."""


def read_names(path: Path) -> tuple[str, ...]:
    """Return the category names of a file: one per line, or YAML with `names`, as dataset descriptions have it.

    Raises `ValueError` for a file without names or with repeated ones, and `OSError`.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() in {".yaml", ".yml"}:
        try:
            document = read_yaml(text)
        except YamlError as error:
            raise ValueError(f"not valid YAML: {error}") from error
        names = _in_order(document.get("names") if isinstance(document, dict) else None)
    else:
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise ValueError("expected names, one per line, or YAML with `names`; found none")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected every name once, found {', '.join(repeated)} more often")
    return names


def names_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names in a model's metadata, as Ultralytics writes them; empty if there are none."""
    try:
        return _in_order(ast.literal_eval(metadata.get("names", "")))
    except (ValueError, SyntaxError):
        return ()


def _in_order(names: object) -> tuple[str, ...]:
    """Return the names of a list, or of a mapping with the keys 0, 1, …, without gaps."""
    if isinstance(names, Mapping):
        numbers = sorted(names)
        return tuple(str(names[n]) for n in numbers) if numbers == list(range(len(numbers))) else ()
    return tuple(str(name) for name in names) if isinstance(names, (list, tuple)) else ()
