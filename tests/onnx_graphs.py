"""Small real ONNX graphs for tests, written as protobuf by hand: https://onnx.ai/onnx/repo-docs/IR.html."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 64
_FLOAT, _INT64 = 1, 7
Dims = Sequence[int | str]


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def tensor(name: str, values: npt.ArrayLike, dtype: type = np.float32) -> bytes:
    array: npt.NDArray[Any] = np.asarray(values, dtype)
    dims = b"".join(_number(1, d) for d in array.shape)
    kind = _INT64 if dtype is np.int64 else _FLOAT
    return _bytes(5, dims + _number(2, kind) + _bytes(8, name) + _bytes(9, array.tobytes()))


def node(kind: str, inputs: Sequence[str], output: str, **numbers: int | Sequence[int]) -> bytes:
    attributes = b""
    for name, value in numbers.items():
        is_one = isinstance(value, int)
        values = _number(3, value) if isinstance(value, int) else b"".join(_number(8, v) for v in value)
        attributes += _bytes(5, _bytes(1, name) + values + _number(20, 2 if is_one else 7))
    body = b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind)
    return _bytes(1, body + attributes)


def port(field: int, name: str, dims: Dims, kind: int = _FLOAT) -> bytes:
    shape = b"".join(_bytes(1, _bytes(2, d) if isinstance(d, str) else _number(1, d)) for d in dims)
    return _bytes(field, _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape))))


def model(parts: Sequence[bytes], metadata: dict[str, str] | None = None) -> bytes:
    graph = b"".join(parts) + _bytes(2, "graph")
    said = b"".join(_bytes(14, _bytes(1, k) + _bytes(2, v)) for k, v in (metadata or {}).items())
    return _number(1, 8) + _bytes(8, _bytes(1, "") + _number(2, 17)) + _bytes(7, graph) + said


def _red_box() -> list[bytes]:
    """Nodes that find the one rectangle in which red is far above green: `edges` (B, 4) and `any` (B, 1)."""
    up = np.arange(1, SIDE + 1, dtype=np.float32)
    parts = [tensor("half", 0.5), tensor("one", 1.0), tensor("up", up), tensor("down", up[::-1])]
    parts += [tensor("ends", [1, 2, 3], np.int64), tensor("starts", [0, 1, 2], np.int64)]
    parts += [tensor(n, [v], np.int64) for n, v in (("at0", 0), ("at1", 1), ("at2", 2))]
    parts += [
        node("Slice", ("images", "at0", "at1", "at1"), "red"),
        node("Slice", ("images", "at1", "at2", "at1"), "green"),
        node("Sub", ("red", "green"), "excess"),
        node("Greater", ("excess", "half"), "is_red"),
        node("Cast", ("is_red",), "mask", to=_FLOAT),
        node("ReduceMax", ("mask",), "across", axes=[1, 2], keepdims=0),
        node("ReduceMax", ("mask",), "along", axes=[1, 3], keepdims=0),
        node("ReduceMax", ("across",), "any", axes=[1], keepdims=1),
    ]
    for name, line, ramp in (
        ("x0", "across", "down"),
        ("y0", "along", "down"),
        ("x1", "across", "up"),
        ("y1", "along", "up"),
    ):
        parts.append(node("Mul", (line, ramp), f"{name}_ramp"))
        parts.append(node("ArgMax", (f"{name}_ramp",), f"{name}_at", axis=1, keepdims=1))
        parts.append(node("Cast", (f"{name}_at",), name if name.endswith("0") else f"{name}_last", to=_FLOAT))
    parts += [node("Add", (f"{n}_last", "one"), n) for n in ("x1", "y1")]
    parts.append(node("Concat", ("x0", "y0", "x1", "y1"), "edges", axis=1))
    return parts


def write_end_to_end(path: Path, batch: int | str = 1, names: dict[int, str] | None = None, licence: str = "") -> Path:
    """Write a detector of red rectangles as YOLO26 is exported: (B, 300, 6), class 1, score 0.9, then nothing."""
    parts = [
        port(11, "images", (batch, 3, SIDE, SIDE)),
        *_red_box(),
        tensor("sure", 0.9),
        tensor("zero", 0.0),
        tensor("pads", [0, 0, 0, 0, 299, 0], np.int64),
        node("Mul", ("any", "sure"), "score"),
        node("Mul", ("any", "one"), "class"),
        node("Concat", ("edges", "score", "class"), "row", axis=1),
        node("Unsqueeze", ("row", "at1"), "rows"),
        node("Pad", ("rows", "pads", "zero"), "output0"),
        port(12, "output0", (batch, 300, 6)),
    ]
    said = {"names": repr(names) if names else "", "license": licence}
    path.write_bytes(model(parts, {key: text for key, text in said.items() if text}))
    return path


def write_dfine(path: Path, batch: int | str = "N") -> Path:
    """Write the same detector as D-FINE is exported: edges in pixels of the size that is asked, class 2."""
    parts = [
        port(11, "images", (batch, 3, SIDE, SIDE)),
        port(11, "orig_target_sizes", (batch, 2), _INT64),
        *_red_box(),
        tensor("sure", 0.9),
        tensor("two", [2], np.int64),
        tensor("side", float(SIDE)),
        node("Mul", ("any", "sure"), "scores"),
        node("Cast", ("any",), "whole", to=_INT64),
        node("Mul", ("whole", "two"), "labels"),
        node("Cast", ("orig_target_sizes",), "sizes", to=_FLOAT),
        node("Concat", ("sizes", "sizes"), "both", axis=1),
        node("Mul", ("edges", "both"), "large"),
        node("Div", ("large", "side"), "scaled"),
        node("Unsqueeze", ("scaled", "at1"), "boxes"),
        port(12, "labels", (batch, 1), _INT64),
        port(12, "boxes", (batch, 1, 4)),
        port(12, "scores", (batch, 1)),
    ]
    path.write_bytes(model(parts))
    return path


def write_yolox(path: Path, classes: int) -> Path:
    """Write a graph shaped as YOLOX is exported, a row for each cell, that never finds anything."""
    rows = sum((SIDE // stride) ** 2 for stride in (8, 16, 32))
    parts = [
        port(11, "images", (1, 3, SIDE, SIDE)),
        tensor("nothing", np.zeros((1, rows, 5 + classes))),
        node("Identity", ("nothing",), "output"),
        port(12, "output", (1, rows, 5 + classes)),
    ]
    path.write_bytes(model(parts))
    return path
