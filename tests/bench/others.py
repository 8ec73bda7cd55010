"""Other programs on the same frames. Runs in an environment of its own, which has nothing of ours in it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import types
from collections.abc import Callable


def imagededup(folder: str) -> Callable[[], object]:
    """Hash every frame, with as many processes as there are cores; nothing is compared."""
    # Its package fetches the weights of a network on import, which hashing has no use for.
    cnn = types.ModuleType("imagededup.methods.cnn")
    cnn.CNN = type("CNN", (), {})  # type: ignore[attr-defined]
    sys.modules[cnn.__name__] = cnn
    from imagededup.methods import PHash

    return lambda: PHash(verbose=False).encode_images(image_dir=folder)


def cleanvision(folder: str) -> Callable[[], object]:
    """Look for all issues that CleanVision knows."""
    from cleanvision import Imagelab

    return lambda: Imagelab(data_path=folder).find_issues()


def main() -> None:
    """Time the program that the first argument names on the folder of the second, imports excluded."""
    name, folder = sys.argv[1:]
    work = {"imagededup": imagededup, "cleanvision": cleanvision}[name](folder)
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        work()
    print(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
