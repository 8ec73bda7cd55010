"""Hashes of the package imagehash, for those who compare frames with hashes that it made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from transforms.frames.image import Color

HashName = Literal["dhash", "whash", "colorhash"]
HASHES: tuple[HashName, ...] = ("dhash", "whash", "colorhash")
"""The hashes that frames may have in addition, in the order of their columns."""

PACKAGES = ("imagehash",)


@dataclass(frozen=True)
class FingerprintParams:
    """What frames are identified by, in addition to the perceptual hash and the layout.

    `also`: hashes of the package imagehash, for comparison with hashes that it made elsewhere, of the columns of these
    names: `dhash`, `whash`, `colorhash`. Each decodes the whole image in colour once more. No verdict reads them.
    """

    also: tuple[HashName, ...] = ()

    @property
    def chosen(self) -> tuple[HashName, ...]:
        """Return the names in `also`, each once, in the order of the columns."""
        return tuple(name for name in HASHES if name in self.also)


def imagehashes(picture: Color, names: Sequence[HashName]) -> dict[str, str]:
    """Return hashes of an (H, W, 3) uint8 BGR image as `str` prints those of imagehash, in its default sizes.

    `dhash`: differences of neighbours on a 9x8 image, 16 hex digits. `whash`: coefficients of the Haar wavelet, 16 hex
    digits. `colorhash`: shares of black, grey and 12 hues, 3 bits each, 11 hex digits. They are of the image at its
    full size, turned as its orientation says.
    """
    import imagehash
    from PIL import Image

    image = Image.fromarray(picture[:, :, ::-1])
    return {name: str(getattr(imagehash, name)(image)) for name in names}
