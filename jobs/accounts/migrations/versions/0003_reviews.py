"""Reviews in the browser: frames with a state, their objects, events, leases, skips and comments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "review_frames",
        sa.Column("frame_id", number, primary_key=True, autoincrement=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("frame_idx", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("n_objects", sa.Integer, nullable=False),
        sa.Column("submitted_by", sa.Text),
        sa.Column("approved_by", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("updated_ns", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("project", "stream_id", "frame_idx", "content_hash", name="review_frames_key"),
    )
    op.create_index("review_frames_changed", "review_frames", ["project", "last_seq"])
    op.create_table(
        "review_objects",
        sa.Column("frame_id", number, sa.ForeignKey("review_frames.frame_id"), nullable=False),
        sa.Column("object_id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("is_deleted", sa.Boolean, nullable=False),
        sa.Column("changed_by", sa.Text),
        sa.Column("changed_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("frame_id", "object_id", name="review_objects_key"),
    )
    op.create_table(
        "review_events",
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("frame_id", number, sa.ForeignKey("review_frames.frame_id"), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("ops", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("active_ms", sa.Integer),
        sa.Column("approved", sa.Text),
        sa.PrimaryKeyConstraint("project", "seq", name="review_events_key"),
        sa.UniqueConstraint("project", "event_id", name="review_events_id"),
        sa.UniqueConstraint("frame_id", "revision", name="review_events_revision"),
    )
    op.create_table(
        "review_leases",
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("frame_idx", sa.BigInteger, nullable=False),
        sa.Column("lease_id", sa.Text, nullable=False, unique=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.user_id"), nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("project", "stream_id", "frame_idx", name="review_leases_key"),
    )
    op.create_table(
        "review_skips",
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.user_id"), nullable=False),
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("frame_idx", sa.BigInteger, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("project", "user_id", "stream_id", "frame_idx", name="review_skips_key"),
    )
    op.create_table(
        "review_comments",
        sa.Column("comment_id", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("frame_idx", sa.BigInteger, nullable=False),
        sa.Column("object_id", sa.Text),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("review_comments_of_frame", "review_comments", ["project", "stream_id", "frame_idx"])
    op.create_table(
        "review_progress",
        sa.Column("project", sa.Text, primary_key=True),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("published_seq", sa.BigInteger, nullable=False),
    )
