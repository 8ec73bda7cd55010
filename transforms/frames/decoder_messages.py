"""Messages that image decoders print: the only place where the libjpeg of OpenCV reports damaged data.

Decoders print with C's `stderr`, a variable that points to a stream. While one decodes, it points to a file of ours,
which costs microseconds; what Python prints, and what other programs write, is not affected.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from typing import TypeVar

T = TypeVar("T")
# The variable is called so by glibc, musl and the BSDs, and by macOS.
_NAMES = ("stderr", "__stderrp")
_UNBUFFERED = 2
_lock = threading.Lock()


class _Capture:
    """A file in place of the stream that a variable of the C library points to."""

    def __init__(self, variable: ctypes.c_void_p) -> None:
        libc = ctypes.CDLL(None)
        self._variable = variable
        self._file = tempfile.TemporaryFile(mode="a+b", buffering=0)  # noqa: SIM115 - open as long as the process
        libc.fdopen.restype, libc.fdopen.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_char_p]
        libc.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t]
        self._stream: int = libc.fdopen(os.dup(self._file.fileno()), b"a")
        libc.setvbuf(self._stream, None, _UNBUFFERED, 0)

    def listen(self, decode: Callable[[], T]) -> tuple[T, str]:
        usual = self._variable.value
        self._variable.value = self._stream
        try:
            result = decode()
        except BaseException:
            self._file.truncate(0)
            raise
        finally:
            self._variable.value = usual
        if not os.fstat(self._file.fileno()).st_size:
            return result, ""
        self._file.seek(0)
        said = self._file.read().decode(errors="replace")
        self._file.truncate(0)
        return result, said


def _variables(libc: ctypes.CDLL) -> list[ctypes.c_void_p]:
    found = []
    for name in _NAMES:
        try:
            found.append(ctypes.c_void_p.in_dll(libc, name))
        except ValueError:
            continue
    return found


@cache
def _capture_of(pid: int) -> _Capture | None:  # noqa: ARG001 - a forked process needs a file of its own
    found = _variables(ctypes.CDLL(None))
    return _Capture(found[0]) if found else None


def listen(decode: Callable[[], T]) -> tuple[T, str | None]:
    """Call a function, and return its result and what was printed meanwhile, "" for nothing.

    None instead of a text says that it cannot be known on this system. One thread after another is listened to.
    """
    capture = _capture_of(os.getpid())
    if capture is None:
        return decode(), None
    with _lock:
        return capture.listen(decode)
