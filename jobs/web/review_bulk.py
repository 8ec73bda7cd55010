"""Edits of many frames at once: one answer that says which were stored, and why others were not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.core.errors import UserError
from jobs.editing import events
from jobs.editing.errors import ChangedImageError, EditConflictError, InvalidEditError, NotAllowedError
from jobs.editing.events import Context, Edit
from jobs.editing.frame_states import Connection
from jobs.editing.leases import Place
from jobs.editing.operations import Op
from jobs.web.plain import number
from jobs.web.reviews import Participant, Review

_TOGETHER = 100
_STATUS: tuple[tuple[type[UserError], int], ...] = (
    (EditConflictError, 409),
    (ChangedImageError, 410),
    (NotAllowedError, 403),
    (InvalidEditError, 422),
)


@dataclass(frozen=True)
class FrameEdit:
    """What is to be done on one frame; `base_revision` None: on what is there now."""

    place: Place
    h: str
    ops: tuple[Op, ...]
    base_revision: int | None = None


def record_all(
    review: Review, event_id: str, kind: events.Kind, edits: Sequence[FrameEdit], person: Participant
) -> dict[str, list[dict[str, Any]]]:
    """Store edits of many frames, each as an event of its own; a hundred frames share a transaction.

    The same `event_id` stores nothing twice, also after a part of it was stored.
    """
    places = [(edit.place, edit.h, edit.ops) for edit in edits]
    contexts = review.contexts(places)
    found: dict[str, list[dict[str, Any]]] = {"applied": [], "refused": []}
    for first in range(0, len(edits), _TOGETHER):
        part = [
            (Edit(f"{event_id}-{at}", kind, edit.ops, edit.base_revision), edit, contexts[at])
            for at, edit in enumerate(edits[first : first + _TOGETHER], first)
        ]
        answers = review.database.write(lambda c, part=part: _recorded(c, part, person))  # type: ignore[misc]
        for (_, edit, _), answer in zip(part, answers, strict=True):
            named = {"stream": edit.place[0], "idx": number(edit.place[1])}
            if isinstance(answer, UserError):
                status = next((status for error, status in _STATUS if isinstance(answer, error)), 400)
                found["refused"].append({**named, "status": status, "lines": answer.problems})
            else:
                found["applied"].append({**named, "revision": answer["revision"], "seq": answer["seq"]})
    review.note_edits()
    return found


def _recorded(
    connection: Connection, part: Sequence[tuple[Edit, FrameEdit, Context | UserError]], person: Participant
) -> list[dict[str, Any] | UserError]:
    answers: list[dict[str, Any] | UserError] = []
    for edit, _, context in part:
        if isinstance(context, UserError):
            answers.append(context)
            continue
        savepoint = connection.begin_nested()
        try:
            answers.append(events.record(connection, edit, person.author, context))
            savepoint.commit()
        except UserError as error:
            savepoint.rollback()
            answers.append(error)
    return answers


def ops_on(op: Mapping[str, Any] | None, objects: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Return one operation on each of some objects."""
    return () if op is None else tuple({**op, "object_id": name} for name in objects)
