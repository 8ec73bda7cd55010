"""Listing of the inputs: streams with their ordered frame files, and all problems that prevent a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from jobs.core.errors import UserError
from jobs.ingest import folders
from jobs.ingest.clips import NO_FRAMES, list_clip
from jobs.ingest.folder_listing import list_folder
from jobs.ingest.folders import Tree
from jobs.ingest.object_tree import tree_of
from jobs.ingest.recordings import list_recording
from jobs.ingest.relocation import is_gone, moved_from
from jobs.ingest.stream_listing import StreamFiles
from jobs.storage.data_files import Part, write_part
from jobs.storage.paths import Place, place
from jobs.storage.store import Change, Drop, Snapshot, Store
from jobs.storage.stream_batches import WINDOW
from transforms.frames.local_time import LocalZone, TimeZoneError
from transforms.frames.name_pattern import EXTENSIONS, FrameNameError, NamePattern
from transforms.frames.numbering import IngestParams, spans

_KEY_SCHEMA = pa.schema([schemas.LISTING.arrow_schema.field(n) for n in schemas.FRAME_KEY])
_MOST_LOST = 0.10
_NO_INPUT = "no input; expected --input PATH, a folder of frames, a clip, or a folder of such"
_LONGEST_NAME = 100
_NO_NAME = re.compile(r"[\\\x00-\x1f]")


@dataclass(frozen=True)
class IngestOverrides:
    """What a user allows that otherwise stops a run, the ids given to the inputs, and whether size and mtime count.

    With `reread`, size and mtime of files do not count: every file is read, and its content is compared.
    """

    stream_ids: Sequence[str] = ()
    rebind: bool = False
    allow_missing: bool = False
    reread: bool = False


def catalogue(
    inputs: Sequence[str], params: IngestParams, overrides: IngestOverrides, store: Store
) -> list[StreamFiles]:
    """List every input, sorted by stream id.

    Raises `UserError` with every problem of every input: no frames, repeated frame numbers, one id for two places, an
    id that is bound to another place, too many lost frames.
    """
    problems: list[str] = []
    streams: dict[str, StreamFiles] = {}
    _check_params(params)
    known = {row["stream_id"]: row for row in store.read(schemas.STREAMS).to_pylist()}
    seen = store.open(schemas.LISTING)
    for stream_id, folder, tree in _folders(inputs, params, overrides, known, problems):
        if wrong := wrong_with_id(stream_id):
            if stream_id not in overrides.stream_ids:
                fix = "rename it, or name it with --input and --stream-id"
                problems.append(f"stream id {stream_id!r}, of {str(folder)!r}, {wrong}; {fix}")
            continue
        if stream_id in streams:
            if not folders.same_place(streams[stream_id].uri, folder):
                problems.append(
                    f"stream id {stream_id!r} refers to both {streams[stream_id].uri} and {folder}; give each input "
                    "an id of its own: --stream-id, once per --input"
                )
            continue
        if folders.is_recording(folder) and not tree.is_folder(folder):
            found = list_recording(stream_id, folder, params, {} if overrides.reread else known, seen)
        elif folders.is_clip(folder) and not tree.is_folder(folder):
            before = None if overrides.reread else known.get(stream_id)
            found = [list_clip(stream_id, folder, params, before, seen)]
        else:
            found = list_folder(stream_id, folder, tree, params, known, seen, problems)
        _add(found, streams, problems)
    if params.unreadable == "stop":
        problems += _unreadable(streams)
    vanished = _vanished(streams, known) if overrides.rebind else {}
    problems += _history_problems(streams, overrides, store)
    streams |= vanished
    if problems:
        raise UserError(problems)
    return [streams[name] for name in sorted(streams)]


def _check_params(params: IngestParams) -> None:
    """Raise `UserError` if the pattern of names or the time zone is wrong."""
    try:
        _ = params.name is not None and NamePattern.parse(params.name)
    except FrameNameError as error:
        raise UserError(f"ingest.name={error}") from error
    try:
        _ = params.timezone is not None and LocalZone.named(params.timezone)
    except TimeZoneError as error:
        raise UserError(f"ingest.timezone={error}") from error


def _add(found: Sequence[StreamFiles], streams: dict[str, StreamFiles], problems: list[str]) -> None:
    """Add the streams of a folder or a clip, unless an id names another one, or is not valid."""
    for listed in found:
        other = streams.get(listed.stream_id)
        if other is not None and (other.uri, other.row["part"]) == (listed.uri, listed.row["part"]):
            continue
        if (wrong := wrong_with_id(listed.stream_id)) or other is not None:
            why = wrong or f"refers to {other and other.uri} as well"
            fix = "rename its files, or give the folder another id with --stream-id"
            problems.append(f"stream id {listed.stream_id!r}, of {listed.uri}, {why}; {fix}")
            continue
        streams[listed.stream_id] = listed


def _unreadable(streams: dict[str, StreamFiles]) -> list[str]:
    """Remove the clips that cannot be read, and return one problem that names them all, or none."""
    wrong = [stream for stream in streams.values() if stream.row["error"]]
    for stream in wrong:
        del streams[stream.stream_id]
    named = "; ".join(f"{stream.uri}: {stream.row['error']}" for stream in wrong)
    them = "it" if len(wrong) == 1 else f"these {len(wrong)}"
    fix = f"repair or remove {them}, or continue without unreadable clips with --set ingest.unreadable=skip"
    return [f"{named}; {fix}"] if wrong else []


def at_a_glance(inputs: Sequence[str], overrides: IngestOverrides) -> list[str]:
    """Return what is wrong with inputs and ids by themselves, where workspace or parameters are not known."""
    problems = [] if inputs else [_NO_INPUT]
    problems += filter(None, [_miscounted(overrides.stream_ids, inputs)])
    problems += _wrong_ids(overrides.stream_ids)
    for given in inputs:
        folders.existing(given, problems)
    return problems


def _wrong_ids(ids: Sequence[str]) -> list[str]:
    return [f"stream id {name!r} {wrong}" for name in ids if (wrong := wrong_with_id(name))]


def wrong_with_id(stream_id: str) -> str | None:
    """Return why a text is not a valid stream id, or None."""
    parts = stream_id.split("/")
    if not stream_id:
        return "is empty; expected a name, or several joined by /"
    if "" in parts:
        return "has an empty part; expected names joined by one / each"
    if {".", ".."} & set(parts):
        return "has a part that is . or ..; expected names"
    if found := _NO_NAME.search(stream_id):
        return f"has the character {found[0]!r}; expected none of that kind"
    if longest := max(map(len, parts)) if max(map(len, parts)) > _LONGEST_NAME else 0:
        return f"has a part of {longest} characters; expected {_LONGEST_NAME} at most"
    return None


def _miscounted(ids: Sequence[str], inputs: Sequence[str]) -> str | None:
    if not ids or len(ids) == len(inputs):
        return None
    return f"{len(ids)} --stream-id for {len(inputs)} --input; expected one for each, in the same order"


def _folders(
    inputs: Sequence[str],
    params: IngestParams,
    overrides: IngestOverrides,
    known: Mapping[str, Mapping[str, Any]],
    problems: list[str],
) -> Iterator[tuple[str, Place, Tree]]:
    """Yield the folders with frames, or of `known` streams that had frames, with their stream ids."""
    places_ = {name: place(row["uri"]) for name, row in known.items()}
    reals = {name: place(folders.real(at)) for name, at in places_.items()}
    # The parts of a folder are listed with it.
    parts = {name for name, row in known.items() if row["part"]}
    held = [places_[name] for name, row in known.items() if row["n_frames"] or overrides.allow_missing]
    if not inputs:
        problems.append(_NO_INPUT)
    ids = list(overrides.stream_ids)
    if wrong := _miscounted(ids, inputs):
        problems.append(wrong)
    problems += _wrong_ids(ids)
    ids = [] if wrong else ids
    for number, given in enumerate(inputs):
        vanished = folders.vanished(given, held)
        root = vanished or folders.existing(given, problems)
        tree = tree_of(given, root, problems, params.name) if root is not None else None
        if root is None or tree is None:
            continue
        name = ids[number] if ids else root.name or "root"
        before = len(problems)
        found = {} if vanished else _streams_of(root, tree, name, params, bool(ids), places_, problems)
        # A known stream without any frames has lost them all. Its place may be named with links, and without.
        at = place(folders.real(root))
        emptied = {n for n, to in reals.items() if to == at or (not ids and at in to.parents)}
        emptied |= {n for n, to in places_.items() if to == root or (not ids and root in to.parents)}
        listed = {folders.real(folder) for folder in found.values()} if emptied else set()
        lost = {n: to for n, to in places_.items() if n in emptied and str(reals[n]) not in listed}
        # One part refers to all of its folder.
        whole = {folder: n for n, folder in lost.items() if n in parts}
        gone = {n: folder for n, folder in lost.items() if n not in parts or whole[folder] == n}
        if not found and not gone and len(problems) == before:
            problems.append(_no_frames(tree, given, params))
        for stream_id, folder in (*found.items(), *gone.items()):
            yield stream_id, folder, tree


def _streams_of(
    root: Place,
    tree: Tree,
    name: str,
    params: IngestParams,
    has_id: bool,
    bound: Mapping[str, Place],
    problems: list[str],
) -> dict[str, Place]:
    """Return the streams of one input: the folder itself, or those below it; `bound` maps known ids to places."""
    if not tree.is_folder(root):
        return {name if has_id else root.stem: root}
    below = tree.below(params.glob, problems)
    if not tree.holds_frames(root, params.glob):
        found = _named(below, root, tree, bound)
        if has_id and found:
            problems.append(f"--stream-id {name}: {root} holds {len(found)} streams, an id can name only one")
            return {}
        return found
    nested = next(below, None) if params.nested == "refuse" else None
    if nested is not None:
        problems.append(
            f"input {root} holds frames and below it there are more, such as {nested.relative_to(root)}; name the "
            "folders or clips to take with one --input each, or leave the others alone with --set ingest.nested=skip"
        )
        return {}
    return {name: root}


def _named(places: Iterator[Place], root: Place, tree: Tree, bound: Mapping[str, Place]) -> dict[str, Place]:
    """Return folders and clips by their path below the root; clips without their suffix if that is unique.

    A clip keeps the id to which it is bound, short or not, when another clip of that name is added or removed.
    """
    # All are on disk, or all in a bucket.
    paths: list[PurePath] = [path.relative_to(root) for path in places]
    is_clip = [folders.is_stream_file(path) and not tree.is_folder(root / path.as_posix()) for path in paths]
    short = [path.with_suffix("") if clip else path for path, clip in zip(paths, is_clip, strict=True)]
    taken = Counter(short)
    found = {}
    for name, path in zip(short, paths, strict=True):
        at = root / path.as_posix()
        is_bound = [_is_at(bound.get(known.as_posix()), at) for known in (name, path)]
        found[(name if is_bound == [True, False] or (taken[name] == 1 and not is_bound[1]) else path).as_posix()] = at
    return found


def _is_at(bound: Place | None, at: Place) -> bool:
    return bound is not None and folders.same_place(bound, at)


def _no_frames(tree: Tree, given: str, params: IngestParams) -> str:
    names = tree.names()
    found = f"found {len(names)} others, such as {names[0]!r}" if names else "the folder is empty"
    pattern = f" that match {params.glob!r}" if params.glob != "*" else ""
    pattern += f" and fit the pattern {params.name!r}" if params.name is not None else ""
    kinds = ", ".join(EXTENSIONS)
    return f"input {given} holds no frames; expected files like image_0.jpg ({kinds}){pattern}, {found}"


def _others(streams: Mapping[str, StreamFiles], known: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the other ids, by stream id, under which the workspace has frames of the same places."""
    strangers = {
        name: stream
        for name, stream in streams.items()
        if name not in known or not known[name]["n_frames"] or not folders.same_place(known[name]["uri"], stream.uri)
    }
    if not strangers:
        return {}
    # A stream without frames is no duplicate.
    ids = {(folders.real(row["uri"]), row["part"]): name for name, row in known.items() if row["n_frames"]}
    found = {name: ids.get((folders.real(s.uri), s.row["part"]), name) for name, s in strangers.items()}
    return {name: other for name, other in found.items() if other != name and other not in streams}


