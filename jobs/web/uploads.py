"""Uploads while a server runs: whose turn it is to write a file, what is left to check, and what is given up.

A request that comes for an upload ends the one before it: after a network has changed, the old connection looks open
for minutes, and nobody waits for it. Bytes go to disk in threads of their own, a megabyte at a time, so that other
routes are answered meanwhile, and memory does not grow with the size of files.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from jobs.core.errors import UserError
from jobs.uploads.prober import Prober
from jobs.uploads.upload_file import ContentHash, UploadFile, unchecked_mark
from jobs.uploads.upload_record import Upload
from jobs.uploads.upload_store import UploadStore
from jobs.web.event_ring import EventRing
from jobs.web.problems import StateConflictError
from jobs.web.projects import Projects
from jobs.web.upload_body import SUPERSEDED, BodyPieces, Turn, UploadBody
from jobs.web.upload_errors import SupersededError, TooLongError, WrongChecksumError

_SWEEP_S = 600.0
_THREADS = 4
_HASHES = 256
_Result = TypeVar("_Result")
_LOG = logging.getLogger("winnow.web")


@dataclass
class _Place:
    """An upload as this process knows it: who writes it, and how much of it is hashed."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    turn: Turn | None = None
    newest: int = 0
    content: ContentHash = field(default_factory=ContentHash)


