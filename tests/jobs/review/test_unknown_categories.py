from __future__ import annotations

from jobs.review.unknown_categories import unknown_categories
from transforms.formats.reviewing.shapes import Returned, ReviewedShape


def test_each_unknown_category_is_one_message() -> None:
    def frame(number: int, *categories: str) -> Returned:
        shapes = [ReviewedShape(name, (0, 0, 1, 1), place=f"box {at}") for at, name in enumerate(categories, 1)]
        return Returned(f"image {number}", "x", tuple(shapes))

    known = {"person", "Traffic Light", "cat", "dog", "bird", "cow"}
    returned = [frame(0, "cat", "trafic light"), *(frame(n, "trafic light", "zzz") for n in range(1, 67))]
    assert list(unknown_categories(returned, known)) == [
        (
            "category 'trafic light' (67 objects, the first at image 0, box 2) is not known; the nearest is "
            "'Traffic Light'; let it in with --category 'trafic light'"
        ),
        (
            "category 'zzz' (66 objects, the first at image 1, box 2) is not known; there are Traffic Light, bird, "
            "cat, cow, dog, …; let it in with --category 'zzz'"
        ),
    ]
    assert list(unknown_categories(returned, {"cat", "trafic light", "zzz"})) == []
