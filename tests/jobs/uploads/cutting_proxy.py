"""A network between a client and a server that is slow, and cuts connections in the middle."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_PIECE = 1 << 16


class CuttingProxy:
    """Passes bytes on to a port of this machine, at most `rate` a second to the server; cuts when it is asked to.

    Requests name it as their host, and the server hears its own name. `n_sent` counts what clients sent.
    """

    def __init__(self, server_port: int, rate: float) -> None:
        self._server_port = server_port
        self._rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.n_sent = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self) -> None:
        """End all connections as a lost network does, without a word."""
        for one in tuple(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                return
            with server:
                self._open |= {client, server}
                back = threading.Thread(target=self._pass, args=(server, client), daemon=True)
                back.start()
                self._pass(client, server, is_sending=True)
                back.join()
                self._open -= {client, server}

    def _pass(self, source: socket.socket, target: socket.socket, is_sending: bool = False) -> None:
        mine, theirs = (f"127.0.0.1:{port}".encode() for port in (self.port if is_sending else 0, self._server_port))
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                if is_sending:
                    self.n_sent += len(data)
                    time.sleep(len(data) / self._rate)
                    data = data.replace(mine, theirs) if data[:5] in {b"PATCH", b"POST ", b"HEAD ", b"GET /"} else data
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
