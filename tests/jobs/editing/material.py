"""Frames with objects, people and edits, for the tests of reviews."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from jobs.accounts.database import Database
from jobs.editing import events
from jobs.editing.event_rows import Image, Seed
from jobs.editing.events import Author, Context, Edit, Kind
from jobs.editing.objects import Body, of_row
from tests.accounts import add_person

WIDTH, HEIGHT = 200, 100
IMAGE = Image("crossing", "yard/gate", 7, "ab" * 32, WIDTH, HEIGHT)


def found(category: str = "car", x: float = 10.0, score: float = 0.8) -> Body:
    """An object that a model found."""
    box = {"bbox_x": x, "bbox_y": 20.0, "bbox_w": 30.0, "bbox_h": 40.0}
    nothing = dict.fromkeys(("mask_rle", "track_id", "text", "weights_hash"))
    return of_row({**box, **nothing, "category": category, "score": score, "source": "onnx", "model": "m"})


SEED = Seed({"model-aaa": found(), "model-bbb": found("bus", 60.0)})
CONTEXT = Context(IMAGE, SEED, frozenset({"car", "bus", "van"}), {}, False, 600_000_000_000)


def people(database: Database) -> tuple[Author, Author, Author]:
    """Two annotators and a reviewer."""
    made = [add_person(database, name, has_password=False) for name in ("ann", "ben", "rita")]
    return (
        Author("ann", made[0].user_id, False),
        Author("ben", made[1].user_id, False),
        Author("rita", made[2].user_id, True),
    )


def edit(*ops: dict[str, Any], base: int | None = None, kind: Kind = "edit", event_id: str | None = None) -> Edit:
    return Edit(event_id or secrets.token_hex(16), kind, ops, base)


def record(database: Database, what: Edit, author: Author, **about: Any) -> dict[str, Any]:
    context = replace(CONTEXT, **about)
    return database.write(lambda c: events.record(c, what, author, context))
