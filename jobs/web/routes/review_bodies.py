"""Bodies of edits: operations on objects, each a model of its own. Status and source are in none of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from jobs.web.routes.bodies import Body

Id = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{8,64}$")]
EventId = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{16,64}$")]
StreamId = Annotated[str, Field(min_length=1, max_length=1000)]
FrameNumber = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Revision = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
Category = Annotated[str, Field(min_length=1, max_length=1000)]
_Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
_Box = Annotated[list[_Number], Field(min_length=4, max_length=4)]
_Ring = Annotated[list[_Number], Field(min_length=6, max_length=40_000)]
_Runs = Annotated[str, Field(min_length=1, max_length=900_000)]
_Track = Annotated[int, Field(ge=0, lt=2**53, strict=True)]
_Text = Annotated[str, Field(max_length=10_000)]
Note = Annotated[str, Field(max_length=10_000)]
_Attributes = Annotated[dict[Annotated[str, Field(min_length=1, max_length=200)], JsonValue], Field(max_length=100)]

MOST_OPS = 5000

_ByNumber = Annotated[dict[Annotated[str, Field(pattern=r"^[0-9]{1,18}$")], Id], Field(max_length=MOST_OPS)]


class _Geometry(Body):
    """A box, turned or not, or polygons, or a mask, in pixels of the upright frame; one of them at most."""

    bbox: _Box | None = None
    rotation: _Number | None = None
    polygons: Annotated[list[_Ring], Field(min_length=1, max_length=1000)] | None = None
    rle: _Runs | None = None


class _Fields(_Geometry):
    track_id: _Track | None = None
    keyframe: bool | None = None
    text: _Text | None = None
    is_crowd: bool | None = None
    attributes: _Attributes | None = None


class Add(_Fields):
    """A new object, under an id that the client makes."""

    op: Literal["add"]
    object_id: Id
    category: Category


class _Set(_Fields):
    op: Literal["set"]
    category: Annotated[str, Field(min_length=1, max_length=1000)] = ""


class Set(_Set):
    """Fields of an object that change; the geometry changes as a whole, attributes one by one (null deletes)."""

    object_id: Id


class Delete(Body):
    """A deleted object: rejected if a model found it."""

    op: Literal["delete"]
    object_id: Id


class Restore(Body):
    """A deleted object, as it was."""

    op: Literal["restore"]
    object_id: Id


class Accept(Body):
    """An object that is right as it is, or a suggestion that becomes an object."""

    op: Literal["accept"]
    object_id: Id


class Negative(Body):
    """Nothing is on the frame: all objects are deleted."""

    op: Literal["negative"]


class Tags(Body):
    """Tags of the frame as a whole."""

    op: Literal["tags"]
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100)]


AnyOp = Annotated[Add | Set | Delete | Restore | Accept | Negative | Tags, Field(discriminator="op")]


class _Event(Body):
    event_id: EventId
    stream: StreamId
    idx: FrameNumber
    h: Hash
    base_revision: Revision
    ops: Annotated[tuple[AnyOp, ...], Field(max_length=MOST_OPS)] = ()
    note: Note | None = None
    ms: Annotated[int, Field(ge=0, le=86_400_000, strict=True)] | None = None

    @property
    def operations(self) -> tuple[dict[str, Any], ...]:
        """Return the operations with the fields that were given."""
        return tuple(op.model_dump(exclude_unset=True) for op in self.ops)


class NewEvent(_Event):
    """An edit of a frame, or its submission."""

    kind: Literal["edit", "submit"]


class NewDecision(_Event):
    """The approval of a frame, with corrections if any; its return; or an approved one is opened once more."""

    kind: Literal["approve", "return", "reopen"]


class FramePlace(Body):
    """A frame."""

    stream: StreamId
    idx: FrameNumber


class BulkSet(_Set):
    """Fields that change on all named objects."""


class BulkDelete(Body):
    """All named objects are deleted."""

    op: Literal["delete"]


class BulkAccept(Body):
    """All named objects are right as they are."""

    op: Literal["accept"]


class BulkFrame(Body):
    """A frame and the objects on it that a bulk edit is about."""

    stream: StreamId
    idx: FrameNumber
    h: Hash
    base_revision: Revision | None = None
    objects: Annotated[tuple[Id, ...], Field(max_length=MOST_OPS)] = ()


class TrackKeyframe(Body):
    """A box that a person drew of a track; from one that is not visible on, there is none until the next one."""

    idx: FrameNumber
    bbox: _Box
    rotation: _Number = 0.0
    visible: bool = True


class NewTrack(Body):
    """A track of a stream: boxes at keyframes, and the ids of the boxes that it has already, by frame number."""

    event_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{16,48}$")]
    stream: StreamId
    category: Category
    keyframes: Annotated[list[TrackKeyframe], Field(min_length=1, max_length=1000)]
    track_id: _Track | None = None
    objects: Annotated[dict[Annotated[str, Field(pattern=r"^[0-9]{1,18}$")], Id] | None, Field(max_length=MOST_OPS)] = (
        None
    )


class NewBulk(Body):
    """One operation on many objects, or the approval of many frames."""

    event_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{16,48}$")]
    kind: Literal["edit", "approve"]
    op: Annotated[BulkSet | BulkDelete | BulkAccept, Field(discriminator="op")] | None = None
    frames: Annotated[list[BulkFrame], Field(min_length=1, max_length=MOST_OPS)]
