"""Names of folders in a dataset: a stream's name must not be taken for a part of the layout."""

from __future__ import annotations

RESERVED = frozenset({"images", "labels", "train", "val", "test", "jpegimages", "annotations", "imagesets"})


def folder_of(stream_id: str) -> str:
    """Return the folder of a stream's images: its id, with an underscore after each part that means something already.

    Ultralytics looks for labels where it replaces the last `/images/` of a path by `/labels/`, so that a folder
    `images` further down would hide all of them. Two streams never share a folder.

    >>> folder_of("yard/images"), folder_of("yard/images_"), folder_of("yard")
    ('yard/images_', 'yard/images__', 'yard')
    """
    parts = stream_id.split("/")
    return "/".join(f"{part}_" if part.rstrip("_").casefold() in RESERVED else part for part in parts)
