"""Store of model weights: pulled by name, verified by hash, resolved before any work."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from conf.model_catalogue import HUB, NOT_STATED, Model, catalogue, restriction_of
from jobs.core.errors import RunFailedError, UserError, one_line
from jobs.models import weight_folders
from jobs.models.downloads import MOST_BYTES, OnNote, download
from jobs.models.locations import folder, places_of
from jobs.models.validation import check_file, check_published
from jobs.storage import paths, spare_files

_MANIFEST = "weights.json"
_PRINTED = "told"
_CHUNK = 1 << 20

State = Literal["present", "missing", "altered", "unrecorded"]


@dataclass(frozen=True)
class Weights:
    """Verified weights, of a model of the catalogue or a user's own.

    `path` is a file, or a folder as the transformers library writes it.
    """

    path: Path
    sha256: str
    name: str
    model: Model | None


@dataclass(frozen=True)
class WeightsEntry:
    """A model of the catalogue, and the state of its file.

    `sha256`: the expected hash, if known; for a folder, the fingerprint that the first pull recorded. `revision` and
    `size_bytes`: those that were, or would be, pulled; `source`: where it was pulled from, None if it was not.
    """

    model: Model
    path: Path
    state: State
    sha256: str | None
    revision: str
    size_bytes: int | None
    source: str | None

    @property
    def pinned(self) -> Literal["catalogue", "first pull"] | None:
        """Return who determined the hash (for a folder, that of its weights file); None as long as it is not known."""
        if self.model.sha256:
            return "catalogue"
        return "first pull" if self.sha256 else None

    @property
    def wrong(self) -> str:
        """Return what is wrong with the file, if it is not present."""
        if self.state == "altered" and self.sha256 == self.model.sha256:
            return "what is there is not what the catalogue names"
        return _WRONG[self.state]

    @property
    def fixes(self) -> str:
        """Return the command that pulls the model."""
        again = f" --from {shlex.quote(self.source)}" if self.source and self.source != self.model.source else ""
        return f"winnow models pull {self.model.name}{again}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; `published_sha256` is the catalogue's hash, for a folder that of its weights file."""
        own = {name: getattr(self, name) for name in ("state", "sha256", "revision", "size_bytes", "pinned")}
        more = {"published_sha256": self.model.sha256, "path": str(self.path), "pulled_from": self.source}
        return {**asdict(self.model), **own, **more}


def entries(names: Iterable[str] = (), verify: bool = False) -> list[WeightsEntry]:
    """Return the state of these models, or of all; `verify` hashes the files, otherwise only their presence is checked.

    Raises `UserError` for names that are not in the catalogue.
    """
    recorded = _manifest(folder())
    return [_entry(model, recorded, verify) for model in _known(names)]


def pull(
    name: str,
    source: str | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    force: bool = False,
    on_note: OnNote = lambda text: None,
) -> WeightsEntry:
    """Download or copy a model's file into the folder, from its own source, another URL or a file, and record its hash.

    Without a `source`, a file that is present and valid is kept. The new file must be of the type and the hash in the
    catalogue, and equal to what an earlier pull recorded; otherwise nothing is kept. `force` replaces what an earlier
    pull recorded, but not the hash of the catalogue. `progress` is called with bytes done and total, `on_note` with
    what the user should know. Raises `UserError` and `RunFailedError`.
    """
    (model,) = _known([name])
    place = folder()
    recorded = _manifest(place)
    before = _entry(model, recorded, verify=True)
    if before.state == "present" and source is None and not force:
        return before
    if force:
        before = replace(before, sha256=None, revision=model.revision)
    if model.repository:
        return _pull_folder(before, source, progress, on_note)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"weights folder {place} cannot be made: {error.strerror}; set $WINNOW_WEIGHTS") from error
    spare_files.clear(place, model.file, weight_folders.PART)
    temporary = place / spare_files.spare_name(model.file, weight_folders.PART)
    try:
        found = _copy(model, source or model.source, temporary, progress, on_note)
        check_file(model, temporary, source or model.source)
        check_published(model, temporary, source or model.source, lambda _: found)
        _refuse_another(before, found, source or model.source)
        os.replace(temporary, place / model.file)
    finally:
        temporary.unlink(missing_ok=True)
    size = (place / model.file).stat().st_size
    revision = None if source else model.revision
    _record(place, name, sha256=found, size_bytes=size, source=_lasting(source or model.source), revision=revision)
    return _entry(model, _manifest(place), verify=False)


