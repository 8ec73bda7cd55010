"""Names of the policies that combine annotations by several people."""

from __future__ import annotations

from typing import Literal

Policy = Literal["latest", "consensus", "all"]
POLICIES: tuple[Policy, ...] = ("latest", "consensus", "all")
