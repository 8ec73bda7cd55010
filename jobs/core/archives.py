"""What goes wrong where an archive is read that is damaged, encrypted, or packed in a way that Python does not know."""

from __future__ import annotations

import lzma
import zipfile
import zlib

UNPACKING_ERRORS = (
    zipfile.BadZipFile,
    # Encrypted archives; a packing that Python does not know is one of its kind.
    RuntimeError,
    OSError,
    ValueError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
)
