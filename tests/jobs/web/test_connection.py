"""Connections of clients that send slowly, or nothing."""

from __future__ import annotations

import socket

import pytest

from jobs.web import connection
from tests.jobs.web.served import API, Site, head, raw


@pytest.mark.parametrize("sent", [b"", b"GET ", b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_a_connection_without_a_whole_head_is_closed(
    shared: Site, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    assert b"<no end>" not in raw(shared, sent)


def test_a_head_that_comes_byte_by_byte_gets_no_more_time(shared: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    with socket.create_connection(("127.0.0.1", shared.port)) as client:
        client.sendall(head(shared, f"GET {API}/health", "X-Slow: 1")[:-4])
        sent, is_open = 0, True
        while is_open and sent < 2000:
            try:
                client.sendall(b"x")
                client.settimeout(0.02)
                is_open = client.recv(1) != b""
            except TimeoutError:
                pass
            except OSError:
                is_open = False
            sent += 1
        assert not is_open


def test_half_open_connections_keep_nobody_out(shared: Site) -> None:
    held = [socket.create_connection(("127.0.0.1", shared.port)) for _ in range(300)]
    try:
        for client in held:
            client.sendall(b"POST /api/v1/session HTTP/1.1\r\nContent-")
        assert shared.client("root").get(f"{API}/me").status_code == 200
    finally:
        for client in held:
            client.close()
