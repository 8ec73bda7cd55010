from __future__ import annotations

from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.datasets.export_classes import ClassChoice, names_in, names_of, renames_of, with_classes
from jobs.storage.paths import place
from tests.transforms.formats.exports.material import objects
from transforms.formats.exports.objects import Objects


def found(choice: ClassChoice) -> tuple[list[tuple[str, int]], tuple[str, ...], int]:
    """Return category and number of each object of a cat, a person and a wild dog, all classes, and the left out."""
    made, said = with_classes(objects(), choice)
    rows = zip(made.rows["category"].to_pylist(), made.rows["label"].to_pylist(), strict=True)
    return list(rows), made.categories, said["objects_left_out"]


def test_all_classes_keep_their_numbers_where_nothing_is_chosen() -> None:
    assert found(ClassChoice()) == ([("cat", 2), ("person", 0), ("wild dog", 1)], ("person", "wild dog", "cat"), 0)


def test_chosen_classes_are_numbered_in_their_order() -> None:
    assert found(ClassChoice(only=("cat", "person"))) == ([("cat", 0), ("person", 1)], ("cat", "person"), 1)


def test_categories_are_renamed_and_come_together() -> None:
    choice = ClassChoice(renamed={"cat": "animal", "wild dog": "animal"})
    assert found(choice) == ([("animal", 1), ("person", 0), ("animal", 1)], ("person", "animal"), 0)
    together = ([("animal", 0), ("animal", 0)], ("animal",), 1)
    # A class may be named as it is, or as it is to be.
    for only in (("animal",), ("cat",), ("animal", "cat"), ("wild dog", "cat")):
        assert found(ClassChoice(only, choice.renamed)) == together


def test_a_list_gives_all_classes_their_numbers() -> None:
    order = ("tree", "cat", "person", "wild dog")
    assert found(ClassChoice(order=order)) == ([("cat", 1), ("person", 2), ("wild dog", 3)], order, 0)
    assert found(ClassChoice(only=("cat",), order=order)) == ([("cat", 1)], order, 2)


def test_names_that_are_no_categories_are_refused_together() -> None:
    with pytest.raises(UserError) as caught:
        with_classes(objects(), ClassChoice(("Person", "tree"), {"kat": "pet"}))
    assert caught.value.problems == [
        "--map: there is no category 'kat'; the nearest is 'cat'",
        "--classes: there is no category 'Person'; the nearest is 'person'",
        "--classes: there is no category 'tree'; there are: person, wild dog, cat",
    ]


def test_categories_that_a_list_lacks_are_one_line() -> None:
    with pytest.raises(UserError) as caught:
        with_classes(objects(), ClassChoice(order=("cats", "tree")))
    (line,) = caught.value.problems
    assert line == (
        "--class-file: expected all categories that have objects, found 3 objects of categories that are not in it: "
        "'cat' (1; the nearest in it is 'cats'), 'person' (1), 'wild dog' (1); add them, rename them with --map, or "
        "name what to export with --classes"
    )


def test_class_options_work_without_any_objects() -> None:
    made, _ = with_classes(Objects(Objects.none().rows, ("a", "b")), ClassChoice(only=("b",)))
    assert (made.rows.num_rows, made.categories) == (0, ("b",))


def test_names_are_read_from_options_and_files(tmp_path: Path) -> None:
    assert names_of("--classes", "car, fire truck") == ("car", "fire truck")
    assert names_of("--classes", None) == ()
    assert renames_of(["truck=car,van = car", "bike=bicycle"]) == {"truck": "car", "van": "car", "bike": "bicycle"}
    (tmp_path / "names.txt").write_bytes("\ufeffcar\r\n\nKüche, groß\n".encode())
    assert names_in("--class-file", place(tmp_path / "names.txt")) == ("car", "Küche, groß")


@pytest.mark.parametrize("text", ["", "car,", "car,car"])
def test_lists_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--classes: (expected names|named twice: car)"):
        names_of("--classes", text)


def test_renames_and_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        renames_of(["truck", "a=b,a=c"])
    assert caught.value.problems == [
        "--map truck: expected two names, as in truck=car",
        "--map: 'a' would become both 'b' and 'c'",
    ]
    with pytest.raises(UserError, match=r"--class-file .*names\.txt: expected a text file"):
        names_in("--class-file", place(tmp_path / "names.txt"))