def _lasting(source: str) -> str:
    """Return a source in a form that does not depend on the working directory."""
    return source if "://" in source or source.startswith(HUB) else str(Path(source).expanduser().absolute())


def _refuse_another(before: WeightsEntry, found: str, source: str) -> None:
    if before.sha256 in {None, found}:
        return
    raise RunFailedError(
        f"weights {before.model.name}: {source} has SHA-256 {found}, but the first pull recorded {before.sha256}; "
        "nothing was kept; if you trust the new file, --force replaces the recorded one"
    )


def _pull_folder(
    before: WeightsEntry, source: str | None, progress: Callable[[int, int | None], None], on_note: OnNote
) -> WeightsEntry:
    model, target = before.model, before.path
    # A branch may move: pull the recorded revision again, unless the catalogue pins one.
    asked = model.revision if model.sha256 else before.revision
    with weight_folders.brought(model, source, target.parent, asked, on_note) as temporary:
        found = weight_folders.digest(temporary)
        _refuse_another(before, found, source or model.source)
        revision = None if source else weight_folders.revision_in(temporary)
        weight_folders.put_in_place(temporary, target)
    size = sum(file.stat().st_size for file in weight_folders.files(target))
    progress(size, size)
    origin = _lasting(source or model.source)
    _record(target.parent, model.name, sha256=found, size_bytes=size, source=origin, revision=revision)
    return _entry(model, _manifest(target.parent), verify=False)


def resolve(weights: str | None) -> Weights:
    """Return the weights that a path or a name of the catalogue means.

    Raises `UserError`, with the command that fixes it, for missing or altered weights.
    """
    if not weights:
        raise UserError("annotate.weights: expected a file, or a name that `winnow models list` shows, found nothing")
    if path := next((place for place in places_of(weights) if place.is_file()), None):
        return of_file(path)
    if weights not in catalogue():
        known = ", ".join(catalogue())
        raise UserError(f"weights {weights}: expected a file or one of {known}; found neither")
    return pulled(weights)


def pulled(name: str) -> Weights:
    """Return the weights of this name in the catalogue. Raises `UserError` if they are missing or altered."""
    entry = entries([name], verify=True)[0]
    if entry.state != "present":
        raise UserError(f"weights {name}: {entry.wrong} in {folder()}; run: {entry.fixes}")
    assert entry.sha256 is not None
    return Weights(entry.path, entry.sha256, name, entry.model)


def of_file(path: Path) -> Weights:
    """Return weights from a file, named after it unless they are in the catalogue. Raises `UserError`."""
    if held := _place_of(path):
        return pulled(held.name)
    digest = weight_folders.digest(path)
    return Weights(path.absolute(), digest, *_named(path, digest))


def of_folder(path: Path, name: str) -> Weights:
    """Return weights from a folder, named `name` unless they are in the catalogue. Raises `UserError`."""
    if held := _place_of(path):
        return pulled(held.name)
    digest = weight_folders.digest(path)
    named, model = _named(path, digest)
    return Weights(path.absolute(), digest, named if model else name, model)


_WRONG: dict[State, str] = {
    "missing": "there is nothing of that name",
    "altered": "what is there is not what was pulled",
    "unrecorded": "what is there was not pulled, and nothing says what it should be",
}


@dataclass(frozen=True)
class Licence:
    """The licence of weights, None if none is stated, and its restriction, if it has one beyond attribution."""

    name: str | None = None
    restriction: str | None = None


def licence_of(sha256: str, said: str | None) -> Licence:
    """Return the licence of weights: that in the catalogue, or else the one that the weights themselves state."""
    recorded = _manifest(folder())
    known = next((m for m in catalogue().values() if sha256 == _expected(m, recorded)), None)
    if known is not None:
        return Licence(known.licence, known.restriction)
    return Licence(said, restriction_of(said))


def notice(sha256: str, licence: Licence, what: str = "these weights") -> str | None:
    """Return the restriction of a licence, the first time that these weights are used with this folder; else None.

    For what has no weights, a name is given instead of a hash.
    """
    if licence.restriction is None:
        return None
    place = folder()
    if sha256 in _manifest(place).get(_PRINTED, {}):
        return None
    with suppress(OSError):
        # If the folder cannot be written, the notice is repeated each time.
        place.mkdir(parents=True, exist_ok=True)
        _record(place, _PRINTED, **{sha256: licence.name})
    if licence.restriction == NOT_STATED:
        return f"no licence is stated for {what}: ask their makers before they are used or passed on"
    return f"{what} are under {licence.name}: {licence.restriction}"


