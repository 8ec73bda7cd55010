"""Rendering of self-contained HTML pages."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import jinja2


def render_page(template: str, **values: Any) -> str:
    """Render one of `templates`; the time of rendering is available as `made`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jobs.analysis"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["thousands"] = lambda n: f"{n:,}"
    environment.filters["many"] = lambda n, one, more: f"{n:,} {one if n == 1 else more}"
    environment.filters["figure"] = lambda x: "" if math.isnan(x) else f"{x:.3g}"
    return environment.get_template(template).render(made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", **values)
