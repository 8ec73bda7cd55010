"""What listens on this machine, by the tables of its kernel."""

from __future__ import annotations

import ipaddress
import socket
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_LISTENS = "0A"


class Listening(NamedTuple):
    """A socket that accepts connections, and the program that holds it."""

    host: str
    port: int
    program: str

    @property
    def is_loopback(self) -> bool:
        """Whether it can be reached from this machine alone."""
        address = ipaddress.ip_address(self.host)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback


def listening(pid: int) -> list[Listening]:
    """Return what a process and all that it has started listen on, over TCP."""
    sockets = _sockets()
    found = set()
    for each in _with_children(pid):
        with suppress(OSError):
            program = Path(f"/proc/{each}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
            for handle in Path(f"/proc/{each}/fd").iterdir():
                with suppress(OSError):
                    if (held := sockets.get(str(handle.readlink()))) is not None:
                        found.add(Listening(*held, program))
    return sorted(found)


def _sockets() -> dict[str, tuple[str, int]]:
    """Return address and port of the listening sockets, by what a link to one reads."""
    found = {}
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] != _LISTENS:
                continue
            address, port = fields[1].split(":")
            raw = bytes.fromhex(address)
            # Words of four bytes, each in the order of the machine.
            words = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
            found[f"socket:[{fields[9]}]"] = (socket.inet_ntop(family, words), int(port, 16))
    return found


def _with_children(pid: int) -> list[int]:
    children = defaultdict(list)
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children[int(file.read_text().rpartition(")")[2].split()[1])].append(int(file.parent.name))
    found = [pid]
    for each in found:
        found += children[each]
    return found
