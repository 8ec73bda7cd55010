"""Masks and propagation by the package `sam2`, compared with its own predictors on a small model of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.sam2_checkpoints import sam2_of, write_sam2_package
from tests.torch_models import colored
from transforms.models.inference import ModelError
from transforms.models.propagate import Carried, PropagateParams, PropagationState, PropagatorSpec
from transforms.models.segment import Masks, SegmenterSpec, SegmentParams

pytest.importorskip("sam2", reason="the extra `sam2` is not installed")
pytest.importorskip("pycocotools", reason="the extra `annotate` is not installed")

from transforms.models.propagate_package import PackagePropagator
from transforms.models.sam2_package import configuration_of, load_model
from transforms.models.segment_package import PackageSegmenter
from transforms.models.torch_runtime import Device

SIZES = [(90, 160), (120, 100), (90, 160)]
BOXES = [[[10, 20, 80, 60], [90, 5, 155, 85]], [[0, 0, 50, 120]], [[5, 5, 30 + n, 40] for n in range(20)]]
SIZE = (90, 160)
SCORE = 0.8
STABLE = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam2_package(tmp_path_factory.mktemp("weights"))


def objects(corners: list[list[int]], number: int = 0) -> list[dict[str, Any]]:
    return [
        {"annotation_id": f"{number}-{at}", "category": "cat", "score": SCORE, "x": x, "y": y, "w": r - x, "h": b - y}
        for at, (x, y, r, b) in enumerate(corners)
    ]


def masks(checkpoint: Path, at_once: int = 8) -> list[Masks]:
    segmenter = PackageSegmenter(SegmenterSpec("", checkpoint, "tiny", "0" * 64, SegmentParams("sam2-package")))
    ready = [segmenter.prepare(colored(at, *size), objects(BOXES[at], at)) for at, size in enumerate(SIZES)]
    return [each for first in range(0, 3, at_once) for each in segmenter.infer(ready[first : first + at_once])]


def decoded(text: str, size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    from pycocotools import mask as coded

    return np.asarray(coded.decode({"size": list(size), "counts": text.encode()}))


def test_masks_equal_those_of_the_image_predictor(weights: Path) -> None:
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(sam2_of(weights.with_suffix(".yaml"), weights, sam_mask_decoder_extra_args=STABLE))
    # It is written for images of 1024.
    predictor._bb_feat_sizes = [(32, 32), (16, 16), (8, 8)]
    shapes = set()
    for at, (mine, size) in enumerate(zip(masks(weights), SIZES, strict=True)):
        predictor.set_image(np.ascontiguousarray(colored(at, *size)[:, :, ::-1]))
        for number, box in enumerate(BOXES[at]):
            theirs, quality, _ = predictor.predict(box=np.array(box), multimask_output=False)
            if not theirs.any():
                assert f"{at}-{number}" not in mine.ids
                continue
            place = mine.ids.index(f"{at}-{number}")
            found = decoded(mine.run_lengths[place], size)
            # Pixels on the border of a mask may differ.
            assert (found != theirs[0]).mean() < 0.002
            assert mine.scores[place] == pytest.approx(float(quality[0]), abs=1e-3)
            shapes.add(found.tobytes())
    assert len(shapes) > 3
    assert [each.ids for each in masks(weights, at_once=1)] == [each.ids for each in masks(weights)]


def film(n: int) -> list[npt.NDArray[np.uint8]]:
    """Return a view that moves to the right."""
    return [np.roll(colored(1, *SIZE), 6 * at, axis=1) for at in range(n)]


def propagator(checkpoint: Path, **params: Any) -> PackagePropagator:
    return PackagePropagator(
        PropagatorSpec("", checkpoint, "tiny", "0" * 64, PropagateParams("sam2-package", **params)), "key"
    )


def carried(
    model: PackagePropagator, frames: list[npt.NDArray[np.uint8]], corners: list[list[int]]
) -> tuple[list[Carried], PropagationState]:
    state = model.start(model.prepare(frames[0], objects(corners)), 7)
    found = [model.step(state, model.prepare(frame), wanted=True) for frame in frames[1:]]
    return [each for each in found if each is not None], state


def test_propagated_objects_equal_those_of_the_video_predictor(weights: Path, tmp_path: Path) -> None:
    n = 9
    for at, frame in enumerate(film(n)):
        Image.fromarray(frame[:, :, ::-1]).save(tmp_path / f"{at}.jpg", quality=95)
    # What is in the files, since JPEG loses some of it.
    frames = [np.asarray(Image.open(tmp_path / f"{at}.jpg"))[:, :, ::-1] for at in range(n)]
    mine, _ = carried(propagator(weights), frames, BOXES[0])
    predictor = sam2_of(
        weights.with_suffix(".yaml"),
        weights,
        _target_="sam2.sam2_video_predictor.SAM2VideoPredictor",
        sam_mask_decoder_extra_args=STABLE,
        binarize_mask_from_pts_for_mem_enc=True,
    )
    # The whole sequence at once, of which the predictor keeps everything.
    state = predictor.init_state(str(tmp_path))
    for number, box in enumerate(BOXES[0]):
        predictor.add_new_points_or_box(state, frame_idx=0, obj_id=number, box=box)
    before = None
    for at, _, logits in predictor.propagate_in_video(state):
        if at == 0:
            continue
        found = mine[at - 1]
        theirs = (logits[:, 0] > 0).numpy()
        there = [number for number, mask in enumerate(theirs) if mask.any()]
        assert [int(origin["annotation_id"][2:]) for origin in found.origins] == there
        outputs = state["output_dict_per_obj"]
        presence = [float(outputs[k]["non_cond_frame_outputs"][at]["object_score_logits"].sigmoid()) for k in there]
        np.testing.assert_allclose(found.scores, SCORE * np.array(presence), atol=1e-3)
        for text, mask, box in zip(found.run_lengths, theirs[there], found.boxes, strict=True):
            assert (decoded(text) != mask).mean() < 0.01
            ys, xs = np.nonzero(decoded(text))
            assert box.tolist() == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        here = decoded(found.run_lengths[0])
        assert before is None or (here != before).any()
        before = here
    assert len(mine) == n - 1 == sum(len(each.origins) == 2 for each in mine)
    assert {each.origin_idx for each in mine} == {7}


def held(state: PropagationState) -> int:
    """Return how many numbers a state holds."""
    import torch

    def numbers(value: Any) -> int:
        if isinstance(value, torch.Tensor):
            return value.numel()
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        return sum(numbers(part) for part in parts) + len(tuple(parts))

    return sum(numbers(session) for session in state.sessions)


def test_memory_does_not_grow_with_the_number_of_frames(weights: Path) -> None:
    model = propagator(weights)
    frames = film(20)
    state = model.start(model.prepare(frames[0], objects(BOXES[0])), 0)
    sizes = []
    for at in range(1, 41):
        model.step(state, model.prepare(frames[at % 20]), wanted=False)
        sizes.append(held(state))
    assert len(set(sizes[9:])) == 1
    later = state.sessions[0]["output_dict_per_obj"][0]["non_cond_frame_outputs"]
    assert sorted(later) == [38, 39, 40]
    assert [at for at, output in sorted(later.items()) if output["maskmem_features"] is not None] == [39, 40]


def test_results_do_not_depend_on_the_number_of_objects(weights: Path) -> None:
    many = [[4 * at, 5 + at, 4 * at + 60, 50 + at] for at in range(20)]
    model = propagator(weights)
    together, state = carried(model, film(3), many)
    alone, _ = carried(model, film(3), many[17:18])
    assert len(state.sessions) == 2
    found = {origin["annotation_id"]: text for origin, text in zip(*together[-1][1::3], strict=True)}
    assert (decoded(found["0-17"]) != decoded(alone[-1].run_lengths[0])).mean() < 0.01


def test_half_precision_is_close_to_single(weights: Path) -> None:
    half, _ = carried(propagator(weights, precision="bf16"), film(4), BOXES[0])
    full, _ = carried(propagator(weights), film(4), BOXES[0])
    assert (decoded(half[-1].run_lengths[0]) != decoded(full[-1].run_lengths[0])).mean() < 0.2


@pytest.mark.parametrize("size", ["t", "s", "b+", "l"])
@pytest.mark.parametrize("release", ["sam2", "sam2.1"])
def test_published_sizes_are_recognised_by_their_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, size: str
) -> None:
    import sam2
    import torch

    linspace = torch.linspace

    published = Path(sam2.__path__[0]) / "configs" / release / f"{release}_hiera_{size}.yaml"
    # On the device `meta` weights have shapes and no numbers, of which the largest model has a gigabyte.
    with monkeypatch.context() as patch, torch.device("meta"):
        # Of these numbers there are few, and they are read.
        patch.setattr(torch, "linspace", lambda *given, **named: linspace(*given, **{**named, "device": "cpu"}))
        names = {name: weight.shape for name, weight in sam2_of(published).state_dict().items()}
    kept = {name: torch.empty(shape[:1]) for name, shape in names.items() if shape}
    torch.save({"model": kept}, tmp_path / "fine-tuned.pt")
    assert configuration_of(tmp_path / "fine-tuned.pt") == published
    (tmp_path / "fine-tuned.yaml").write_text("model: {}")
    assert configuration_of(tmp_path / "fine-tuned.pt").parent == tmp_path


def test_what_is_no_checkpoint_is_refused_in_one_line(weights: Path, tmp_path: Path) -> None:
    import torch

    (tmp_path / "text.pt").write_text("no checkpoint")
    torch.save({"weights": {}}, tmp_path / "other.pt")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "strange.pt")
    with pytest.raises(ModelError, match="is no checkpoint of torch"):
        configuration_of(tmp_path / "text.pt")
    with pytest.raises(ModelError, match="expected the weights of SAM 2 under 'model'"):
        configuration_of(tmp_path / "other.pt")
    with pytest.raises(ModelError, match="found no image encoder of SAM 2; put its configuration next to it"):
        configuration_of(tmp_path / "strange.pt")
    with pytest.raises(ModelError, match=r"does not fit tiny\.yaml: \d+ weights missing, 1 unknown"):
        load_model(tmp_path / "strange.pt", weights.with_suffix(".yaml"), Device("fp32"), video=False)


def test_a_configuration_makes_classes_of_the_package_alone(weights: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.yaml"
    evil.write_text("model: {_target_: os.mkdir, path: made}")
    with pytest.raises(ModelError, match=r"expected a class of the package sam2, found os\.mkdir"):
        load_model(weights, evil, Device("fp32"), video=False)
    evil.write_text("model: {_target_: sam2.modeling.sam2_base.SAM2Base, image_encoder: {_target_: os.system}}")
    with pytest.raises(ModelError, match=r"found os\.system"):
        load_model(weights, evil, Device("fp32"), video=True)
