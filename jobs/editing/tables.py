"""The tables of reviews in the app database: frames with a state, their objects, events, leases, skips, comments.

They are of the same database as the accounts, so that one transaction holds an edit and its lease; the scripts in
`jobs/accounts/migrations/` make them. Times are nanoseconds since 1970. What queries over frames should see is
published to Delta tables.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from jobs.accounts.tables import METADATA

_NUMBER = BigInteger().with_variant(Integer, "sqlite")

FRAMES = Table(
    "review_frames",
    METADATA,
    Column("frame_id", _NUMBER, primary_key=True, autoincrement=True),
    Column("project", Text, nullable=False),
    Column("stream_id", Text, nullable=False),
    Column("frame_idx", BigInteger, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    # open, submitted, returned or approved.
    Column("state", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("n_objects", Integer, nullable=False),
    # Names of people, as events have them.
    Column("submitted_by", Text),
    Column("approved_by", Text),
    Column("note", Text),
    # A JSON list.
    Column("tags", Text, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    UniqueConstraint("project", "stream_id", "frame_idx", "content_hash", name="review_frames_key"),
    Index("review_frames_changed", "project", "last_seq"),
)

OBJECTS = Table(
    "review_objects",
    METADATA,
    Column("frame_id", _NUMBER, ForeignKey("review_frames.frame_id"), nullable=False),
    Column("object_id", Text, nullable=False),
    # A JSON object.
    Column("body", Text, nullable=False),
    # Of the frame, when the object was last changed.
    Column("revision", Integer, nullable=False),
    Column("is_deleted", Boolean, nullable=False),
    Column("changed_by", Text),
    Column("changed_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("frame_id", "object_id", name="review_objects_key"),
)

EVENTS = Table(
    "review_events",
    METADATA,
    Column("project", Text, nullable=False),
    # Without a gap in a project.
    Column("seq", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("frame_id", _NUMBER, ForeignKey("review_frames.frame_id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    # What changed, as a JSON list.
    Column("ops", Text, nullable=False),
    # Of the request: the same event_id with other content is another edit.
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("note", Text),
    Column("at_ns", BigInteger, nullable=False),
    Column("active_ms", Integer),
    # The objects that an approval lets stand, as a JSON object; null for other kinds.
    Column("approved", Text),
    PrimaryKeyConstraint("project", "seq", name="review_events_key"),
    UniqueConstraint("project", "event_id", name="review_events_id"),
    UniqueConstraint("frame_id", "revision", name="review_events_revision"),
)

LEASES = Table(
    "review_leases",
    METADATA,
    Column("project", Text, nullable=False),
    Column("stream_id", Text, nullable=False),
    Column("frame_idx", BigInteger, nullable=False),
    Column("lease_id", Text, nullable=False, unique=True),
    Column("user_id", Text, ForeignKey("users.user_id"), nullable=False),
    Column("user_name", Text, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("project", "stream_id", "frame_idx", name="review_leases_key"),
)

SKIPS = Table(
    "review_skips",
    METADATA,
    Column("project", Text, nullable=False),
    Column("user_id", Text, ForeignKey("users.user_id"), nullable=False),
    Column("stream_id", Text, nullable=False),
    Column("frame_idx", BigInteger, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("project", "user_id", "stream_id", "frame_idx", name="review_skips_key"),
)

COMMENTS = Table(
    "review_comments",
    METADATA,
    Column("comment_id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("stream_id", Text, nullable=False),
    Column("frame_idx", BigInteger, nullable=False),
    Column("object_id", Text),
    Column("user_name", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Index("review_comments_of_frame", "project", "stream_id", "frame_idx"),
)

PROGRESS = Table(
    "review_progress",
    METADATA,
    Column("project", Text, primary_key=True),
    # The last number that was given to an event, and the last one that the tables have.
    Column("last_seq", BigInteger, nullable=False),
    Column("published_seq", BigInteger, nullable=False),
)
