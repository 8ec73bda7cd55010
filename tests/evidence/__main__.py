"""Hold the verdicts against labelled material and write what comes out into docs/evaluation.md.

`python -m tests.evidence FOLDER`, where FOLDER holds `detection`, `duplicates`, `quality` and `sequences` as the
realdata tests use them. Everything runs with the default configuration.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from jobs.analysis.curation_eval import Evaluation, evaluate
from jobs.analysis.labels import read_labels
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.evidence import frozen, material, soft
from tests.helpers import go
from transforms.assess.curation_scores import agreement, roc_auc
from transforms.metrics.hashing import from_hex
from transforms.synthetic import Sample

PAGE = Path(__file__).parents[2] / "docs/evaluation.md"
_BEGIN, _END = "<!-- Written by `make evidence`. -->", "<!-- End of what is written. -->"

IDLE = {
    "car-detection": [(0, 55), (107, 179), (239, 313), (348, 376)],
    "bottle-detection": [
        (0, 168),
        (214, 328),
        (404, 468),
        (535, 648),
        (737, 812),
        (868, 914),
        (957, 1029),
        (1103, 1188),
    ],
    "one-by-one-person-detection": [
        (0, 59),
        (195, 227),
        (448, 504),
        (697, 744),
        (866, 924),
        (1197, 1234),
        (1359, 1393),
    ],
    "01_dog": [],
    "03_blocks": [],
    "05_default_juggle": [],
    "solidWhiteRight": [],
    "bedroom": [],
}
"""Frames in which nothing moves, read off the clips by eye: within 5 frames. In the third, frames without a person."""


class Bench:
    """A place for workspaces, one per set."""

    def __init__(self, data: Path, place: Path) -> None:
        self.data = data
        self._place = place

    def folder(self, name: str) -> Path:
        return self._place / name

    def run(self, name: str, *inputs: Path, settings: Sequence[str] = ()) -> View:
        workspace = Workspace.at(self._place / f"{name}.tables")
        go(workspace, *inputs, settings=list(settings))
        return View.of(workspace)

    def held(self, view: View, labels: dict[str, Any]) -> Evaluation:
        path = self._place / "labels.json"
        path.write_text(json.dumps(labels))
        return evaluate(view, read_labels([path]))


def grid(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *[[_cell(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.3f}"
    return str(value)


def blur(bench: Bench, photos: list[material.Picture]) -> str:
    """Photos sharp and blurred, in one stream."""
    sets = {
        "out of focus by 0.4 % of the width": (0.004, False),
        "out of focus by 0.8 %": (0.008, False),
        "out of focus by 2 %": (0.02, False),
        "moved by 1.2 %": (0.012, True),
        "moved by 2.5 %": (0.025, True),
    }
    rows = []
    for number, (name, (share, moving)) in enumerate(sets.items()):
        folder = material.stream(bench.folder(f"blur{number}"), material.blurred(photos, share, moving))
        view = bench.run(folder.name, folder)
        n = 2 * len(photos)
        labels = [{"stream_id": folder.name, "frame_idx": i, "blurry": i % 2} for i in range(n)]
        found = bench.held(view, {"frames": labels}).flags[0]
        plain = view.lazy("quality").sort("frame_idx").collect()["laplacian_var"].to_numpy().astype(np.float64)
        rows.append(
            (
                name,
                f"{found.n_positive} of {n}",
                found.auc,
                roc_auc(-plain, np.arange(n) % 2 == 1),
                found.precision,
                found.recall,
                found.suggested,
            )
        )
    heads = ("photos", "blurred", "AUC", "AUC of `laplacian_var`", "precision", "recall", "best threshold")
    return grid(heads, rows)


def flags(bench: Bench, photos: list[material.Picture]) -> str:
    """Exposure, the generator, and the example set of CleanVision."""
    rows = []

    def add(name: str, found: Evaluation) -> None:
        for f in found.flags:
            if f.n_positive:
                counts = f"{f.n_positive} of {f.n_positive + f.n_negative}"
                rows.append((name, f.flag, counts, f.auc, f.precision, f.recall, f.suggested))

    folder = material.stream(bench.folder("exposed"), material.exposed(photos))
    labels = [{"stream_id": "exposed", "frame_idx": i, "dark": i % 3 == 2} for i in range(3 * len(photos))]
    add("photos by day, at dusk, at night", bench.held(bench.run("exposed", folder), {"frames": labels}))

    sample, planted = Sample(), Sample().planted
    folder = bench.folder("sample")
    folder.mkdir()
    for index, data in sample.files():
        (folder / f"image_{index}.jpg").write_bytes(data)
    view = bench.run("sample", folder)
    known = view.lazy("frames").filter(pl.col("status") == "ok").collect()["frame_idx"].to_list()
    truth = {"blurry": planted.blurry, "dark": planted.dark, "overexposed": planted.overexposed}
    labels = [{"stream_id": "sample", "frame_idx": i, **{f: i in s for f, s in truth.items()}} for i in known]
    add("the generator", bench.held(view, {"frames": labels}))

    images = bench.data / "quality/cleanvision"
    truth = json.loads((images / "labels.json").read_text())
    number = {path.name: int(path.stem.rpartition("_")[2]) for path in (images / "images").glob("*.png")}
    kinds = {
        "blurry": "blurry",
        "dark": "dark",
        "overexposed": "light",
        "low_information": "low_information_candidates",
    }
    labels = [
        {"stream_id": "images", "frame_idx": i, **{flag: name in truth[theirs] for flag, theirs in kinds.items()}}
        for name, i in number.items()
    ]
    add("CleanVision's examples", bench.held(bench.run("cleanvision", images / "images"), {"frames": labels}))
    return grid(("material", "flag", "labelled", "AUC", "precision", "recall", "best threshold"), rows)


def soft_streams(bench: Bench, photos: list[material.Picture]) -> str:
    """Streams out of focus as a whole, which is found where scenes are unlike, and of which some frames are."""
    folder = bench.folder("soft")
    labels: dict[str, tuple[str, str]] = {}
    for share in (0.008, 0.012, 0.02, 0.04):
        small = [material.resized(photo, 640 if number % 2 else 320) for number, photo in enumerate(photos)]
        place = material.stream(folder / f"photos{share}", soft.unfocused(small, share))
        labels[place.name] = ("photos of unlike scenes", f"all, by {share:.1%}")
    for clip in soft.CLIPS:
        frames = soft.frames_of(bench.data, clip)
        for every in (1, 10):
            place = material.stream(folder / f"{clip}{every}", soft.unfocused(frames, soft.UNFOCUSED, every))
            which = "all" if every == 1 else "every tenth"
            labels[place.name] = (clip, f"{which}, by {soft.UNFOCUSED:.1%}")
    stages = "stages=[frames,quality,curation]"
    view = bench.run("soft", *sorted(folder.iterdir()), settings=(stages,))
    counts = (
        view.lazy("curation")
        .group_by("stream_id")
        .agg(
            pl.len(),
            pl.col("reasons").list.contains("blurry").sum().alias("blurry"),
            pl.col("flags").list.contains("soft_throughout").sum().alias("soft"),
        )
        .collect()
    )
    found = {stream: rest for stream, *rest in counts.iter_rows()}
    rows = [(*about, *found[name]) for name, about in labels.items()]
    return grid(("material", "out of focus", "frames", "called blurry", "soft throughout, kept"), rows)


def duplicates(bench: Bench, photos: list[material.Picture]) -> str:
    """Edits of photos: each edit with its original, and every two images of unlike photos."""
    folder = material.stream(bench.folder("edits"), material.edited(photos))
    verified = bench.run("edits", folder)
    by_hash = bench.run("edits6", folder, settings=("duplicates.verify=none", "duplicates.hamming=6"))
    n_edits = len(material.EDITS) + 1
    group = {
        name: view.lazy("duplicates").sort("frame_idx").collect()["group_id"].to_numpy()
        for name, view in (("verified", verified), ("hash", by_hash))
    }
    words = from_hex(verified.lazy("fingerprints").sort("frame_idx").collect()["phash"].to_arrow())
    first = np.arange(len(photos)) * n_edits
    rows: list[tuple[object, ...]] = []
    for at, name in enumerate(material.EDITS, 1):
        close = float((np.bitwise_count(words[first] ^ words[first + at]) <= 6).mean())
        same = {kind: float((ids[first] == ids[first + at]).mean()) for kind, ids in group.items()}
        is_same = "no" if name in material.NOT_THE_SAME else "yes"
        rows.append((name, is_same, close, same["hash"], same["verified"]))
    photo = np.arange(len(words)) // n_edits
    edit = np.arange(len(words)) % n_edits
    unlike = np.isin(edit, [at for at, name in enumerate(material.EDITS, 1) if name in material.NOT_THE_SAME])
    totals = []
    for kind in ("hash", "verified"):
        _, ids = np.unique(group[kind], return_inverse=True)
        left, right = np.triu_indices(len(words), 1)
        truth = (photo[left] == photo[right]) & ~unlike[left] & ~unlike[right]
        found = agreement(ids[left] == ids[right], truth)
        totals.append(f"{kind}: precision {found.precision:.4f}, recall {found.recall:.4f}")
    table = grid(
        ("edit", "a duplicate", "within 6 bits", "grouped with the photo by hash alone", "grouped with it, verified"),
        rows,
    )
    return f"{table}\n\nOver all pairs of images: {'; '.join(totals)}."


def logos(bench: Bench, photos: list[material.Picture]) -> str:
    """Patches in a corner, which the hash of a whole image bears badly."""
    folder = material.stream(bench.folder("logos"), material.with_logos(photos))
    shape = (len(photos), 1 + len(material.LOGO_AREAS) * len(material.LOGO_KINDS))
    rows: list[tuple[object, ...]] = []
    totals = []
    for name, given in _LOGO_RUNS.items():
        # In one workspace: what was measured is not measured again.
        found = (
            bench.run("logos", folder, settings=given)
            .lazy("duplicates")
            .sort("frame_idx")
            .collect()["group_id"]
            .to_numpy()
        )
        _, ids = np.unique(found, return_inverse=True)
        ids = ids.reshape(shape)
        same = (ids[:, :1] == ids[:, 1:]).reshape(len(photos), len(material.LOGO_AREAS), -1).mean(axis=0)
        rows += [
            (name, f"{area:.1%}", *(float(x) for x in kinds), float(kinds.mean()))
            for area, kinds in zip(material.LOGO_AREAS, same, strict=True)
        ]
        mixed = len(set(zip(ids.ravel().tolist(), np.repeat(np.arange(shape[0]), shape[1]).tolist(), strict=True)))
        totals.append(f"{name}, {mixed - len(np.unique(ids))}")
    table = grid(("grouped by", "area of the logo", *material.LOGO_KINDS, "all"), rows)
    return f"{table}\n\nGroups with an unlike photo in them: {'; '.join(totals)}."


_LOGO_RUNS = {
    "hash alone, 6 bits": ("duplicates.verify=none", "duplicates.hamming=6"),
    "hash alone, 10 bits": ("duplicates.verify=none", "duplicates.hamming=10"),
    "the default": (),
}


def pairs(bench: Bench) -> str:
    """The pairs that other projects publish expectations for."""
    dedup = bench.data / "duplicates/imagededup/mixed_images"
    folder = bench.folder("ukbench")
    folder.mkdir()
    names = sorted(path.name for path in dedup.glob("*.jpg"))
    for number, name in enumerate(names):
        shutil.copy(dedup / name, folder / f"frame_{number}.jpg")
    view = bench.run("ukbench", folder)
    ids = {
        names[i]: group for i, group in view.lazy("duplicates").select("frame_idx", "group_id").collect().iter_rows()
    }
    original = "ukbench00120.jpg"
    rows = [
        ("imagededup", f"{original}, {other}", expected, "yes" if ids.get(original) == ids.get(other, "") else "no")
        for other, expected in (
            ("ukbench00120_resize.jpg", "yes"),
            ("ukbench00120_hflip.jpg", "no"),
            ("ukbench00120_rotation.jpg", "no"),
            ("ukbench09268.jpg", "no"),
        )
    ]
    groups = View.of(Workspace.at(bench.folder("cleanvision.tables"))).lazy("duplicates").collect()
    of = dict(groups.select("frame_idx", "group_id").iter_rows())
    rows += [
        ("CleanVision", f"{a} and {b}", "yes", "yes" if of[a] == of[b] else "no") for a, b in ((142, 236), (103, 408))
    ]
    return grid(("from", "images", "duplicates", "found"), rows)


def idle(bench: Bench) -> str:
    """Clips in which somebody looked for the frames without motion."""
    rows = []
    for name, truth in IDLE.items():
        source = bench.data / "sequences" / (name if name == "bedroom" else f"{name}.mp4")
        view = bench.run(f"idle-{name}", source)
        (stream,) = view.selection.streams
        labels = [{"stream_id": stream, "start_idx": a, "end_idx": b} for a, b in truth] or [{"stream_id": stream}]
        found = bench.held(view, {"idle": labels}).idle[0]
        n = view.lazy("frames").select(pl.len()).collect().item()
        intervals = view.lazy("idle").collect().height
        rows.append((name, n, len(truth), intervals, f"{found['n_found']}", found["iou"], found["boundary_error"]))
    heads = ("clip", "frames", "labelled", "intervals found", "labelled ones found", "IoU", "boundary error, frames")
    return grid(heads, rows)


def freezes(bench: Bench, photos: list[material.Picture]) -> str:
    """Feeds that freeze for a while, as several encoders write them."""
    folder = bench.folder("freezes")
    folder.mkdir()
    scenes = list(frozen.scenes(photos))
    names = {}
    for number, (name, write) in enumerate(frozen.ENCODERS.items()):
        for at, (noise, scene) in enumerate(scenes):
            place = write(folder / f"f{number}_{at}", frozen.filmed(scene, noise, at))
            names[place.stem] = name
    stages = "stages=[frames,fingerprints,motion,scenes,idle]"
    view = bench.run("freezes", *sorted(folder.iterdir()), settings=(stages,))
    found = view.lazy("idle").filter("frozen").collect()
    said = dict.fromkeys(frozen.ENCODERS, 0)
    wrong = dict(said)
    first, last = frozen.LIVE, frozen.LIVE + frozen.STUCK - 1
    for stream, start, end in found.select("stream_id", "start_idx", "end_idx").iter_rows():
        inside = max(0, min(end, last) - max(start, first) + 1)
        said[names[stream]] += inside
        wrong[names[stream]] += end - start + 1 - inside
    n, live = len(scenes) * frozen.STUCK, len(scenes) * (frozen.LIVE + frozen.BACK)
    rows = [(name, f"{said[name] / n:.2f}", f"{wrong[name]} of {live}") for name in frozen.ENCODERS]
    return grid(("written as", "of the freeze, called frozen", "live frames called frozen"), rows)


def main() -> None:
    """Run everything on the folder that the first argument names."""
    data = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(data, Path(place))
        photos = material.photos(data)
        parts = {
            "### Blur": blur(bench, photos),
            "### Streams that are soft throughout": soft_streams(bench, photos),
            "### Other flags": flags(bench, photos),
            "### Duplicates": "\n\n".join([duplicates(bench, photos), logos(bench, photos), pairs(bench)]),
            "### Idle intervals": idle(bench),
            "### Frozen feeds": freezes(bench, photos),
        }
    written = "\n\n".join(f"{head}\n\n{table}" for head, table in parts.items())
    text = PAGE.read_text()
    before, after = text.split(_BEGIN)[0], text.split(_END)[1]
    PAGE.write_text(f"{before}{_BEGIN}\n\n{written}\n\n{_END}{after}")
    sys.stdout.write(written + "\n")


if __name__ == "__main__":
    main()
