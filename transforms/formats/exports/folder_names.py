"""Names of folders and images in a dataset: none is taken for a part of the layout, nor for two lines of a list."""

from __future__ import annotations

import re

# What some reader of text files takes for the end of a line, or a terminal for a command.
_CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
_ESCAPE = r"%(?:[01][0-9A-F]|7F|C2%[89][0-9A-F]|E2%80%A[89]|25)"
_BREAKING = re.compile(f"{_CONTROL}|%(?={_ESCAPE[1:]})")

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


def image_name(name: str) -> str:
    r"""Return the name of an image in a dataset: its own, with control characters and line breaks encoded as in URLs.

    Formats list names line by line. A percent sign is encoded where it would be taken for such an encoding, so that two
    images never share a name.

    >>> image_name("a\n1.jpg"), image_name("a%0A1.jpg"), image_name("100%.jpg")
    ('a%0A1.jpg', 'a%250A1.jpg', '100%.jpg')
    """
    return _BREAKING.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), name)
