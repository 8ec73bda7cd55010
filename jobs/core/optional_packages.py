"""Libraries that not every job needs: asked for before any work, with the command that brings them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from types import ModuleType

from jobs.core.errors import UserError


def missing(extra: str, *modules: str) -> list[str]:
    """Return a line for each library that is not installed and comes with an extra of this package."""
    return [
        f"{name} is not installed; it comes with: pip install 'winnow[{extra}]'"
        for name in modules
        if find_spec(name) is None
    ]


def require(extra: str, *modules: str) -> None:
    """Raise `UserError` if one of these libraries is not installed."""
    if problems := missing(extra, *modules):
        raise UserError(problems)


class _NoPandas(MetaPathFinder):
    """Finds pandas nowhere, and leaves every other module to other finders."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def load_arrow_without_pandas() -> None:
    """Have PyArrow do without pandas in this process, which it imports at its first array and which takes 0.4 s.

    For processes that convert nothing to pandas. Whoever imports pandas later gets it all the same.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(finder)
