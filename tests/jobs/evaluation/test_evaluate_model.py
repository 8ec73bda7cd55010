"""Models measured on sealed frames: known figures, each use counted, and what is refused."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import schemas
from jobs.core.errors import UserError
from jobs.core.plain_values import finite
from jobs.datasets import release
from jobs.dispatch import tasks
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.worst_frames import worst_named
from jobs.models.registry import ModelVersion
from jobs.records.run_events import SilentListener
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import problems, said, winnow
from tests.training_material import CLASSES, labelled_workspace, registered
from transforms.assess.detection_scores import score

pytest.importorskip("torchvision", reason="the extra `train` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.process]

TEST = "release:v1/test"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with 60 labelled images and a release."""
    return labelled_workspace(tmp_path_factory.mktemp("measured"), 60)


@pytest.fixture(scope="module")
def models(workspace: Workspace) -> tuple[ModelVersion, ModelVersion]:
    """Return two versions of the model yard, with random weights."""
    return registered(workspace, "yard", 1), registered(workspace, "yard", 2)


def _evaluate(workspace: Workspace, **options: Any) -> dict[str, Any]:
    job_id = tasks.submit(workspace, EvaluateOptions(**{"by": "ann", "threads": 1, **options}))
    return tasks.run_here(workspace, job_id, SilentListener()) | {"job_id": job_id}


def _rows(workspace: Workspace, table: schemas.Table, **equal: Any) -> list[dict[str, Any]]:
    found = Store(workspace.root).read(table).to_pylist()
    return [row for row in found if all(row[name] == value for name, value in equal.items())]


def test_figures_are_those_of_pycocotools_on_the_test_split(
    workspace: Workspace, models: tuple[ModelVersion, ModelVersion]
) -> None:
    """To 1e-6, from what is recorded of each frame; the frames are those of the split test, and none is left behind."""
    found = _evaluate(workspace, model="yard@1", on=TEST)
    frames = _rows(workspace, schemas.EVALUATION_FRAMES, evaluation_id=found["evaluation_id"])
    sealed = _rows(workspace, schemas.SPLITS, split="test", seed=0)
    assert {row["frame_idx"] for row in frames} == {row["frame_idx"] for row in sealed}
    assert found["frames"] == len(frames) > 5
    assert not list((workspace.folder / "evaluation").rglob("*.png"))
    expected = _scores(frames).metrics
    figures = _rows(workspace, schemas.EVALUATION_FIGURES, evaluation_id=found["evaluation_id"], part="all")
    own = {row["name"]: row["value"] for row in figures}
    assert {name: own[name] for name in expected} == pytest.approx(finite(dict(expected)), abs=1e-6)
    by_class = _rows(workspace, schemas.EVALUATION_FIGURES, evaluation_id=found["evaluation_id"], part="category")
    own_classes = {(row["of"], row["name"]): row["value"] for row in by_class}
    for each in _scores(frames).classes:
        assert own_classes[each.category, "AP"] == pytest.approx(each.AP, abs=1e-6)
        assert own_classes[each.category, "objects"] == each.n_truth
    (row,) = _rows(workspace, schemas.EVALUATIONS, evaluation_id=found["evaluation_id"])
    assert row["ms_per_frame"] > 0
    assert row["objects"] == sum(len(frame["labelled"]) for frame in frames)
    assert row["objects"] == sum(frame["correct"] + frame["missed"] for frame in frames)


def _scores(frames: list[dict[str, Any]]) -> Any:
    edges = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
    numbers = {name: at for at, name in enumerate(CLASSES, 1)}
    document: dict[str, Any] = {
        "images": [{"id": at, "width": 160, "height": 160} for at in range(1, len(frames) + 1)],
        "categories": [{"id": at, "name": name} for name, at in numbers.items()],
        "annotations": [],
    }
    results = []
    for at, frame in enumerate(frames, 1):
        for each in frame["labelled"]:
            box = [each[edge] for edge in edges]
            row = {"image_id": at, "category_id": numbers[each["category"]], "bbox": box, "area": box[2] * box[3]}
            document["annotations"].append({"id": len(document["annotations"]) + 1, "iscrowd": 0, **row})
        results += [
            {
                "image_id": at,
                "category_id": numbers[each["category"]],
                "bbox": [each[edge] for edge in edges],
                "score": each["score"],
            }
            for each in frame["found"]
        ]
    return score(document, results, "bbox", 0.5)


