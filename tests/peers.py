"""Servers that send raw bytes, as hostile and broken ones do."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread


@contextmanager
def peer(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """Serve raw answers on a port of its own; gives its address, and what each request begins with."""
    listening = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def answer_one(made: socket.socket) -> None:
        with made, suppress(OSError):
            asked.append(made.recv(1 << 16))
            answer(made)

    def serve() -> None:
        with suppress(OSError):
            while True:
                made, _ = listening.accept()
                # An answer may never end.
                Thread(target=answer_one, args=(made,), daemon=True).start()

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
