"""Builds the pages for wheels and source distributions where nobody has built them yet. See build_pages.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent))
import build_pages  # type: ignore[import-not-found]


class PagesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds `jobs/web/static` to what is built. Editable installations use the pages of the checkout, if it has any."""

    def dependencies(self) -> list[str]:
        """Return node from PyPI where it is needed and the machine has none."""
        needed = not (build_pages.STATIC / "index.html").exists() and build_pages.find_node() is None
        return [f"{build_pages.NODE_PACKAGE}>=24,<25"] if needed else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages if they are missing."""
        if version == "editable":
            return
        if not (build_pages.STATIC / "index.html").exists():
            build_pages.build()
        build_data["artifacts"].append("/jobs/web/static/**")
