"""Operations of people on the objects of a frame: applied to what there is, or in conflict with what others did.

An edit names objects by ids that do not change, and the revision of the frame that its author saw. Objects that nobody
changed since then take it, regardless of others; for an object that somebody else changed, both versions are
given back and nothing is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jobs.editing import geometry
from jobs.editing.objects import EDITABLE, GEOMETRY, Body, corrected, drawn

Op = Mapping[str, Any]


@dataclass(frozen=True)
class EditedObject:
    """An object of a frame and the revision of the frame at which it was last changed, 0 for never."""

    body: Body
    revision: int = 0
    is_deleted: bool = False
    changed_by: str | None = None
    changed_ns: int = 0


@dataclass
class Applied:
    """What an edit does: `changed` objects by id, `log` for the history, `tags` if they change.

    `conflicts` has an entry for each operation that cannot be applied because of others, `problems` a line for each one
    that could never be; with any of them nothing is to be stored.
    """

    changed: dict[str, EditedObject] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    tags: list[str] | None = None
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frame:
    """What operations are compared with: size in pixels, categories, the objects, and what models suggest."""

    width: int
    height: int
    categories: Collection[str]
    objects: Mapping[str, EditedObject]
    suggestions: Mapping[str, Body]


def touched(ops: Sequence[Op]) -> set[str] | None:
    """Return the ids that operations name; None for those of all objects."""
    if any(op["op"] == "negative" for op in ops):
        return None
    return {op["object_id"] for op in ops if "object_id" in op}


def apply(ops: Sequence[Op], frame: Frame, base_revision: int, author: str) -> Applied:
    """Return what operations do to a frame of which their author saw a revision."""
    found = Applied()
    edit = _Edit(frame, base_revision, author, found)
    for at, op in enumerate(ops):
        edit.apply(at, op)
    return found


class _Edit:
    """One edit while it is applied; later operations see what earlier ones did."""

    def __init__(self, frame: Frame, base_revision: int, author: str, found: Applied) -> None:
        self._frame = frame
        self._base = base_revision
        self._author = author
        self._found = found

    def apply(self, at: int, op: Op) -> None:
        kind = op["op"]
        if kind == "negative":
            self._negative(at)
        elif kind == "tags":
            self._found.tags = list(op["tags"])
            self._found.log.append({"op": "tags", "tags": self._found.tags})
        elif (wrong := self._wrong_with(op)) is not None:
            self._found.problems.append(f"ops.{at}: {wrong}")
        else:
            steps: dict[str, Callable[[int, Op], None]] = {
                "add": self._add,
                "set": self._set,
                "delete": self._delete,
                "restore": self._restore,
                "accept": self._accept,
            }
            steps[kind](at, op)

    def _wrong_with(self, op: Op) -> str | None:
        category = op.get("category")
        if category is not None and category not in self._frame.categories:
            return f"category {category!r} is not known in this project; an admin can add it"
        return next(geometry.problems_of(op), None)

    def _now(self, object_id: str) -> EditedObject | None:
        return self._found.changed.get(object_id) or self._frame.objects.get(object_id)

    def _is_free(self, at: int, object_id: str) -> bool:
        """Return whether nobody changed an object since its author saw it; note the conflict otherwise."""
        before = self._frame.objects.get(object_id)
        if before is None or before.revision <= self._base or object_id in self._found.changed:
            return True
        self._conflict(at, object_id, before)
        return False

    def _conflict(self, at: int, object_id: str, theirs: EditedObject | None) -> None:
        self._found.conflicts.append({"op": at, "object_id": object_id, "theirs": theirs})

    def _store(self, object_id: str, after: EditedObject, entry: dict[str, Any]) -> None:
        self._found.changed[object_id] = after
        self._found.log.append(entry)

    def _fields(self, at: int, op: Op) -> dict[str, Any] | None:
        """Return the fields that an operation gives, with its whole geometry if any; None where that is wrong."""
        fields = {name: op[name] for name in EDITABLE if name in op and name not in GEOMETRY}
        if geometry.has_geometry(op):
            try:
                fields |= geometry.checked(op, self._frame.width, self._frame.height)
            except geometry.GeometryError as error:
                self._found.problems.append(f"ops.{at}: {error}")
                return None
        return fields

    def _add(self, at: int, op: Op) -> None:
        object_id = op["object_id"]
        fields = self._fields(at, op)
        if fields is None:
            return
        if "bbox" not in fields:
            self._found.problems.append(f"ops.{at}: expected one of bbox, polygons, rle, found none")
            return
        fields["attributes"] = {k: v for k, v in (fields.get("attributes") or {}).items() if v is not None}
        fields["is_crowd"] = bool(fields.get("is_crowd"))
        body = drawn(fields, self._author)
        before = self._now(object_id)
        if before is not None:
            if before.is_deleted or before.body != body:
                self._conflict(at, object_id, before)
            return
        self._store(object_id, EditedObject(body), {"op": "add", "object_id": object_id, "changed": body})

    def _set(self, at: int, op: Op) -> None:
        object_id = op["object_id"]
        before = self._now(object_id)
        if before is None or before.is_deleted:
            self._conflict(at, object_id, before)
            return
        fields = self._fields(at, op)
        if fields is None:
            return
        if "attributes" in fields:
            merged = {**before.body["attributes"], **(fields["attributes"] or {})}
            fields["attributes"] = {name: value for name, value in merged.items() if value is not None}
        if fields.get("is_crowd") is None:
            fields.pop("is_crowd", None)
        changes = {name: value for name, value in fields.items() if before.body[name] != value}
        if not changes or not self._is_free(at, object_id):
            return
        after = corrected(before.body, changes, self._author)
        old = {name: before.body[name] for name in changes}
        entry = {"op": "set", "object_id": object_id, "changed": changes, "before": old}
        self._store(object_id, replace(before, body=after), entry)

    def _delete(self, at: int, op: Op) -> None:
        object_id = op["object_id"]
        before = self._now(object_id)
        if before is None:
            self._conflict(at, object_id, None)
        elif not before.is_deleted and self._is_free(at, object_id):
            self._store(object_id, replace(before, is_deleted=True), {"op": "delete", "object_id": object_id})

    def _restore(self, at: int, op: Op) -> None:
        object_id = op["object_id"]
        before = self._now(object_id)
        if before is None:
            self._conflict(at, object_id, None)
        elif before.is_deleted and self._is_free(at, object_id):
            self._store(object_id, replace(before, is_deleted=False), {"op": "restore", "object_id": object_id})

    def _accept(self, at: int, op: Op) -> None:
        object_id = op["object_id"]
        before = self._now(object_id)
        if before is None and object_id in self._frame.suggestions:
            body = {**self._frame.suggestions[object_id], "checked_by": self._author}
            entry = {"op": "add", "object_id": object_id, "changed": body, "from": "suggestion"}
            self._store(object_id, EditedObject(body), entry)
        elif before is None or before.is_deleted:
            self._conflict(at, object_id, before)
        elif before.body["checked_by"] is None and self._is_free(at, object_id):
            after = {**before.body, "checked_by": self._author}
            changed = {"checked_by": self._author}
            entry = {"op": "accept", "object_id": object_id, "changed": changed, "before": {"checked_by": None}}
            self._store(object_id, replace(before, body=after), entry)

    def _negative(self, at: int) -> None:
        self._found.log.append({"op": "negative"})
        for object_id in sorted({*self._frame.objects, *self._found.changed}):
            now = self._now(object_id)
            if now is not None and not now.is_deleted:
                self._delete(at, {"object_id": object_id})


def replayed(
    log: Sequence[Mapping[str, Any]], objects: dict[str, EditedObject], revision: int, by: str, at_ns: int
) -> None:
    """Apply the log of an edit to objects, as it was applied first."""
    for entry in log:
        if "object_id" not in entry:
            continue
        name = entry["object_id"]
        if entry["op"] == "seed":
            objects[name] = EditedObject(entry["changed"], 0, entry["is_deleted"])
        elif entry["op"] == "add":
            objects[name] = EditedObject(entry["changed"], revision, False, by, at_ns)
        else:
            before = objects[name]
            body = before.body
            if entry["op"] == "set":
                body = corrected(body, entry["changed"], by)
            elif "changed" in entry:
                body = {**body, **entry["changed"]}
            is_deleted = {"delete": True, "restore": False}.get(entry["op"], before.is_deleted)
            objects[name] = EditedObject(body, revision, is_deleted, by, at_ns)