def _vanished(streams: Mapping[str, StreamFiles], known: Mapping[str, Mapping[str, Any]]) -> dict[str, StreamFiles]:
    """Return, without frames, the known streams whose places are rebound to other streams."""
    rows = [known[other] for name, other in _others(streams, known).items() if name in known]
    kept = ("kind", "step", "sampling", "listed_ns", "naming", "part")
    return {
        row["stream_id"]: StreamFiles.of(row["stream_id"], row["uri"], NO_FRAMES, **{n: row[n] for n in kept})
        for row in rows
    }


def _history_problems(streams: dict[str, StreamFiles], overrides: IngestOverrides, store: Store) -> list[str]:
    """Return what speaks against these streams given what the workspace saw of them before."""
    known = {r["stream_id"]: r for r in store.read(schemas.STREAMS).to_pylist()}
    problems = []
    others = _others(streams, known)
    # Streams whose frames are deleted in this run are candidates for relocation too.
    apart = [
        r for n, r in known.items() if n not in streams or (not streams[n].n_frames and not overrides.allow_missing)
    ]
    for stream in streams.values():
        before = known.get(stream.stream_id)
        if (other := others.get(stream.stream_id)) and not (overrides.rebind and before):
            fix = f"give it that id with --stream-id {other}"
            fix += f", or drop {other!r} with --rebind (its rows are deleted)" if before else ""
            problems.append(
                f"{stream.uri} is stream {other!r} in this workspace and would be {stream.stream_id!r} as well, all of "
                f"its frames twice; name the input as before, or {fix}"
            )
            continue
        if before is None:
            # The user names an id, and so says what it is.
            if not overrides.stream_ids and (moved := moved_from(stream, apart, store)):
                name = moved["stream_id"]
                problems.append(
                    f"{stream.uri} has the frames of stream {name!r}, whose location {moved['uri']} no longer exists; "
                    f"if it was moved there, use --stream-id {name} --rebind, which keeps its rows; if it is another "
                    f"stream, use --stream-id {stream.stream_id}"
                )
            continue
        if not overrides.rebind and not folders.same_place(before["uri"], stream.uri):
            problems.append(
                f"stream {stream.stream_id!r} is {before['uri']} in this workspace, the input is {stream.uri}; "
                "give it an id of its own with --stream-id, or --rebind if the frames have moved"
            )
            continue
        if before["sampling"] != stream.row["sampling"]:
            # The sampling of the clip has changed; no frames are lost.
            continue
        lost = _n_lost(stream, store)
        if lost and not stream.n_frames and not overrides.allow_missing and is_gone(stream.uri):
            problems.append(
                f"stream {stream.stream_id!r} has lost {lost} of its {before['n_frames']} frames: {stream.uri} does "
                f"not exist any more; name its new place with --stream-id {stream.stream_id} --rebind, or drop it with "
                "--allow-missing (its rows will be deleted)"
            )
            continue
        if lost > _MOST_LOST * before["n_frames"] and not overrides.allow_missing:
            why = f" ({stream.row['error']})" if stream.row["error"] else ""
            problems.append(
                f"stream {stream.stream_id!r} has lost {lost} of its {before['n_frames']} frames since the last run"
                f"{why}; use --allow-missing if that is right (their rows will be deleted)"
            )
    return problems


