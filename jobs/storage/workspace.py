"""A workspace: the folder, or the prefix in a bucket, that contains the tables."""

from __future__ import annotations

import json
import os
import re
import secrets
from importlib.metadata import version
from pathlib import Path

from jobs.core.errors import UnusableWorkspaceError, UserError
from jobs.storage import paths
from jobs.storage.paths import Place
from transforms.io.object_store import SCHEME

FORMAT = 1
"""Format of a workspace; raised when an older version of the program could no longer read it rightly."""

_MARKER = "winnow.json"
_SHOWN = 60
_UNUSABLE = re.compile(r"%[0-9A-Fa-f]{2}|[\x00-\x1f\x7f]")
DEFAULT = ".winnow"


class Workspace:
    """A workspace on a local or mounted file system, or in a bucket."""

    def __init__(self, root: Place) -> None:
        self.root = root

    @classmethod
    def at(cls, uri: str | os.PathLike[str] | Place | None = None) -> Workspace:
        """Return the workspace at a path or URI, `$WINNOW_WORKSPACE` or `.winnow`; it need not exist yet.

        Raises `UserError` where the place is taken by something else or was written by a newer version.
        """
        named = str(uri or os.environ.get("WINNOW_WORKSPACE") or DEFAULT)
        if "://" in named and not named.startswith(("file://", SCHEME)):
            raise UserError(f"workspace {named}: expected a folder, or s3://BUCKET/PREFIX")
        root = paths.absolute(named)
        if root.is_bucket:
            raise UserError(f"workspace {named}: expected a prefix in the bucket, as in s3://BUCKET/winnow")
        # A place that the library of the tables takes for another one: it decodes once too often, links resolved.
        if wrong := _UNUSABLE.search(str(root) if root.is_remote else os.path.realpath(str(root))):
            raise UserError(
                f"workspace {root}: expected a path without {wrong[0]!r}; no table can be below a name with control "
                "characters, or with % before two hex digits"
            )
        found = cls(root)
        found._check()
        return found

    @property
    def folder(self) -> Path:
        """Return the folder of a workspace that has one. Raises `UserError` for one in a bucket."""
        folder = self.root.on_disk()
        if folder is None:
            raise UserError(f"workspace {self.root}: expected a folder, found a prefix in a bucket")
        return folder

    @property
    def exists(self) -> bool:
        """Return whether the workspace was ever written."""
        return (self.root / _MARKER).exists()

    def require(self) -> Workspace:
        """Return the workspace if it exists, else raise `UnusableWorkspaceError`."""
        if not self.exists:
            raise UnusableWorkspaceError(
                f"there is no workspace at {self.root}; run `winnow run --input FOLDER` first, or name another "
                "with --workspace or $WINNOW_WORKSPACE"
            )
        return self

    def create(self) -> Workspace:
        """Make the folder and mark it, if that was not done. Raises `UserError` where it cannot be written."""
        try:
            self.root.make_folder()
            probe = self.root / f".writable-{os.getpid()}-{secrets.token_hex(4)}"
            probe.touch()
            try:
                self._mark(probe)
            finally:
                probe.delete()
        except OSError as error:
            raise UserError(f"workspace {self.root} cannot be written: {error.strerror or error}") from error
        return self

    def _mark(self, probe: Place) -> None:
        if self.exists:
            return
        if probe.create(b"second"):
            # Such a store would let two gateways claim the same job.
            raise UserError(
                f"workspace {self.root}: this object store writes over what is there though it is asked not to "
                "(If-None-Match); expected one with conditional writes, see docs/objectstore.md"
            )
        marker = {"format": FORMAT, "created_by": f"winnow {version('winnow')}", "id": secrets.token_hex(8)}
        (self.root / _MARKER).create(json.dumps(marker).encode() + b"\n")

    def _check(self) -> None:
        try:
            if self.root.is_not_a_folder():
                raise UnusableWorkspaceError(f"workspace {self.root} is a file, expected a folder")
            try:
                marker = json.loads((self.root / _MARKER).read())
            except FileNotFoundError:
                # What begins with a dot may be what a creation left that was cut short.
                if self.root.has_entries():
                    raise UnusableWorkspaceError(
                        f"workspace {self.root} is a folder with other things in it (no {_MARKER}); name an empty or "
                        "new one with --workspace"
                    ) from None
                return
        except (OSError, ValueError) as error:
            raise UnusableWorkspaceError(f"workspace {self.root} cannot be read: {error}") from error
        number = marker.get("format") if isinstance(marker, dict) else None
        if type(number) is not int or number < 1:
            raise UnusableWorkspaceError(
                f"workspace {self.root}: {_MARKER} is damaged, expected an object that says the format of the tables, "
                f'found {json.dumps(marker)[:_SHOWN]}; bring it back from a backup, or write {{"format": {FORMAT}}} '
                "into it"
            )
        if number > FORMAT:
            raise UnusableWorkspaceError(
                f"workspace {self.root} has format {number}, written by {marker.get('created_by', '?')}; "
                f"this version reads up to format {FORMAT}: upgrade winnow"
            )
