"""The tables of accounts, as SQLAlchemy Core declares them; times are nanoseconds since 1970.

`jobs/accounts/migrations/` makes them; a test compares both. Nothing here is for `winnow sql`: what a query over frames
should see is a Delta table.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()

USERS = Table(
    "users",
    METADATA,
    Column("user_id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    # Null for those who sign in through the terminal or through a provider alone.
    Column("password_hash", Text),
    Column("is_admin", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("session_id", Text, primary_key=True),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("user_id", Text, ForeignKey("users.user_id"), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("seen_ns", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    # Made by a one-time address of the terminal: holds for requests from this machine alone.
    Column("is_local", Boolean, nullable=False),
    Index("sessions_of_user", "user_id"),
)

KEYS = Table(
    "keys",
    METADATA,
    Column("key_id", Text, primary_key=True),
    Column("secret_hash", Text, nullable=False),
    Column("user_id", Text, ForeignKey("users.user_id"), nullable=False),
    Column("name", Text, nullable=False),
    # Names with spaces between them.
    Column("scopes", Text, nullable=False),
    # Null for all projects of its owner.
    Column("project", Text),
    Column("created_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("used_ns", BigInteger),
    Column("revoked_ns", BigInteger),
    Index("keys_of_user", "user_id"),
)

INVITATIONS = Table(
    "invitations",
    METADATA,
    Column("invitation_id", Text, primary_key=True),
    Column("token_hash", Text, nullable=False, unique=True),
    # invitation: makes an account; reset: sets a new password; enter: signs in from the terminal of this machine.
    Column("kind", Text, nullable=False),
    Column("user_id", Text, ForeignKey("users.user_id")),
    Column("is_admin", Boolean, nullable=False),
    Column("project", Text),
    Column("role", Text),
    Column("created_by", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("used_ns", BigInteger),
)

MEMBERS = Table(
    "members",
    METADATA,
    Column("project", Text, nullable=False),
    Column("user_id", Text, ForeignKey("users.user_id"), nullable=False),
    Column("role", Text, nullable=False),
    PrimaryKeyConstraint("project", "user_id"),
)

# By whom somebody signs in, where that is a provider: its own name of the person, never an e-mail address, which
# providers give to others again, or do not verify.
IDENTITIES = Table(
    "identities",
    METADATA,
    Column("identity_id", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("user_id", Text, ForeignKey("users.user_id"), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    UniqueConstraint("issuer", "subject", name="identities_by_subject"),
    Index("identities_of_user", "user_id"),
)

THROTTLE = Table(
    "throttle",
    METADATA,
    # What is counted: `name:…` or `address:…`.
    Column("bucket", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    # SQLite numbers rows by itself only where the type is its own INTEGER.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at_ns", BigInteger, nullable=False),
    # Null where nobody is signed in; no foreign key, since an entry outlives whom it names.
    Column("user_id", Text),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("project", Text),
    # A JSON object.
    Column("detail", Text, nullable=False),
    Column("address", Text, nullable=False),
)

KEYMAPS = Table(
    "keymaps",
    METADATA,
    Column("user_id", Text, ForeignKey("users.user_id"), primary_key=True),
    # A JSON object: keys by command.
    Column("keys", Text, nullable=False),
    Column("changed_ns", BigInteger, nullable=False),
)
