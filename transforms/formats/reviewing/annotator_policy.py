"""The ways in which annotations of one image by several people become one."""

from __future__ import annotations

from typing import Literal

Policy = Literal["latest", "consensus", "all"]
POLICIES: tuple[Policy, ...] = ("latest", "consensus", "all")