def _known(names: Iterable[str]) -> Iterator[Model]:
    models = catalogue()
    wanted = list(names) or list(models)
    if unknown := [name for name in wanted if name not in models]:
        raise UserError([f"there are no weights {name!r}; there are: {', '.join(models)}" for name in unknown])
    return (models[name] for name in wanted)


def _place_of(path: Path) -> Model | None:
    """Return the model of the catalogue that was pulled to this path, or None."""
    recorded = _manifest(folder())
    held = (model for model in catalogue().values() if model.name in recorded)
    return next((m for m in held if (folder() / m.file).exists() and path.samefile(folder() / m.file)), None)


def _entry(model: Model, recorded: dict[str, Any], verify: bool) -> WeightsEntry:
    path = folder() / model.file
    expected = _expected(model, recorded)
    state: State = "present"
    if not path.exists():
        state = "missing"
    elif expected is None:
        state = "unrecorded"
    elif _is_another(model, path) or (verify and weight_folders.digest(path) != expected):
        state = "altered"
    known = recorded.get(model.name, {})
    if known.get("sha256") != expected:
        # The record is of another file than the catalogue names now.
        known = {}
    size = known.get("size_bytes") or model.size_bytes
    return WeightsEntry(
        model, path, state, expected, known.get("revision") or model.revision, size, known.get("source")
    )


def _is_another(model: Model, path: Path) -> bool:
    """Return whether a file's size rules out that it is the catalogue's; False for folders."""
    return model.repository is None and model.size_bytes not in {None, path.stat().st_size}


def _expected(model: Model, recorded: dict[str, Any]) -> str | None:
    """Return the expected hash of a model's file; for folders the recorded one, since the catalogue has none."""
    named = None if model.repository else model.sha256
    return named or recorded.get(model.name, {}).get("sha256")


def _named(path: Path, digest: str) -> tuple[str, Model | None]:
    """Return the name of a user's own file, and the model of the catalogue with the same hash, if any."""
    recorded = _manifest(folder())
    for model in catalogue().values():
        if digest == _expected(model, recorded):
            return model.name, model
    return path.stem, None


def _manifest(place: Path) -> dict[str, Any]:
    try:
        found = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{place / _MANIFEST} cannot be read: {one_line(error)}; fix or delete it") from error
    return dict(found)


def _record(place: Path, name: str, **facts: Any) -> None:
    found = _manifest(place)
    found[name] = {**found.get(name, {}), **facts}
    paths.place(place / _MANIFEST).write(json.dumps(found, indent=1, sort_keys=True).encode() + b"\n")


def _copy(model: Model, source: str, target: Path, progress: Callable[[int, int | None], None], on_note: OnNote) -> str:
    """Copy a URL or a file and return the SHA-256 of the copy. Raises `UserError` and `RunFailedError`."""
    if source.startswith(("http://", "https://")):
        most = model.size_bytes or MOST_BYTES
        named = f", but the catalogue names {most:,}, of revision {model.revision}" if model.size_bytes else ""
        too_large = f"weights {model.name}: {source} has more than {most:,} bytes{named}; nothing was kept"
        with download(source, most, too_large, on_note) as answer:
            return _hashed(answer.pieces, target, answer.n_bytes, progress)
    path = Path(source).expanduser()
    if not path.is_file():
        raise UserError(f"--from {source}: expected a URL or a file, found neither")
    with open(path, "rb") as handle:
        return _hashed(iter(partial(handle.read, _CHUNK), b""), target, path.stat().st_size, progress)


def _hashed(
    pieces: Iterator[bytes], target: Path, total: int | None, progress: Callable[[int, int | None], None]
) -> str:
    hasher = hashlib.sha256()
    done = 0
    with open(target, "wb") as handle:
        for data in pieces:
            handle.write(data)
            hasher.update(data)
            done += len(data)
            progress(done, total)
        handle.flush()
        os.fsync(handle.fileno())
    if total is not None and done != total:
        raise RunFailedError(f"expected {total:,} bytes, {total - done:,} are missing; pull again")
    return hasher.hexdigest()