class Uploads:
    """The uploads of all projects of a server; belongs to its event loop."""

    def __init__(self, projects: Projects, quota: int | None) -> None:
        """`quota`: bytes that uploads of one project may take."""
        self._projects = projects
        self._quota = quota
        self._stores: dict[str, UploadStore] = {}
        self._places: dict[str, _Place] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "uploads")
        self._checks = ThreadPoolExecutor(1, "upload-checks")
        self._prober = Prober()
        self._ring: EventRing | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()

    def start(self, ring: EventRing) -> None:
        """Finish what an earlier process left, now, and give up what is too old from time to time."""
        self._ring = ring
        self._spawn(self._sweep())

    async def close(self) -> None:
        """End requests that write, and the checks."""
        for place in self._places.values():
            if place.turn is not None:
                place.turn.is_over.set()
        for task in tuple(self._tasks):
            task.cancel()
        self._prober.close()
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._checks.shutdown, cancel_futures=True)

    async def of(self, project: str) -> UploadStore:
        """Return the uploads of a project. Raises `UserError` where its workspace is in a bucket."""
        workspace = await asyncio.to_thread(lambda: self._projects.named(project).workspace())
        folder = workspace.root.on_disk()
        if folder is None:
            raise StateConflictError(
                f"project {project} is in a bucket, and the server keeps no files for it: put them into the bucket, "
                "and name its prefix as the input of a run"
            )
        key = str(folder)
        async with self._opening:
            if key not in self._stores:
                self._stores[key] = await self.in_thread(lambda: UploadStore(Path(folder), self._quota))
                await self._recover(project, self._stores[key])
        return self._stores[key]

    async def in_thread(self, work: Callable[[], _Result]) -> _Result:
        """Run work that reads or writes files in a thread of the uploads, to its end even if nobody waits any more."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, work))

    @asynccontextmanager
    async def turn(self, upload_id: str) -> AsyncIterator[Turn]:
        """Have the turn at an upload, after the request that had it has ended."""
        if len(self._places) > _HASHES:
            # What is forgotten here is read again when its upload ends.
            for name in [n for n, p in self._places.items() if p.turn is None and not p.lock.locked()][:_HASHES]:
                del self._places[name]
        place = self._places.setdefault(upload_id, _Place())
        if place.turn is not None:
            place.turn.is_over.set()
        place.newest += 1
        number = place.newest
        async with place.lock:
            if number != place.newest:
                raise SupersededError(SUPERSEDED)
            mine = place.turn = Turn()
            try:
                yield mine
            finally:
                if place.turn is mine:
                    place.turn = None

    async def append(
        self, project: str, upload: Upload, body: UploadBody, turn: Turn, checksum: bytes | None = None
    ) -> tuple[Upload, int]:
        """Append the body of a request to an upload; return it, and how many bytes it has now.

        What came before the request was cut is kept, unless its checksum (SHA-256) is then missing. Raises
        `TooLongError`, `WrongChecksumError`, `IdleSenderError`, `SupersededError`, and `OSError` for a full disk.
        """
        store = await self.of(project)
        place = self._places[upload.upload_id]
        file = await self.in_thread(lambda: UploadFile(store.data_of(upload), place.content))
        try:
            before, start = file.hash.copy(), file.offset
            check = hashlib.sha256() if checksum is not None else None
            mark = unchecked_mark(store.data_of(upload))
            if check is not None:
                await self.in_thread(lambda: mark.write_bytes(str(start).encode()))
            try:
                await self._receive(body, turn, file, upload.length, check)
            except BaseException:
                if check is not None:
                    await self.in_thread(lambda: file.cut(start, before))
                    await self.in_thread(mark.unlink)
                raise
            finally:
                await self.in_thread(file.flush)
                place.content = file.hash
            if check is not None:
                if check.digest() != checksum:
                    await self.in_thread(lambda: file.cut(start, before))
                    place.content = file.hash
                await self.in_thread(mark.unlink)
                if check.digest() != checksum:
                    raise WrongChecksumError(
                        "the bytes have another SHA-256 than Upload-Checksum says; send them again"
                    )
            offset = file.offset
            if offset == upload.length:
                upload = await self._finish(project, store, upload, file)
            return upload, offset
        finally:
            await self.in_thread(file.close)

    async def _receive(self, body: UploadBody, turn: Turn, file: UploadFile, length: int, check: Any) -> None:
        """Write what comes, in pieces, until the body ends or something else does."""
        pieces = BodyPieces(body, turn)
        try:
            async for piece in pieces:
                if file.offset + len(piece) > length:
                    raise TooLongError(f"expected {length:,} bytes in all, found more")
                await self.in_thread(lambda piece=piece: _write(file, piece, check))  # type: ignore[misc]
        finally:
            pieces.close()
        pieces.raise_if_cut(is_whole_needed=check is not None)

    async def _finish(self, project: str, store: UploadStore, upload: Upload, file: UploadFile) -> Upload:
        """Record that all bytes of an upload are there, and have it checked."""
        content = await self.in_thread(file.finish)
        upload = await self.in_thread(lambda: store.receive(upload, content))
        self._places.pop(upload.upload_id, None)
        self.announce(project, upload)
        self._spawn(self._settle(project, store, upload.upload_id))
        return upload

    def announce(self, project: str, upload: Upload, state: str | None = None) -> None:
        """Make an event of a change; it says nothing that only its owner may see."""
        if self._ring is not None:
            self._ring.add("upload", project, {"upload_id": upload.upload_id, "state": state or upload.state})

    def forget(self, upload: Upload) -> None:
        """Drop what is known of an upload that was deleted."""
        self._places.pop(upload.upload_id, None)

    async def _settle(self, project: str, store: UploadStore, upload_id: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            upload = await loop.run_in_executor(self._checks, lambda: store.settle(upload_id, self._prober))
        except UserError:
            # Deleted before its turn came.
            return
        except Exception as error:
            # It is checked again from time to time; until then it is as it was.
            _LOG.warning("upload %s of project %s cannot be checked: %s", upload_id, project, error)
            return
        self.announce(project, upload)

    async def _recover(self, project: str, store: UploadStore) -> None:
        """Continue what a process that ended had begun to finish."""
        for upload in await self.in_thread(store.complete):
            self._spawn(self._complete(project, store, upload))
        for upload_id in store.unsettled():
            self._spawn(self._settle(project, store, upload_id))

    async def _complete(self, project: str, store: UploadStore, upload: Upload) -> None:
        async with self.turn(upload.upload_id):
            upload = store.get(upload.upload_id)
            if upload.state != "receiving":
                return
            file = await self.in_thread(lambda: UploadFile(store.data_of(upload), ContentHash()))
            try:
                await self._finish(project, store, upload, file)
            finally:
                await self.in_thread(file.close)

    async def _sweep(self) -> None:
        while True:
            try:
                projects = await asyncio.to_thread(self._projects.all)
            except UserError:
                projects = []
            for project in projects:
                with suppress(UserError, OSError):
                    store = await self.of(project.name)
                    for upload_id in store.unsettled():
                        self._spawn(self._settle(project.name, store, upload_id))
                    for upload in await self.in_thread(lambda store=store: list(store.expired())):  # type: ignore[misc]
                        async with self.turn(upload.upload_id):
                            await self.in_thread(lambda s=store, u=upload: s.delete(u.upload_id))  # type: ignore[misc]
                        self.announce(project.name, upload, "abandoned")
            await asyncio.sleep(_SWEEP_S)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _write(file: UploadFile, piece: bytes, check: Any) -> None:
    file.write(piece)
    if check is not None:
        check.update(piece)
