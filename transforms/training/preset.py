"""Names of the presets by which a training alters its images. Imports little, since commands name them."""

from __future__ import annotations

from typing import Literal

Preset = Literal["none", "minimal", "standard", "strong"]
