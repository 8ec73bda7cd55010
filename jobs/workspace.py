"""The folder in which a workspace's tables lie."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path

from jobs.errors import UserError

FORMAT = 1
"""Format of a workspace; raised when an older version of the program could no longer read it rightly."""

_MARKER = "winnow.json"
DEFAULT = ".winnow"


class Workspace:
    """A workspace on a local or mounted file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def at(cls, uri: str | os.PathLike[str] | None = None) -> Workspace:
        """Return the workspace at a path, `$WINNOW_WORKSPACE` or `.winnow`; it need not exist yet.

        Raises `UserError` where the place is taken by something else or was written by a newer version.
        """
        named = os.fspath(uri or os.environ.get("WINNOW_WORKSPACE") or DEFAULT)
        if "://" in named and not named.startswith("file://"):
            raise UserError(f"workspace {named}: expected a folder; object stores are not supported yet")
        root = Path(named.removeprefix("file://")).expanduser().absolute()
        found = cls(root)
        found._check()
        return found

    @property
    def exists(self) -> bool:
        """Say whether the workspace was ever written."""
        return (self.root / _MARKER).is_file()

    def require(self) -> Workspace:
        """Return the workspace if it exists, else raise `UserError`."""
        if not self.exists:
            raise UserError(
                f"there is no workspace at {self.root}; run `winnow run --input FOLDER` first, or name another "
                "with --workspace or $WINNOW_WORKSPACE"
            )
        return self

    def create(self) -> Workspace:
        """Make the folder and mark it, if that was not done. Raises `UserError` where it cannot be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
            if not self.exists:
                write_atomically(
                    self.root / _MARKER,
                    json.dumps({"format": FORMAT, "created_by": f"winnow {version('winnow')}"}).encode() + b"\n",
                )
        except OSError as error:
            raise UserError(f"workspace {self.root} cannot be written: {error.strerror or error}") from error
        return self

    def _check(self) -> None:
        try:
            if self.root.exists() and not self.root.is_dir():
                raise UserError(f"workspace {self.root} is a file, expected a folder")
            if not self.exists:
                # What begins with a dot may be what a creation left that was cut short.
                if self.root.is_dir() and any(not entry.name.startswith(".") for entry in self.root.iterdir()):
                    raise UserError(
                        f"workspace {self.root} is a folder with other things in it (no {_MARKER}); name an empty or "
                        "new one with --workspace"
                    )
                return
            marker = json.loads((self.root / _MARKER).read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"workspace {self.root} cannot be read: {error}") from error
        if marker.get("format", 0) > FORMAT:
            raise UserError(
                f"workspace {self.root} has format {marker['format']}, written by {marker.get('created_by', '?')}; "
                f"this version reads up to format {FORMAT}: upgrade winnow"
            )


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a loss of power."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