def _n_lost(stream: StreamFiles, store: Store) -> int:
    listed = store.open(schemas.LISTING).read(("stream_id", "frame_idx"), streams=frozenset([stream.stream_id]))
    before = listed["frame_idx"].to_numpy()
    return int(len(before) - np.isin(before, stream.frame_idx, assume_unique=True).sum())


def record(streams: Sequence[StreamFiles], store: Store, job_id: str) -> Snapshot:
    """Write the listings that have changed, chunk by chunk, and every stream's row.

    Returns the `listing` table at the version that shows these streams as listed now, regardless of later listings.
    """

    def change(snapshot: Snapshot) -> Change | None:
        wanted = [_listing_change(stream, snapshot, store) for stream in streams]
        add = [part for adds, _ in wanted for part in adds]
        drop = [d for _, drops in wanted for d in drops]
        return Change(add, drop) if add or drop else None

    listing = store.transact(schemas.LISTING, change, job_id)
    known = {r["stream_id"]: r for r in store.read(schemas.STREAMS).to_pylist()}
    rows = [
        # Columns that come from reading the frames are kept until they are read again.
        stream.row | {n: known[stream.stream_id][n] for n in ("n_bad", "sizes") if stream.stream_id in known}
        for stream in streams
    ]
    store.upsert(schemas.STREAMS, pa.Table.from_pylist(rows, schemas.STREAMS.arrow_schema), job_id)
    return listing


def _listing_change(stream: StreamFiles, snapshot: Snapshot, store: Store) -> tuple[list[Part], list[Drop]]:
    """Return the files to add and the rows to delete to bring the table to the current listing of the stream."""
    compared = ["frame_idx", "stat_id"]
    add: list[Part] = []
    drop: list[Drop] = []
    for span in spans(stream.frame_idx, WINDOW):
        listing = stream.listing(span)
        old = pl.DataFrame(snapshot.read(compared, streams=frozenset([stream.stream_id]), span=span))
        now = pl.DataFrame(listing.select(compared)).with_row_index("at")
        fresh = now.join(old, on=compared, how="anti").sort("at")["at"].to_arrow()
        if len(fresh):
            add.append(write_part(store.root, schemas.LISTING, listing.take(fresh)))
        gone = old.join(now, on=compared, how="anti").select(stream_id=pl.lit(stream.stream_id), frame_idx="frame_idx")
        if gone.height:
            drop.append(Drop(keys=gone.to_arrow().cast(_KEY_SCHEMA)))
    return add, drop
