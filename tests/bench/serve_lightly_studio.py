"""LightlyStudio on a folder of images. Runs in an environment of its own, which has nothing of ours in it.

Arguments: the folder, a file for its database, a port, and `fresh` to begin with an empty database. Without embeddings,
whose model would have to be fetched.
"""

from __future__ import annotations

import sys

import lightly_studio
from lightly_studio.database import db_manager


def main() -> None:
    """List the folder, and serve its pages until a signal comes."""
    folder, database, port = sys.argv[1:4]
    db_manager.connect(db_file=database, cleanup_existing="fresh" in sys.argv)
    dataset = lightly_studio.ImageDataset.load_or_create()
    dataset.add_images_from_path(path=folder, embed=False)
    lightly_studio.start_gui(host="127.0.0.1", port=int(port), open_browser=False)


if __name__ == "__main__":
    main()
