"""YAML whose size is bounded before it is made."""

from __future__ import annotations

import pytest

from transforms.core.plain_yaml import MOST_VALUES, YamlError, read_yaml


def levels(wide: int, deep: int) -> str:
    """Lists of aliases of lists, which represent wide ** deep values."""
    lines = [f"a0: &a0 [{', '.join('x' * wide)}]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * wide)}]" for at in range(1, deep)]
    return "\n".join(lines)


def test_aliases_and_merges_are_what_they_refer_to() -> None:
    assert read_yaml("a: &x [1, 2e-3]\nb: *x") == {"a": [1, 0.002], "b": [1, 0.002]}
    assert read_yaml("a: &x {n: 1}\nb: {<<: *x, m: 2}") == {"a": {"n": 1}, "b": {"n": 1, "m": 2}}
    assert read_yaml(levels(10, 3))["a2"][9][9] == ["x"] * 10
    assert read_yaml("") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (levels(10, 9), "with every alias replaced"),
        (levels(2, 60), "with every alias replaced"),
        (f"[{'1,' * MOST_VALUES}]", "expected at most 50,000 values"),
        ("- &a " + "x" * 1_000_000 + "\n- [" + "*a, " * 20 + "1]", "16 MiB of text"),
        ("x" * (1 << 21), "expected at most 1,048,576 characters"),
        ("&a [*a]", "it is in itself"),
        ("a: &a {b: {c: *a}}", "it is in itself"),
        ("[" * 3000, "nested too deeply"),
        ("a: 1\na: 2", "there twice"),
        ("9" * 5000, "digits"),
        ("0x" + "f" * 5000, "a whole number of fewer digits"),
        ("!!int x", "expected a whole number, found 'x'"),
        ("!!float ''", "expected a number, found ''"),
        ("!!timestamp 2024-99-99", "month"),
        ("!!python/object/apply:os.system [ls]", "constructor"),
        ("a: \x00", "special characters"),
    ],
)
def test_what_cannot_be_used_is_one_line(text: str, why: str) -> None:
    with pytest.raises(YamlError, match=why) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
