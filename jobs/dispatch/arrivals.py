"""Work that starts when data arrives: rules in the workspace, by which its gateway submits one run for each batch.

What arrives are clips, recordings and folders of frames below a folder, or uploads. Something that changes is waited
for until it has been the same for a while. A batch is a job id, so that two gateways cannot submit it twice, and what a
rule has submitted is on record by its fingerprint, so that a file that is only touched is not submitted again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from jobs.core.errors import UserError, one_line
from jobs.core.naming import wrong_with
from jobs.dispatch.arrived_items import Item, items_below
from jobs.records.job_log import JobLog
from jobs.storage.paths import Place

_LONGEST_NAME = 60
_FOLDER = "arrivals"
_NOTED = "noted"
_LONGEST_WAIT = 12
_MOST_BATCH = 1000
_S = 1_000_000_000


@dataclass(frozen=True)
class ArrivalRule:
    """Which data is waited for, and what to run on it.

    `source` is a folder, or `upload:` with the beginning of a name. `asked` are the options of `winnow run` without
    inputs. A batch is submitted once nothing has come or changed for `debounce_s` seconds.
    """

    name: str
    source: str
    asked: Mapping[str, Any]
    debounce_s: float = 300.0
    priority: int = 0
    added_ns: int = field(default_factory=time.time_ns)


def save(root: Place, rule: ArrivalRule) -> None:
    """Save a rule in the workspace at `root`. Raises `UserError` for a name that is in use, or cannot be one."""
    wrong = wrong_with("arrival", rule.name)
    if wrong is None and len(rule.name) > _LONGEST_NAME:
        wrong = f"arrival name {rule.name!r}: expected at most {_LONGEST_NAME} characters"
    if wrong:
        raise UserError(wrong)
    if not _path(root, rule.name).create(json.dumps(asdict(rule), indent=1).encode() + b"\n"):
        raise UserError(f"arrival rule {rule.name!r} exists; remove it first, or choose another name")


def load_all(root: Place) -> Iterator[tuple[str, ArrivalRule | UserError]]:
    """Yield the rules of a workspace by name; of one that is damaged, what is wrong with it."""
    folder = root / _FOLDER
    for file in folder.names():
        if not file.endswith(".json") or file.startswith("."):
            continue
        name = file.removesuffix(".json")
        try:
            yield name, ArrivalRule(**json.loads((folder / file).read()))
        except FileNotFoundError:
            # It has just been removed.
            continue
        except (OSError, ValueError, TypeError) as error:
            yield name, UserError(f"arrival rule {name!r} is damaged ({one_line(error)}); remove it and add it again")


def remove(root: Place, name: str) -> None:
    """Delete a rule; its jobs stay. Raises `UserError` for an unknown one."""
    known = [each for each, _ in load_all(root)]
    if name not in known:
        raise UserError(f"there is no arrival rule {name!r}; there are: {', '.join(known) or 'none yet'}")
    _path(root, name).delete()
    _notes_path(root, name).delete()


def listed(root: Place) -> list[dict[str, Any]]:
    """Return the rules, what each waits for now, its last job, and what is wrong with it, if something is."""
    found: list[dict[str, Any]] = []
    for name, rule in load_all(root):
        if isinstance(rule, UserError):
            found.append({"name": name, "error": str(rule)})
            continue
        notes = _notes(root, name)
        waiting = [key for key, seen in notes["seen"].items() if notes["done"].get(key) != seen["fingerprint"]]
        shown = {"name": name, "source": rule.source, "debounce_s": rule.debounce_s, "waiting": len(waiting)}
        found.append(shown | {"submitted": len(notes["done"]), "last_job": notes["last_job"], "error": None})
    return found


def submit_arrived(root: Place, now_ns: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Submit what has arrived since the last look, and yield what was done as events."""
    for _, rule in load_all(root):
        if isinstance(rule, UserError):
            # It must not keep the others from being run.
            yield "arrival_unreadable", {"error": str(rule)}
            continue
        notes = _notes(root, rule.name)
        before = json.dumps(notes, sort_keys=True)
        try:
            batch = _arrived(rule, items_below(root, rule.source), notes, now_ns)
        except (UserError, OSError) as error:
            # A file that vanished just now, or a share that is away: the next look may find it.
            yield "arrival_unreadable", {"error": f"arrival rule {rule.name}: {one_line(error)}"}
            continue
        if batch:
            # The job first: after a crash between the two it is found submitted.
            known = {item.key: notes["seen"][item.key]["fingerprint"] for item in batch}
            job_id = _submit(root, rule, batch, known, notes["last_job"])
            notes["done"] |= known
            notes["last_job"] = job_id
            yield "arrived", {"rule": rule.name, "job_id": job_id, "inputs": len(batch)}
        if json.dumps(notes, sort_keys=True) != before:
            path = _notes_path(root, rule.name)
            path.parent.make_folder()
            path.write(json.dumps(notes).encode() + b"\n")


def _arrived(rule: ArrivalRule, items: list[Item], notes: dict[str, Any], now_ns: int) -> list[Item]:
    """Note what is there now, and return what is to be run, if it is time for that."""
    seen: dict[str, Any] = {}
    for item in items:
        known = notes["seen"].get(item.key)
        if known is None or known["state"] != item.state or known["since_ns"] > now_ns:
            first = now_ns if known is None else min(known["first_ns"], now_ns)
            known = {"state": item.state, "since_ns": now_ns, "first_ns": first, "fingerprint": item.fingerprint()}
        seen[item.key] = known
    notes["seen"] = seen
    open_ = [item for item in items if notes["done"].get(item.key) != seen[item.key]["fingerprint"]]
    debounce_ns = rule.debounce_s * _S
    still = [item for item in open_ if now_ns - seen[item.key]["since_ns"] >= debounce_ns]
    # Data that comes without a pause is not waited for without end.
    oldest_ns = max((now_ns - seen[item.key]["first_ns"] for item in still), default=0)
    if len(still) < len(open_) and oldest_ns < _LONGEST_WAIT * debounce_ns:
        return []
    return still[:_MOST_BATCH]


def _submit(root: Place, rule: ArrivalRule, batch: list[Item], known: Mapping[str, str], before: str | None) -> str:
    """Submit the run of a batch, if that was not done, and return the job's id.

    The job `before` is in the id: the same files may come back after others, and are another batch then. So is when the
    rule was added: one of the same name may run something else.
    """
    text = json.dumps([rule.name, rule.added_ns, before, *sorted(known.items())])
    job_id = f"{rule.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    asked = {**rule.asked, "inputs": [item.path for item in batch], "stream_ids": [item.stream_id for item in batch]}
    data = {"asked": asked, "priority": rule.priority, "arrival": rule.name}
    JobLog(root, job_id).add("submitted", data, after=0)
    return job_id


def _notes(root: Place, name: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {"seen": {}, "done": {}, "last_job": None}
    try:
        return nothing | dict(json.loads(_notes_path(root, name).read()))
    except (FileNotFoundError, ValueError, TypeError):
        return nothing


def _path(root: Place, name: str) -> Place:
    return root / _FOLDER / f"{name}.json"


def _notes_path(root: Place, name: str) -> Place:
    return root / _FOLDER / _NOTED / f"{name}.json"
