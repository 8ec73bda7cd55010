"""ROS 2 bags in SQLite, files `*.db3` (rosbag2_storage_default_plugins), with or without their `metadata.yaml`."""

from __future__ import annotations

import sqlite3
from urllib.parse import quote

from transforms.io.recordings.messages import Channel, Places, RecordingError, StoredMessage

MAGIC = b"SQLite format 3\0"


class Ros2Database:
    """An open bag; see `Recording`. Raises `RecordingError` for what is no such database.

    It is opened for reading only, with what its log of changes holds where it was not closed.
    """

    is_whole = True

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            # Threads take turns, with a lock of the caller.
            self._rows = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, check_same_thread=False)
            found = self._rows.execute("SELECT id, name, type, serialization_format FROM topics ORDER BY id").fetchall()
            self._rows.execute("SELECT id, topic_id, timestamp FROM messages LIMIT 1").fetchall()
        except sqlite3.Error as error:
            raise RecordingError(f"expected a ROS 2 bag, a database with topics and messages: {error}") from error
        # Definitions are in the file of newer versions only, and types of images are known without.
        self._by_id = {number: Channel(name, kind, form, "", b"") for number, name, kind, form in found}

    @property
    def channels(self) -> list[Channel]:
        """Return the channels, in the order of their numbers."""
        return list(self._by_id.values())

    def places(self, topic: str) -> Places:
        """Return where the messages of a topic are, in the order of the file."""
        wanted = [number for number, channel in self._by_id.items() if channel.topic == topic]
        marks = ", ".join("?" * len(wanted))
        query = f"SELECT timestamp, -1, id, LENGTH(data) FROM messages WHERE topic_id IN ({marks}) ORDER BY id"
        try:
            return Places.of(self._rows.execute(query, wanted).fetchall())
        except sqlite3.Error as error:
            raise RecordingError(f"{self._path}: messages of {topic} cannot be listed: {error}") from error

    def message(self, block: int, offset: int) -> StoredMessage:  # noqa: ARG002 - the id of the row is the place
        """Return the message of an id. Raises `RecordingError` where there is none."""
        try:
            row = self._rows.execute("SELECT topic_id, data FROM messages WHERE id = ?", [offset]).fetchone()
        except sqlite3.Error as error:
            raise RecordingError(f"{self._path}: message {offset} cannot be read: {error}") from error
        if row is None or row[0] not in self._by_id:
            raise RecordingError(f"{self._path}: expected a message {offset}, found none: the file is another one now")
        return StoredMessage(self._by_id[row[0]], row[1])

    def close(self) -> None:
        """Close the database."""
        self._rows.close()
