"""Seconds of brands on generated broadcasts, found and true: `python -m tests.evidence.brands` writes the docs.

Some seeds were used while thresholds were chosen, others were not. A true second has the brand at least 20 pixels high
and at least 60 % of it visible. A found second is wrong where nothing of the brand is visible that is at least 12
pixels high and 30 % visible.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from conf import load
from jobs.ingest.brand_dictionary import import_dictionary
from jobs.ingest.catalogue import IngestOverrides
from jobs.runs.run import RunRequest, run
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.broadcast import BRANDS, LOGO, Broadcast, Truth
from tests.evidence.__main__ import grid
from tests.sign_faces import logo_image

PAGE = Path(__file__).parents[2] / "docs/brands.md"
BEGIN, END = "<!-- Written by `make evidence`. -->", "<!-- End of what is written. -->"
QUALITIES = {"high": 23, "low": 36}
RUNS = (("tuned", 1, "high"), ("tuned", 11, "high"), ("tuned", 11, "low"), ("held out", 12, "low"))
FPS, SECONDS = 5, 24.0


class Held(NamedTuple):
    """A brand on one broadcast: true and found seconds, how many of the found ones are right, and of the true found."""

    brand: str
    true_s: float
    found_s: float
    right_s: float
    met_s: float


class Broadcasted(NamedTuple):
    """What one broadcast came to: its brands, crops that were read, lines that were found, and crossed cuts."""

    held: list[Held]
    n_read: int
    n_lines: int
    n_across: int


def evaluate(seed: int, crf: int, folder: Path, settings: Sequence[str] = ()) -> Broadcasted:
    """Make a broadcast, run the profile on it, and compare what it found with what is visible."""
    clip = folder / f"match_{seed}_{crf}.mp4"
    truth = Broadcast(seed, fps=FPS, seconds=SECONDS).write(clip, crf)
    cv2.imwrite(str(folder / "logo.png"), logo_image(256))
    lines = [f"- {{name: {name}}}" for name in BRANDS] + [f"- {{name: {LOGO}, logos: [logo.png]}}"]
    (folder / "brands.yaml").write_text("brands:\n" + "\n".join(lines))
    workspace = Workspace.at(folder / f"tables_{seed}_{crf}").create()
    import_dictionary(Store(workspace.root), folder / "brands.yaml")
    loaded = load("brands", settings=(f"ingest.fps={FPS}", *settings))
    run(RunRequest(workspace, [str(clip)], loaded, IngestOverrides()))
    return _compared(View.of(workspace), truth)


def _compared(view: View, truth: Truth) -> Broadcasted:
    spans = view.sql("SELECT brand, start_s, end_s FROM appearances WHERE state = 'resolved'").to_pylist()
    times = np.array(truth.times)
    held = []
    for brand in (*BRANDS, LOGO):
        found = np.zeros(len(times), np.bool_)
        for span in (each for each in spans if each["brand"] == brand):
            found |= (times >= span["start_s"] - 1e-3) & (times < span["end_s"] - 1e-3)
        strict, loose = truth.seconds(brand), truth.seconds(brand, 12, 0.3)
        held.append(Held(brand, *(float(each.sum()) / FPS for each in (strict, found, found & loose, found & strict))))
    counts = view.sql(
        "SELECT (SELECT count(*) FROM readings) AS n_read, "
        "(SELECT count(*) FROM regions WHERE kind = 'line' AND read_as IS NOT NULL) AS n_lines"
    ).to_pylist()[0]
    across = sum(span["start_s"] < cut - 0.01 < cut + 0.01 < span["end_s"] for span in spans for cut in truth.cuts)
    return Broadcasted(held, counts["n_read"], counts["n_lines"], across)


def total(held: Sequence[Held]) -> Held:
    """Return the sum over brands."""
    sums: npt.NDArray[np.float64] = np.array([each[1:] for each in held], np.float64).sum(axis=0)
    return Held("all", *sums.tolist())


def _row(name: str, quality: str, each: Held) -> tuple[object, ...]:
    precision = each.right_s / each.found_s if each.found_s else float("nan")
    recall = each.met_s / each.true_s if each.true_s else float("nan")
    return (name, quality, each.brand, f"{each.true_s:.1f}", f"{each.found_s:.1f}", precision, recall)


def tables(made: Sequence[Broadcasted]) -> str:
    """Return the tables of what `RUNS` came to, without brands that are neither visible nor found."""
    rows: list[tuple[object, ...]] = []
    calls: list[tuple[object, ...]] = []
    for (kind, seed, quality), one in zip(RUNS, made, strict=True):
        name = f"{seed}, {kind}"
        rows += [_row(name, quality, each) for each in (*one.held, total(one.held)) if each.true_s or each.found_s]
        calls.append((name, quality, one.n_lines, one.n_read, one.n_read / max(1, one.n_lines), one.n_across))
    seconds = grid(("seed", "bit rate", "brand", "true s", "found s", "precision", "recall"), rows)
    heads = ("seed", "bit rate", "lines on frames", "lines read", "share", "appearances across a cut")
    return f"{seconds}\n\n{grid(heads, calls)}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        written = tables([evaluate(seed, QUALITIES[quality], Path(place)) for _, seed, quality in RUNS])
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{written}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} is written\n")
