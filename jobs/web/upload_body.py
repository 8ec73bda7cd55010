"""The body of a request that sends a file: pieces of a megabyte, as fast as they are written and no faster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request

from jobs.web.upload_errors import IdleSenderError, SupersededError

IDLE_S = 60.0
"""Seconds without a byte after which a request that sends a file ends."""

PIECE_BYTES = 1 << 20
"""Bytes that are written at once; one request has three such pieces in memory at most."""

SUPERSEDED = "another request for this upload came, or the server stops; ask for the offset and continue"
_PIECES = 2
_CHECK_S = 2.0


@dataclass(frozen=True)
class UploadBody:
    """The body of a request; `check` raises where its sender may not send any more."""

    request: Request
    check: Callable[[], Awaitable[None]]


@dataclass
class Turn:
    """The request that writes an upload now; `is_over` ends it."""

    is_over: asyncio.Event = field(default_factory=asyncio.Event)


class BodyPieces:
    """The pieces of a body, read ahead by a task of their own. What came before a cut is among them."""

    def __init__(self, body: UploadBody, turn: Turn) -> None:
        """Begin to read; `close` ends that."""
        self._body = body
        self._turn = turn
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(_PIECES)
        self._ending: BaseException | None = None
        self._checked = time.monotonic()
        self._reading = asyncio.create_task(self._read())
        self._waiting = asyncio.create_task(turn.is_over.wait())
        self._waiting.add_done_callback(lambda _: self._reading.cancel())

    def __aiter__(self) -> BodyPieces:
        return self

    async def __anext__(self) -> bytes:
        # What came before has been written.
        self._room.release()
        piece = await self._pieces.get()
        if piece is None:
            raise StopAsyncIteration
        if time.monotonic() - self._checked > _CHECK_S:
            # Anyone who lost their account meanwhile sends nothing more.
            await self._body.check()
            self._checked = time.monotonic()
        return piece

    def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        self._waiting.cancel()

    def raise_if_cut(self, is_whole_needed: bool) -> None:
        """Raise what ended the body before its end; a lost connection only where all of it is needed.

        Raises `SupersededError`, `IdleSenderError`, and starlette's `ClientDisconnect`.
        """
        if self._turn.is_over.is_set():
            raise SupersededError(SUPERSEDED)
        if isinstance(self._ending, TimeoutError):
            raise IdleSenderError(f"nothing came for {IDLE_S:.0f} s; ask for the offset and continue")
        if self._ending is not None and (is_whole_needed or not isinstance(self._ending, ClientDisconnect)):
            raise self._ending

    async def _read(self) -> None:
        piece = bytearray()
        parts = self._body.request.stream()
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    part = await anext(parts, None)
                if part is None:
                    break
                piece += part
                if len(piece) >= PIECE_BYTES:
                    self._pieces.put_nowait(bytes(piece))
                    piece = bytearray()
                    await self._room.acquire()
        except BaseException as error:
            self._ending = error
        if piece:
            self._pieces.put_nowait(bytes(piece))
        self._pieces.put_nowait(None)
