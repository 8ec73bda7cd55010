"""Objects that are carried on, compared with the library's own session on a small model of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

import schemas
from tests.torch_models import colored, write_sam2_video
from transforms.models.inference import REQUEST
from transforms.models.propagate import Carried, PropagateParams, PropagationState, Propagator, PropagatorSpec

pytest.importorskip("transformers", reason="the extra `transformers` is not installed")
pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")
SIZE = (90, 160)
CORNERS = [[10, 20, 80, 60], [90, 5, 155, 85]]
SCORE = 0.8


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam2_video(tmp_path_factory.mktemp("weights") / "tiny")


def picture(at: int) -> npt.NDArray[np.uint8]:
    """Return a view that moves to the right."""
    return np.roll(colored(1, *SIZE), 6 * at, axis=1)


def objects(corners: list[list[int]] = CORNERS) -> list[dict[str, Any]]:
    return [
        {"annotation_id": f"{at}", "category": "cat", "score": SCORE, "x": x, "y": y, "w": r - x, "h": b - y}
        for at, (x, y, r, b) in enumerate(corners)
    ]


def propagator(folder: Path, **params: Any) -> Propagator:
    return Propagator(PropagatorSpec("Sam2VideoModel", folder, "tiny", "0" * 64, PropagateParams(**params)), "key")


def carried(model: Propagator, n: int, corners: list[list[int]] = CORNERS) -> tuple[list[Carried], PropagationState]:
    state = model.start(model.prepare(picture(0), objects(corners)), 7)
    said = [model.step(state, model.prepare(picture(at)), wanted=True) for at in range(1, n)]
    return [each for each in said if each is not None], state


def decoded(text: str) -> npt.NDArray[np.uint8]:
    from pycocotools import mask as coded

    return np.asarray(coded.decode({"size": list(SIZE), "counts": text.encode()}))


def test_propagated_objects_equal_those_of_the_library(weights: Path) -> None:
    import torch
    from transformers import Sam2VideoModel, Sam2VideoProcessor

    n = 9
    mine, _ = carried(propagator(weights), n)
    model, processor = Sam2VideoModel.from_pretrained(weights).eval(), Sam2VideoProcessor.from_pretrained(weights)
    film = [np.ascontiguousarray(picture(at)[:, :, ::-1]) for at in range(n)]
    # The whole sequence at once, of which the library keeps everything.
    session = processor.init_video_session(video=film)
    assert processor.add_inputs_to_inference_session(session, 0, [0, 1], input_boxes=[CORNERS]) is None
    model(inference_session=session, frame_idx=0)
    before = None
    for said in model.propagate_in_video_iterator(session):
        if said.frame_idx == 0:
            continue
        found = mine[said.frame_idx - 1]
        whole = processor.post_process_masks([said.pred_masks], original_sizes=[SIZE])[0][:, 0].numpy()
        there = [at for at, mask in enumerate(whole) if mask.any()]
        assert [int(origin["annotation_id"]) for origin in found.origins] == there
        presence = torch.sigmoid(said.object_score_logits).flatten().numpy()[there]
        np.testing.assert_allclose(found.scores, SCORE * presence, atol=1e-3)
        for text, mask, box in zip(found.run_lengths, whole[there], found.boxes, strict=True):
            # Pixels on the border of a mask may differ.
            assert (decoded(text) != mask).mean() < 0.01
            ys, xs = np.nonzero(decoded(text))
            assert box.tolist() == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        masks = decoded(found.run_lengths[0])
        assert before is None or (masks != before).any()
        before = masks
    assert len(mine) == n - 1 == sum(len(each.origins) == 2 for each in mine)
    assert {each.origin_idx for each in mine} == {7}


def held(state: PropagationState) -> tuple[int, int]:
    """Return how many outputs of frames are stored, over all objects, and how many numbers they and frames take."""
    outputs = [
        output
        for session in state.sessions
        for of in session.output_dict_per_obj.values()
        for frames in of.values()
        for output in frames.values()
    ]
    frames = [f for session in state.sessions for f in session.processed_frames.values()]
    tracked = sum(len(t) for session in state.sessions for t in session.frames_tracked_per_obj.values())
    cached = {id(session.cache): len(session.cache._vision_features) for session in state.sessions}
    numbers = sum(t.numel() for output in outputs for t in output.values()) + sum(f.numel() for f in frames)
    return len(outputs) + len(frames) + tracked, numbers + sum(cached.values())


def test_memory_does_not_grow_with_the_number_of_frames(weights: Path) -> None:
    model = propagator(weights)
    state = model.start(model.prepare(picture(0), objects()), 0)
    sizes = []
    for at in range(1, 101):
        model.step(state, model.prepare(picture(at)), wanted=False)
        sizes.append(held(state))
    assert len(set(sizes[9:])) == 1
    # The first frame, and three more whose object pointers are used, of two objects.
    assert sizes[-1][0] == (1 + 3) * 2
    session = state.sessions[0]
    whole = [n for n, o in session.output_dict_per_obj[0]["non_cond_frame_outputs"].items() if "maskmem_features" in o]
    assert whole == [99, 100]


def test_results_do_not_depend_on_the_number_of_objects(weights: Path) -> None:
    many = [[4 * at, 5 + at, 4 * at + 60, 50 + at] for at in range(20)]
    model = propagator(weights)
    together, state = carried(model, 3, many)
    alone, _ = carried(model, 3, many[17:18])
    assert len(state.sessions) == 2
    last = {origin["annotation_id"]: text for origin, text in zip(*together[-1][1::3], strict=True)}
    assert (decoded(last["17"]) != decoded(alone[-1].run_lengths[0])).mean() < 0.01


def test_invisible_objects_are_not_propagated(weights: Path) -> None:
    sure, _ = carried(propagator(weights), 4)
    presence = max(float(each.scores.max()) for each in sure) / SCORE
    assert 0.5 < presence < 0.6
    none, _ = carried(propagator(weights, min_presence=0.6), 4)
    assert [len(each.origins) for each in none] == [0, 0, 0]


def test_half_precision_is_close_to_single(weights: Path) -> None:
    half, _ = carried(propagator(weights, precision="bf16"), 4)
    full, _ = carried(propagator(weights), 4)
    assert (decoded(half[-1].run_lengths[0]) != decoded(full[-1].run_lengths[0])).mean() < 0.2


def test_rows_fit_their_tables(weights: Path) -> None:
    model = propagator(weights)
    results, _ = carried(model, 3)
    none = Carried(7, (), np.empty((0, 4), np.float32), np.empty(0, np.float32), ())
    some = [{"stream_id": "a", "frame_idx": n, "window_id": 7 + n, "input_id": n} for n in range(3)]
    frames = pa.Table.from_pylist(some, pa.schema([REQUEST.field(n) for n in some[0]]))
    rows = model.rows(frames, [results[0], none, results[1]])
    for table in (schemas.PROPAGATIONS, schemas.PROPAGATED):
        table.check(rows[table.name].select(table.file_schema.names).cast(table.file_schema))
    assert rows["propagated"].select(["n_propagated", "origin_idx", "content_id"]).to_pydict() == {
        "n_propagated": [2, 0, 2],
        "origin_idx": [7, 7, 7],
        "content_id": [0, 1, 2],
    }
    found = rows["propagations"].select(["frame_idx", "input_id", "origin_id", "category", "source"]).to_pylist()
    assert found[0] == {"frame_idx": 0, "input_id": 7, "origin_id": "0", "category": "cat", "source": "sam2_video"}
    assert [each["origin_id"] for each in found] == ["0", "1", "0", "1"]
    assert len(set(rows["propagations"]["annotation_id"].to_pylist())) == 4
