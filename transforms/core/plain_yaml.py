"""YAML of bounded size: what aliases and merges represent is counted before any of it is made."""

from __future__ import annotations

import re
from typing import Any

import yaml

MOST_VALUES = 50_000
"""Values that a document may have, with those counted again that an alias repeats."""

_MOST_LETTERS = 1 << 20
_MOST_REPEATED_LETTERS = 16 << 20

_LONGEST_REASON = 400
_SHOWN = 40
_MOST_BITS = 4096
_TOO_LARGE = (
    f"expected at most {MOST_VALUES:,} values and {_MOST_REPEATED_LETTERS >> 20} MiB of text, with every alias "
    "replaced by what it refers to; found more"
)
_MERGE = "tag:yaml.org,2002:merge"


class YamlError(ValueError):
    """A text is no YAML that can be used; the message says why, in one line."""


class _Loader(yaml.SafeLoader):
    """YAML in which 5e-05, as Python writes it, is a number, as it is in YAML 1.2, and a date is text.

    A key that is given twice is refused, as YAML 1.2 has it, rather than its first value dropped.
    """

    n_composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node. Raises `YamlError` for one too many."""
        self.n_composed += 1
        if self.n_composed > MOST_VALUES:
            raise YamlError(_TOO_LARGE)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping. Raises `ConstructorError` for a key that is there twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            # `<<` may come several times: it refers to other mappings.
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


# No value is a date, and one of the thirteenth month would not even be text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    try:
        found = loader.construct_yaml_int(node)
    except (ValueError, LookupError) as error:
        fewer = " of fewer digits" if len(node.value) > _LONGEST_REASON else ""
        raise _wrong(f"a whole number{fewer}", node) from error
    # Digits of base 16 or 60 are read in any number, and then cannot be written as those of base 10.
    if found.bit_length() > _MOST_BITS:
        raise _wrong("a whole number of fewer digits", node)
    return found


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    try:
        return loader.construct_yaml_float(node)
    except (ValueError, LookupError) as error:
        raise _wrong("a number", node) from error


def _wrong(expected: str, node: yaml.ScalarNode) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(
        None, None, f"expected {expected}, found {node.value[:_SHOWN]!r}", node.start_mark
    )


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def read_yaml(text: str) -> Any:
    r"""Return what a YAML document says, as plain values; None for an empty one.

    Raises `YamlError` for invalid YAML, for an alias within what it refers to, and for more than `MOST_VALUES` values
    or 16 MiB of text once every alias is replaced by what it refers to.

    >>> read_yaml("a: &x [1, 2e-3]\nb: *x")
    {'a': [1, 0.002], 'b': [1, 0.002]}
    """
    if len(text) > _MOST_LETTERS:
        raise YamlError(f"expected at most {_MOST_LETTERS:,} characters, found {len(text):,}")
    loader = None
    try:
        # A text with characters that YAML does not have is refused at once.
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return loader.construct_document(node)
    except YamlError:
        raise
    except RecursionError as error:
        raise YamlError("it is nested too deeply") from error
    # A number of thousands of digits, a date that is none, text in no encoding.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise YamlError(" ".join(str(error).split())[:_LONGEST_REASON]) from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_size(root: yaml.Node) -> None:
    """Raise `YamlError` where a document is too large once its aliases are replaced."""
    # Number of values and letters of a node with all below it, by the node's identity; None while that is counted.
    known: dict[int, tuple[int, int] | None] = {}

    def size(node: yaml.Node) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            return 1, len(node.value)
        if id(node) in known:
            found = known[id(node)]
            if found is None:
                raise YamlError("an alias refers to something that it is in itself")
            return found
        known[id(node)] = None
        below = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        sizes = [size(part) for part in below]
        values, letters = 1 + sum(each[0] for each in sizes), sum(each[1] for each in sizes)
        if values > MOST_VALUES or letters > _MOST_REPEATED_LETTERS:
            raise YamlError(_TOO_LARGE)
        known[id(node)] = values, letters
        return values, letters

    size(root)
