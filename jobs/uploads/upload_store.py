"""The uploads of a workspace: records, bytes, and the names under which runs find them.

`uploads/records/ID/` has the record of an upload, and its bytes while they arrive; `uploads/objects/ab/HASH.SUFFIX` has
contents that are whole and usable, under their BLAKE3; `uploads/files/` has the same files by the names that people
gave them (hard links, no second copy), and links to what was registered. One process writes here: the server of the
workspace. Each step is atomic and is repeated at the next start if the process dies in it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import Any

from jobs.core.errors import UserError
from jobs.storage.local_paths import LocalPath
from jobs.uploads import upload_space
from jobs.uploads.errors import NameTakenError, UploadMissingError
from jobs.uploads.prober import Prober
from jobs.uploads.upload_file import ContentHash, UploadFile, cut_unchecked, unchecked_mark
from jobs.uploads.upload_names import checked_path
from jobs.uploads.upload_record import Upload, new_id, read_record

FOLDER = "uploads"
FILES = "files"
"""Folder of the files by name, in that of the uploads."""

KEPT_S = 7 * 24 * 3600
"""For how long unfinished and rejected uploads are kept, after their last byte or their end."""

_MOST_LENGTH = 1 << 50
_RECORD = "record.json"


class UploadStore:
    """The uploads of one workspace on disk; safe for threads of one process."""

    def __init__(self, root: Path, quota: int | None = None) -> None:
        """Read the records below a workspace. `quota`: bytes that its uploads may take in all, None for any."""
        self._folder = root / FOLDER
        self._records = self._folder / "records"
        self._quota = quota
        self._lock = RLock()
        self._known: dict[str, Upload] = {}
        for folder in sorted(self._records.iterdir()) if self._records.is_dir() else ():
            try:
                self._known[folder.name] = read_record((folder / _RECORD).read_bytes())
            except (OSError, ValueError):
                # A process died before it had written the record: nobody knows of this upload.
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if self._known[folder.name].state == "receiving":
                cut_unchecked(self.data_of(self._known[folder.name]))

    @property
    def files(self) -> Path:
        """Return the folder of the files by name."""
        return self._folder / FILES

    def all(self) -> list[Upload]:
        """Return all uploads, the oldest first."""
        with self._lock:
            return [self._known[name] for name in sorted(self._known)]

    def get(self, upload_id: str) -> Upload:
        """Return an upload. Raises `UploadMissingError`."""
        with self._lock:
            found = self._known.get(upload_id)
        if found is None:
            raise UploadMissingError(f"there is no upload {upload_id[:60]!r}")
        return found

    def data_of(self, upload: Upload) -> Path:
        """Return where the bytes of an upload are while they arrive, and until they are known to be usable."""
        return self._records / upload.upload_id / f"data{PurePosixPath(upload.path).suffix.lower()}"

    def offset_of(self, upload: Upload) -> int:
        """Return how many bytes of an upload are there."""
        if upload.state != "receiving":
            return upload.length
        try:
            return self.data_of(upload).stat().st_size
        except FileNotFoundError:
            return 0

    def flushed_offset(self, upload: Upload) -> int:
        """Return how many bytes of an upload are on disk for good: what is there is flushed first."""
        if upload.state == "receiving":
            file = UploadFile(self.data_of(upload), ContentHash())
            try:
                file.flush()
            finally:
                file.close()
        return self.offset_of(upload)

    def expires_s(self, upload: Upload) -> float | None:
        """Return when an upload is given up unless more of it comes, in seconds since 1970; None for a usable one."""
        if upload.state == "rejected":
            return upload.changed_ns / 1e9 + KEPT_S
        if upload.state != "receiving":
            return None
        try:
            return self.data_of(upload).stat().st_mtime + KEPT_S
        except FileNotFoundError:
            return upload.created_ns / 1e9 + KEPT_S

    def create(self, owner: str, owner_name: str, path: str, length: int, **more: Any) -> Upload:
        """Begin an upload; `more` are further fields of its record.

        Raises `UserError` for a name or length that cannot be, `NameTakenError`, and `NoSpaceError`.
        """
        name = checked_path(path)
        if not 0 < length <= _MOST_LENGTH:
            raise UserError(f"name {name.name!r}: expected a file with bytes in it, found a length of {length}")
        with self._lock:
            self._check_name(name, length)
            self._folder.mkdir(exist_ok=True)
            open_ = [u for u in self._known.values() if u.state == "receiving"]
            promised = sum(max(0, u.length - self.offset_of(u)) for u in open_)
            kept = upload_space.kept_bytes(self._known.values()) + sum(map(self.offset_of, open_))
            upload_space.check_space(self._folder, length, promised, kept, self._quota)
            now = time.time_ns()
            made = Upload(new_id(), owner, owner_name, str(name), length, now, changed_ns=now, **more)
            self.data_of(made).parent.mkdir(parents=True)
            self.data_of(made).touch(0o600)
            return self._write(made)

    def _check_name(self, name: PurePosixPath, length: int) -> None:
        """Raise `NameTakenError` where another file has, or is about to have, a name; equal ones may come twice."""
        fix = "send it under another name, or below another folder"
        for part in name.parents:
            if str(part) != "." and ((self.files / part).is_file() or (self.files / part).is_symlink()):
                raise NameTakenError(f"name {name}: {part} is a file here; {fix}")
        if (self.files / name).is_dir():
            raise NameTakenError(f"name {name}: there is a folder of this name; {fix}")
        for other in self._known.values():
            if other.path == str(name) and other.state != "rejected" and other.length != length:
                raise NameTakenError(
                    f"name {name}: another file of this name is here, of {other.length:,} bytes; expected {length:,}; "
                    + fix
                )

    def receive(self, upload: Upload, content: str) -> Upload:
        """Record that all bytes of an upload are there and have this hash."""
        if upload.declared is not None and upload.declared != content:
            why = f"expected the content that its sender declared ({upload.declared[:16]}…), found {content[:16]}…"
            return self.reject(replace(upload, blake3=content), why)
        return self._write(replace(upload, state="received", blake3=content))

    def settle(self, upload_id: str, prober: Prober) -> Upload:
        """Probe an upload that was received, and make it usable or reject it. Raises `OSError`."""
        upload = self.get(upload_id)
        if upload.state != "received":
            return upload
        assert upload.blake3 is not None
        content = upload.blake3
        data, twin = self.data_of(upload), self._object_of(content)
        found: dict[str, Any] = {}
        if data.exists() and (twin is None or twin.suffix != data.suffix):
            probed = prober.probe(data)
            if probed.why is not None:
                return self.reject(upload, probed.why)
            found = probed.found
        if twin is None:
            twin = self._keep(data, content)
        elif data.exists():
            # The record says so before its bytes are dropped.
            upload = self._write(replace(upload, already_there=True))
            data.unlink()
        found = found or self._found_before(content) or prober.probe(twin).found
        with self._lock:
            taken = self.files / upload.path
            if not taken.exists():
                taken.parent.mkdir(parents=True, exist_ok=True)
                os.link(twin, taken)
                _flush(taken.parent)
            elif not taken.samefile(twin):
                return self.reject(upload, "another file of this name is here; send it under another name or folder")
            return self._write(replace(upload, state="ready", found=found))

    def _found_before(self, content: str) -> dict[str, Any]:
        """Return what was found in a content when it came before; nothing if it did not."""
        return next((u.found for u in self.all() if u.blake3 == content and u.state == "ready"), {})

    def reject(self, upload: Upload, why: str) -> Upload:
        """Record why an upload cannot be used."""
        return self._write(replace(upload, state="rejected", why=(why,)))

    def delete(self, upload_id: str) -> None:
        """Delete an upload, its name, and its bytes unless others have the same. What was registered stays."""
        with self._lock:
            upload = self.get(upload_id)
            others = [u for u in self._known.values() if u.upload_id != upload_id and u.state in {"ready", "received"}]
            if upload.state == "ready" and not any(u.path == upload.path for u in others):
                (self.files / upload.path).unlink(missing_ok=True)
                self._drop_empty((self.files / upload.path).parent)
            if upload.state == "ready" and upload.blake3 and not any(u.blake3 == upload.blake3 for u in others):
                twin = self._object_of(upload.blake3)
                if twin is not None:
                    twin.unlink(missing_ok=True)
            del self._known[upload_id]
            folder = self._records / upload_id
            # Without its record, what is left is deleted by the next start.
            (folder / _RECORD).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)

    def add_registered(self, owner: str, owner_name: str, name: str, source: Path, found: dict[str, Any]) -> Upload:
        """Keep a link to a place on the server. Raises `NameTakenError`."""
        with self._lock:
            link = self.files / name
            if link.is_symlink() and link.readlink() == source:
                return next(u for u in self._known.values() if u.path == name and u.source is not None)
            if link.exists() or link.is_symlink() or any(u.path == name for u in self._known.values()):
                raise NameTakenError(f"name {name}: something of this name is here; register it under another one")
            now = time.time_ns()
            made = Upload(new_id(), owner, owner_name, name, 0, now, "ready", found=found, source=str(source))
            link.parent.mkdir(parents=True, exist_ok=True)
            (self._records / made.upload_id).mkdir(parents=True)
            link.symlink_to(source)
            return self._write(made)

    def unsettled(self) -> list[str]:
        """Return the ids of uploads that were received and not yet checked: their process died, or is about to."""
        return [u.upload_id for u in self.all() if u.state == "received"]

    def complete(self) -> list[Upload]:
        """Return the uploads that have all their bytes, of which nobody recorded it before the process died."""
        return [u for u in self.all() if u.state == "receiving" and self.offset_of(u) == u.length]

    def expired(self) -> Iterator[Upload]:
        """Yield unfinished and rejected uploads that were kept for long enough."""
        now = time.time()
        for upload in self.all():
            until = self.expires_s(upload)
            if until is not None and until < now:
                yield upload

    def _object_of(self, content: str) -> Path | None:
        """Return the file with a content, None where there is none. Its suffix is that of the first who sent it."""
        folder = self._folder / "objects" / content[:2]
        return next(folder.glob(f"{content}.*"), None) if folder.is_dir() else None

    def _keep(self, data: Path, content: str) -> Path:
        """Move a file to the name of its content."""
        target = self._folder / "objects" / content[:2] / f"{content}{data.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        # Runs trust size and time of a file: its bytes never change again.
        data.chmod(0o444)
        os.replace(data, target)
        _flush(target.parent)
        return target

    def _write(self, upload: Upload) -> Upload:
        with self._lock:
            changed = replace(upload, changed_ns=time.time_ns())
            LocalPath(self._records / upload.upload_id / _RECORD).write(changed.as_json())
            if changed.state == "received":
                unchecked_mark(self.data_of(changed)).unlink(missing_ok=True)
            self._known[upload.upload_id] = changed
            return changed

    def _drop_empty(self, folder: Path) -> None:
        """Delete folders that have become empty, up to that of the files."""
        while folder != self.files and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
