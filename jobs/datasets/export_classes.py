"""Classes of a dataset: which categories of a workspace it has, under which names and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import polars as pl

from jobs.core.errors import UserError
from jobs.core.naming import many, wrong_with_category
from jobs.storage.paths import Place
from transforms.formats.exports.objects import Objects

_SHOWN = 5
_LISTED = 20


@dataclass(frozen=True)
class ClassChoice:
    """The classes of a dataset.

    `only`: classes whose objects are exported, empty for all. `renamed`: categories by the class that they become, in
    which several may come together. `order`: all classes in the order of their numbers; empty for that of `only`, or
    else of the workspace. Names in `only` are those before or after renaming, in `order` those after it.
    """

    only: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether anything is chosen."""
        return bool(self.only or self.renamed or self.order)


def with_classes(objects: Objects, choice: ClassChoice) -> tuple[Objects, dict[str, Any]]:
    """Return the objects of the chosen classes, numbered in their order, and what to say of the choice.

    Raises `UserError` with all names that are no category, and objects for which `order` has no class.
    """
    after = {name: choice.renamed.get(name, name) for name in objects.categories}
    named = tuple(dict.fromkeys(after.values()))
    only = (name if name in named else after.get(name, name) for name in choice.only)
    choice = replace(choice, only=tuple(dict.fromkeys(only)))
    classes = choice.order or choice.only or named
    counts = dict.fromkeys(named, 0)
    rows = pl.DataFrame(objects.rows)
    if "category" in rows.columns:
        rows = rows.with_columns(pl.col("category").replace(after))
        counts |= dict(rows.group_by("category").len().iter_rows())
    if problems := list(_problems(choice, objects.categories, counts)):
        raise UserError(problems)
    if "category" in rows.columns:
        wanted = choice.only or classes
        numbers = {name: at for at, name in enumerate(classes)}
        rows = rows.filter(pl.col("category").is_in(wanted))
        rows = rows.with_columns(label=pl.col("category").replace_strict(numbers, return_dtype=pl.Int64))
    said = {
        "only": list(choice.only),
        "renamed": dict(sorted(choice.renamed.items())),
        "order": list(classes),
        "objects_left_out": objects.rows.num_rows - rows.height,
    }
    return Objects(rows.to_arrow(), tuple(classes)), said


def _problems(choice: ClassChoice, categories: Sequence[str], counts: Mapping[str, int]) -> Iterator[str]:
    for option, names, known in (
        ("--map", choice.renamed, categories),
        ("--classes", choice.only, [*counts, *choice.order]),
    ):
        for name in names:
            if name not in known:
                yield f"{option}: there is no category {name!r}{_nearest(name, known)}"
    if choice.order:
        for name in choice.only:
            if name not in choice.order:
                yield f"--class-file: class {name!r} of --classes is not in it{_nearest(name, choice.order)}"
        without = {} if choice.only else {name: n for name, n in counts.items() if n and name not in choice.order}
        if without:
            yield _not_listed(without, choice.order)


def _not_listed(without: Mapping[str, int], order: Sequence[str]) -> str:
    """Return a line on categories with objects that `order` does not name, those with the most first."""
    first = sorted(without, key=lambda name: (-without[name], name))[:_SHOWN]
    named = []
    for name in first:
        near = _near(name, order)
        named.append(f"{name!r} ({without[name]:,}" + (f"; the nearest in it is {near!r})" if near else ")"))
    more = f" and {len(without) - _SHOWN:,} more" if len(without) > _SHOWN else ""
    return (
        f"--class-file: expected all categories that have objects, found {many(sum(without.values()), 'object')} of "
        f"categories that are not in it: {', '.join(named)}{more}; add them, rename them with --map, or name what to "
        "export with --classes"
    )


def _near(name: str, known: Sequence[str]) -> str | None:
    near = get_close_matches(name, known, 1) or [each for each in known if each.casefold() == name.casefold()]
    return near[0] if near else None


def _nearest(name: str, known: Sequence[str]) -> str:
    near = _near(name, known)
    more = f" and {len(known) - _LISTED:,} more" if len(known) > _LISTED else ""
    return f"; the nearest is {near!r}" if near else f"; there are: {', '.join(known[:_LISTED]) or 'none'}{more}"


def names_of(option: str, text: str | None) -> tuple[str, ...]:
    """Return the names in a list with commas. Raises `UserError` for none, and for one that is named twice."""
    if text is None:
        return ()
    return _checked(option, [name.strip() for name in text.split(",")])


def names_in(option: str, file: Place) -> tuple[str, ...]:
    """Return the names in a file with one on each line. Raises `UserError` as `names_of` does, and without a file."""
    try:
        text = file.read().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{option} {file}: expected a text file with a name on each line: {error}") from error
    return _checked(f"{option} {file}", [line.strip() for line in text.splitlines() if line.strip()])


def renames_of(texts: Sequence[str]) -> dict[str, str]:
    """Return the pairs of old and new names in texts such as `truck=car`. Raises `UserError` with all problems."""
    found: dict[str, str] = {}
    problems = []
    for item in (item for text in texts for item in text.split(",")):
        old, sign, new = (part.strip() for part in item.partition("="))
        if not (old and sign and new):
            problems.append(f"--map {item}: expected two names, as in truck=car")
        elif wrong := wrong_with_category(new):
            problems.append(f"--map: {wrong}")
        elif found.setdefault(old, new) != new:
            problems.append(f"--map: {old!r} would become both {found[old]!r} and {new!r}")
    if problems:
        raise UserError(problems)
    return found


def _checked(where: str, names: Sequence[str]) -> tuple[str, ...]:
    if not names or not all(names):
        raise UserError(f"{where}: expected names of classes, found none")
    if wrong := [problem for name in names if (problem := wrong_with_category(name))]:
        raise UserError([f"{where}: {problem}" for problem in wrong[:_SHOWN]])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{where}: named twice: {', '.join(twice)}")
    return tuple(names)