def test_each_use_counts_and_nothing_is_measured_twice(
    workspace: Workspace, models: tuple[ModelVersion, ModelVersion]
) -> None:
    """The rows of the first time are taken, and the second use is counted with who requested it."""
    first = _evaluate(workspace, model="yard@2", on=TEST)
    (before,) = _rows(workspace, schemas.EVALUATIONS, evaluation_id=first["evaluation_id"])
    again = _evaluate(workspace, model="yard@2", on=TEST, by="bob")
    (after,) = _rows(workspace, schemas.EVALUATIONS, evaluation_id=again["evaluation_id"])
    assert before == after
    assert again["AP"] == first["AP"]
    assert again["uses"] == first["uses"] + 1
    uses = _rows(workspace, schemas.TEST_USES, model_id=models[1].model_id)
    assert [(row["by"], row["split"]) for row in sorted(uses, key=lambda row: row["at_ns"])] == [
        ("ann", "test"),
        ("bob", "test"),
    ]


def test_frames_with_the_most_errors_are_a_selection(
    workspace: Workspace, models: tuple[ModelVersion, ModelVersion]
) -> None:
    """In order of their errors, at most fifty."""
    found = _evaluate(workspace, model="yard@1", on=TEST)
    chosen = sorted(
        _rows(workspace, schemas.SELECTIONS, selection=worst_named(models[0].name, models[0].version)),
        key=lambda row: int(row["rank"]),
    )
    frames = pl.DataFrame(_rows(workspace, schemas.EVALUATION_FRAMES, evaluation_id=found["evaluation_id"]))
    errors = dict(frames.select("frame_idx", pl.col("wrong") + pl.col("missed")).iter_rows())
    values = [errors[row["frame_idx"]] for row in chosen]
    assert values == sorted(values, reverse=True)
    assert len(values) == sum(1 for value in errors.values() if value)


def test_two_models_are_compared_and_the_answer_is_kept(
    workspace: Workspace, models: tuple[ModelVersion, ModelVersion]
) -> None:
    """By the command: random weights are worth nothing, so that neither is better for sure."""
    words = ("evaluate", "model", "yard@2", "--on", TEST, "--against", "yard@1", "--threads", "1", "--json")
    found = said(winnow(*words, "-w", workspace.root))
    assert found["against"]["model"] == "yard@1"
    assert found["against"]["verdict"] in {"not_better", "worse", "better"}
    (row,) = _rows(workspace, schemas.COMPARISONS, evaluation_id=found["evaluation_id"])
    assert row["verdict"] == found["against"]["verdict"]
    assert row["units"] == found["units"] >= 8
    printed = winnow(*words[:-1], "-w", workspace.root)
    assert "against yard@1" in printed.output
    assert "disc" in printed.output


@pytest.mark.parametrize(
    ("model", "on", "against", "problem"),
    [
        ("yard@9", TEST, None, "yard has the versions 1, 2"),
        ("yard@1", "v1/test/more", None, "expected release:NAME/SPLIT"),
        ("yard@1", "release:v9/test", None, "v9"),
        ("yard@1", "release:v1/train", None, "that is what models learn from"),
        ("yard@1", "release:v1", None, "trained or chosen with"),
        ("yard@1", TEST, "@champion", "no version of yard is champion yet"),
        ("yard@1", TEST, "yard@1", "nothing to compare"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    workspace: Workspace,
    models: tuple[ModelVersion, ModelVersion],
    model: str,
    on: str,
    against: str | None,
    problem: str,
) -> None:
    """One line, and no use is counted."""
    if not _rows(workspace, schemas.SPLITS, split="train"):
        _evaluate(workspace, model="yard@1", on=TEST)
    before = len(_rows(workspace, schemas.TEST_USES))
    more = ("--against", against) if against else ()
    result = winnow("evaluate", "model", model, "--on", on, *more, "-w", workspace.root)
    assert isinstance(result.exception, UserError)
    assert result.exception.exit_code == 2
    assert any(problem in line for line in problems(result)), problems(result)
    assert len(_rows(workspace, schemas.TEST_USES)) == before


def test_a_release_of_other_frames_is_measured_whole(
    workspace: Workspace, models: tuple[ModelVersion, ModelVersion]
) -> None:
    """Frames under another seed were trained on by no model: only the model's own training speaks against them."""
    release.create(Store(workspace.root), "later")
    other = registered(workspace, "gate", 3, params='{"release":"later","model":"x","name":"gate","split_seed":7}')
    found = _evaluate(workspace, model=other.reference, on="release:later")
    assert found["frames"] > 40
