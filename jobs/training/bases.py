"""What a training can start from, by name: architectures of torchvision, and weights of the catalogue."""

from __future__ import annotations

from typing import Any

from jobs.core.optional_packages import missing
from jobs.models import weights_store
from jobs.training.networks import EXTRA, LIBRARIES, PREFIX, TORCHVISION_LICENCE, TRAINABLE
from transforms.models.detect.torchvision_models import ARCHITECTURES, TINY


def bases() -> list[dict[str, Any]]:
    """Return all of them as plain values: `name`, `text`, `licence`, and `problem`, one line, where it is not there."""
    found: list[dict[str, Any]] = [
        {
            "name": f"{PREFIX}{name}",
            "text": "2.5 million weights, for few classes and a CPU" if name == TINY else "from nothing",
            "licence": TORCHVISION_LICENCE,
            "problem": None,
        }
        for name in ARCHITECTURES
    ]
    for entry in weights_store.entries():
        if entry.model.detector != TRAINABLE:
            continue
        problem = None if entry.state == "present" else f"{entry.wrong}: {entry.fixes}"
        found.append(
            {
                "name": entry.model.name,
                "text": "from its published weights",
                "licence": entry.model.licence,
                "problem": problem,
            }
        )
    return found


def problems() -> list[str]:
    """Return why nothing can be trained here, with the command that helps; empty where it can."""
    names = missing(EXTRA, *LIBRARIES)
    if len(names) < 2:
        return names
    absent = ", ".join(line.split(" ", 1)[0] for line in names)
    return [f"{absent} are not installed; they come with: pip install 'winnow[{EXTRA}]'"]
