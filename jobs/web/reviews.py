"""Review in one project: what routes do, put together from tables, the app database, and who asks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import schemas
from jobs.accounts.database import Database
from jobs.accounts.roles import Role, includes
from jobs.core.errors import UserError
from jobs.editing import events, frame_states, leases, project_changes, recovery
from jobs.editing.errors import ChangedImageError, UnknownFrameError
from jobs.editing.event_rows import Seed
from jobs.editing.events import Author, Context, Edit
from jobs.editing.leases import Place
from jobs.editing.objects import Body, public
from jobs.editing.operations import Op
from jobs.editing.publication import Publication
from jobs.storage.store import Store
from jobs.views.categories import categories_of
from jobs.views.project_settings import DEFAULTS, ProjectSettings, read_settings
from jobs.web.frame_filters import FrameFilter
from jobs.web.plain import number, utc
from jobs.web.project_data import ProjectData, ProjectsData, Shown
from jobs.web.projects import Projects
from jobs.web.review_frames import FramesFromTables, FromTables, suggestions
from jobs.web.review_queue import ReviewQueue

_EDITS = ("edit", "submit")
_DECISIONS = {
    "approve": ("open", "submitted", "returned"),
    "return": ("submitted", "approved"),
    "reopen": ("approved",),
}


@dataclass(frozen=True)
class Participant:
    """Who asks: name, id, and role in the project."""

    name: str
    user_id: str
    role: Role

    @property
    def author(self) -> Author:
        """Return who edits."""
        return Author(self.name, self.user_id, includes(self.role, "reviewer"))


class Review:
    """The review of one project."""

    def __init__(self, project: str, data: ProjectData, database: Database, publication: Publication) -> None:
        self.project = project
        self.database = database
        self.data = data
        self._publication = publication
        self._frames = FramesFromTables(project)
        self.queue = ReviewQueue(project)
        self._lock = Lock()
        self._settings: tuple[int, ProjectSettings] | None = None
        self._categories: tuple[Any, tuple[str, ...]] | None = None

    def shown(self) -> Shown:
        """Return what the project's tables show now."""
        return self.data.shown()

    def settings(self, shown: Shown | None = None) -> ProjectSettings:
        """Return the settings of the project."""
        shown = shown or self.shown()
        version = shown.store.open(schemas.PROJECT_SETTINGS).version
        with self._lock:
            known = self._settings
        if known is None or known[0] != version:
            known = (version, read_settings(shown.view.lazy))
            with self._lock:
                self._settings = known
        return known[1]

    def categories(self, shown: Shown) -> tuple[str, ...]:
        """Return the categories that objects can have now, in the order of their numbers."""
        tables = (schemas.CATEGORIES, schemas.PROJECT_SETTINGS)
        version = tuple(shown.store.open(table).version for table in tables)
        with self._lock:
            known = self._categories
        if known is None or known[0] != version or not known[1]:
            settings = self.settings(shown)
            names = tuple(name for name in categories_of(shown.view) if name not in settings.became)
            known = (version, names)
            with self._lock:
                self._categories = known
        return known[1]

    def store(self) -> Store:
        """Return the project's tables, to be written."""
        return Store(self.shown().workspace.root)

    def change_settings(self, changes: Mapping[str, Any], person: Participant) -> None:
        """Change some settings; None gives one its default again. Raises `UserError` for what cannot be."""
        values = {name: DEFAULTS[name] if value is None else value for name, value in changes.items()}
        if values.get("where"):
            FrameFilter(values["where"]).masks(self.shown())
        project_changes.change_settings(self.store(), values, person.name)
        self.data.check_again()

    def all_categories(self) -> dict[str, Any]:
        """Return the categories as the API has them, also those that were renamed or merged, and all changes."""
        self.data.check_again()
        shown = self.shown()
        settings = self.settings(shown)
        numbers = dict(shown.view.lazy("categories").select("category", "number").collect().iter_rows())
        names = (*self.categories(shown), *(name for name in settings.became if name in numbers))
        found = [
            {
                "category": name,
                "number": numbers.get(name),
                "colour": settings.colours.get(name),
                "key": settings.keys.get(name),
                "merged_into": settings.became.get(name),
            }
            for name in dict.fromkeys(names)
        ]
        changes = [
            {
                "change_id": each["change_id"],
                "kind": each["kind"],
                "category": each["subject"],
                "value": each["value"],
                "user": each["author"],
                "at_ns": each["at_ns"],
                "undone": each["undone"],
            }
            for each in settings.changes
        ]
        return {"categories": found, "changes": changes}

    def frame(self, place: Place, person: Participant) -> dict[str, Any]:
        """Return a frame with all that an editor needs. Raises `UnknownFrameError` where it is not there."""
        shown = self.shown()
        settings = self.settings(shown)
        self.require_frame(place)
        row = int(shown.frames.keys.find(*place) or 0)
        tables = self._frames.of(shown, row, settings)
        h = tables.image.content_hash[:16]
        with self.database.read() as connection:
            stored, objects = frame_states.of_image(connection, self.project, place, h)
            lease = leases.of_frame(connection, self.project, place)
            n_comments = frame_states.count_comments(connection, self.project, place)
        size = (tables.image.width, tables.image.height)
        if stored is None:
            seed = tables.seed
            state, revision, tags = seed.state, 0, list(seed.tags)
            there = [public(name, body, 0, size) for name, body in seed.objects.items()]
            gone = [public(name, body, 0, size) for name, body in seed.deleted.items()]
            known: Mapping[str, Body] = {**seed.objects, **seed.deleted}
            people = {"submitted_by": None, "approved_by": seed.reviewer, "note": None}
        else:
            state, revision, tags = stored.state, stored.revision, _tags(stored.tags)
            shown_as = {name: self._renamed(o.body, settings) for name, o in objects.items()}
            both = [
                (o.is_deleted, public(name, shown_as[name], o.revision, size)) for name, o in sorted(objects.items())
            ]
            there, gone = [o for is_gone, o in both if not is_gone], [o for is_gone, o in both if is_gone]
            known = shown_as
            people = {"submitted_by": stored.submitted_by, "approved_by": stored.approved_by, "note": stored.note}
        suggested = suggestions(tables.models, known)
        verdict = int(shown.frames.verdicts.bits[row])
        return {
            "stream_id": place[0],
            "frame_idx": number(place[1]),
            "h": h,
            "width": size[0] or None,
            "height": size[1] or None,
            "revision": revision,
            "state": state,
            "objects": there,
            "deleted": gone,
            "suggestions": [public(name, body, 0, size) for name, body in suggested.items()],
            **people,
            "tags": tags,
            "uncertainty": tables.uncertainty,
            "doubts": list(tables.doubts),
            "keep": bool(verdict & 1) if verdict & 2 else None,
            "lease": None if lease is None else lease_of(lease, person),
            "n_comments": n_comments,
            **self._neighbours(shown, place, row),
            "may": self._may(person, state, people["submitted_by"], settings),
        }

    def require_frame(self, place: Place) -> None:
        """Raise `UnknownFrameError` where there is no such frame."""
        if self.shown().frames.keys.find(*place) is None:
            raise UnknownFrameError(f"there is no frame {place[1]} of stream {place[0][:100]!r}")

    def _renamed(self, body: Body, settings: ProjectSettings) -> Body:
        name = settings.name_of(body["category"])
        return body if name == body["category"] else {**body, "category": name}

    def _neighbours(self, shown: Shown, place: Place, row: int) -> dict[str, Any]:
        keys = shown.frames.keys
        rows = keys.rows_of(place[0])
        return {
            "previous": number(int(keys.numbers[row - 1])) if row > rows.start else None,
            "next": number(int(keys.numbers[row + 1])) if row + 1 < rows.stop else None,
        }

    def _may(self, person: Participant, state: str, submitted_by: str | None, settings: ProjectSettings) -> list[str]:
        may = list(_EDITS) if includes(person.role, "annotator") and state != "approved" else []
        if includes(person.role, "reviewer"):
            may += [kind for kind, states in _DECISIONS.items() if state in states]
            needs_second = settings.settings["require_second_reviewer"]
            if needs_second and submitted_by in {None, person.name} and "approve" in may:
                may.remove("approve")
        return may

    def record(self, place: Place, h: str, edit: Edit, person: Participant) -> dict[str, Any]:
        """Store an edit and return the answer of the API. Raises as `events.record` does, and `ChangedImageError`."""
        shown = self.shown()
        context = self.context(shown, place, h, edit.ops)
        answer = self.database.write(lambda c: events.record(c, edit, person.author, context))
        self.note_edits()
        return answer

    def context(self, shown: Shown, place: Place, h: str, ops: Sequence[Op]) -> Context:
        """Return what an edit of a frame is checked against. Raises `ChangedImageError` where it shows another image.

        Tables are read only where nobody has edited the frame yet, or a suggestion may be accepted.
        """
        row = check_image(shown, place, h)
        settings = self.settings(shown)
        with self.database.read() as connection:
            stored = frame_states.find(connection, self.project, place, h)
        image, seed, models = None if stored is None else frame_states.image_of(stored), Seed(), {}
        if image is None or any(op["op"] == "accept" for op in ops):
            tables: FromTables = self._frames.of(shown, row, settings, needs_reason=False)
            image, seed, models = tables.image, tables.seed, dict(tables.models)
        length = leases.lease_ns(settings.settings["lease_minutes"])
        needs_second = bool(settings.settings["require_second_reviewer"])
        return Context(image, seed, frozenset(self.categories(shown)), models, needs_second, length)

    def contexts(self, places: Sequence[tuple[Place, str, Sequence[Op]]]) -> list[Context | UserError]:
        """Return what `context` does for each of many frames, in few passes over the tables; or why it raises."""
        shown = self.shown()
        settings = self.settings(shown)
        found: list[Context | UserError] = []
        with self.database.read() as connection:
            fresh = [p for p, h, _ in places if frame_states.find(connection, self.project, p, h) is None]
        rows = {place: shown.frames.keys.find(*place) for place in fresh}
        self._frames.read_many(shown, [row for row in rows.values() if row is not None], settings)
        for place, h, ops in places:
            try:
                found.append(self.context(shown, place, h, ops))
            except UserError as error:
                found.append(error)
        return found

    def note_edits(self) -> None:
        """Have edits that were stored published soon."""
        self._publication.note(self.project)


