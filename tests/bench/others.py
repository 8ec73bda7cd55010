"""Other programs on the same frames. Runs in an environment of its own, which has nothing of ours in it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time


def imagededup(folder: str) -> None:
    """Hash every frame, with as many processes as there are cores; nothing is compared."""
    from imagededup.methods import PHash

    PHash(verbose=False).encode_images(image_dir=folder)


def cleanvision(folder: str) -> None:
    """Look for all issues that CleanVision knows."""
    from cleanvision import Imagelab

    Imagelab(data_path=folder).find_issues()


def main() -> None:
    """Time the program that the first argument names on the folder of the second."""
    name, folder = sys.argv[1:]
    function = {"imagededup": imagededup, "cleanvision": cleanvision}[name]
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        function(folder)
    print(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
