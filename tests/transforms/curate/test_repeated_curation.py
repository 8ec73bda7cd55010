from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.curate.test_curation import GOOD
from transforms.curate.curation import INPUT, MEASURED, REASONS, CurationParams, curate
from transforms.curate.repeated_curation import RepeatedCuration

_FRAME = st.fixed_dictionaries(
    {
        "stream_id": st.sampled_from(["b", "a", "c"]),
        "sharpness": st.sampled_from([2.0, 5.0, 80.0, 300.0, 500.0, None]),
        "luma_mean": st.sampled_from([20.0, 40.0, 120.0, 230.0, None]),
        "entropy": st.sampled_from([2.0, 7.0]),
        "decodable": st.booleans(),
        "damaged_data": st.sampled_from([True, False, None]),
        "width": st.sampled_from([640, 1280]),
        "interval": st.sampled_from([None, 0, 7]),
        "group": st.sampled_from([None, 1, 2**40, -3]),
        "content_id": st.integers(0, 5),
    }
)
_MOVE = st.tuples(
    st.builds(
        CurationParams,
        blurry_floor=st.sampled_from([None, 100.0]),
        blurry_relative=st.sampled_from([0.4, 0.9]),
        dark_mean=st.sampled_from([0.0, 32.0, 130.0]),
        dark_p95=st.just(0.0),
        soft_streams=st.sampled_from(["keep", "drop"]),
        ignore=st.lists(st.sampled_from(REASONS), max_size=2, unique=True).map(tuple),
    ),
    st.integers(0, 3),
)


@given(st.lists(_FRAME, max_size=40), st.lists(_MOVE, min_size=1, max_size=5))
def test_after_any_moves_of_thresholds_all_is_as_it_is_decided_at_once(
    frames: list[dict[str, Any]], moves: list[tuple[CurationParams, int]]
) -> None:
    rows = [GOOD | frame | {"frame_idx": 1000 - number} for number, frame in enumerate(frames)]
    table = pa.Table.from_pylist(rows, INPUT)
    repeated = RepeatedCuration(table, "laplacian_var")
    for params, keep in moves:
        found = repeated.decide(params, keep)
        expected = curate(table, params, "laplacian_var", keep).sort_by(
            [("stream_id", "ascending"), ("frame_idx", "ascending")]
        )
        assert [found.streams[at] for at in found.stream] == expected["stream_id"].to_pylist()
        assert found.frame_idx.tolist() == expected["frame_idx"].to_pylist()
        reasons = [[name for at, name in enumerate(REASONS) if bits >> at & 1] for bits in found.bits.tolist()]
        assert reasons == expected["reasons"].to_pylist()


def test_measures_are_those_of_the_frames_in_order() -> None:
    rows = [GOOD | {"frame_idx": number, "content_id": number, "sharpness": float(number)} for number in (2, 1)]
    repeated = RepeatedCuration(pa.Table.from_pylist(rows, INPUT), "laplacian_var")
    assert repeated.measures.columns == list(MEASURED)
    assert repeated.measures["sharpness"].to_list() == [1.0, 2.0]
    assert repeated.n_bytes > 0