def check_image(shown: Shown, place: Place, h: str) -> int:
    """Return the row of a frame that shows an image. Raises `ChangedImageError` where it does not, or is not there."""
    row = shown.frames.keys.find(*place)
    if row is None:
        raise ChangedImageError(f"frame {place[0]} {place[1]} is not there any more; keep the work as a note", None)
    now = shown.frames.hashes([row])[0]
    if now != h:
        raise ChangedImageError(
            f"frame {place[0]} {place[1]} shows another image now, {now} instead of {h}; keep the work as a note", now
        )
    return row


def lease_of(lease: leases.FrameLease, person: Participant) -> dict[str, Any]:
    """Return a lease as the API has it; its id is for its owner alone."""
    is_mine = lease.user_id == person.user_id
    own = {"lease_id": lease.lease_id} if is_mine else {}
    return {**own, "user": lease.user_name, "is_mine": is_mine, "until": utc(lease.until_ns)}


def _tags(text: str) -> list[str]:
    return [str(tag) for tag in json.loads(text)]


class Reviews:
    """The reviews of all projects of a server."""

    def __init__(self, database: Database, data: ProjectsData, projects: Projects, recovers: bool = False) -> None:
        self._database = database
        self._data = data
        self._projects = projects
        self._recovers = recovers
        self._lock = Lock()
        self._held: dict[str, Review] = {}
        self._publication = Publication(database, lambda name: projects.named(name).workspace())

    def of(self, project: str) -> Review:
        """Return the review of a project.

        Raises `MissingError` for an unknown one, and `UserError` where the app database has lost events of it.
        """
        data = self._data.of(project)
        with self._lock:
            known = self._held.get(project)
            if known is None:
                # Before any event gets a number that the tables have given to another one.
                recovery.check(self._database, project, self._projects.named(project).workspace(), self._recovers)
                known = self._held[project] = Review(project, data, self._database, self._publication)
            known.data = data
            return known

    def start(self) -> None:
        """Publish what a server that died left behind, and with `--recover` restore what the app database lost."""
        for project in self._projects.all() if self._recovers else ():
            self.of(project.name)
        self._publication.note_left()

    def forget(self, project: str) -> None:
        """Delete what is known of a project that was deleted, now that there is a new one of its name."""
        with self._lock:
            self._held.pop(project, None)
            self._publication.forget(project)
        self._database.write(lambda c: recovery.forget(c, project))

    def publish(self, project: str) -> None:
        """Publish the edits of a project, before something reads its tables that must have them."""
        self._publication.of(project).publish()

    def close(self) -> None:
        """Publish what is left."""
        self._publication.close()
