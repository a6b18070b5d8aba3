"""N:M structured sparsity of weights: bytes, cycles, counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.base.errors import InputError, MappingError
from accelsim.simulation import simulate
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Matmul, Tensor

ARRAY = {"core.matrix.rows": 16, "core.matrix.cols": 16}


def layer(m, k, n, dtype="int8"):
    def build(batch):
        x = Tensor(name="x", shape=(batch * m, k), dtype=dtype)
        w = Tensor(name="w", shape=(k, n), dtype=dtype, role="weight")
        y = Tensor(name="y", shape=(batch * m, n), dtype=dtype)
        return Graph(name="one", ops=(Matmul(name="fc", inputs=(x, w), outputs=(y,), m=batch * m, k=k, n=n),))

    return build


@pytest.mark.parametrize(
    ("pattern", "bits"),
    [((1, 1), 8), ((2, 4), 5), ((1, 4), 2.5), ((4, 8), 5.5)],  # kept x (8 + log2 M) / M
)
def test_a_sparse_weight_is_its_kept_elements_and_their_places(pattern, bits):
    tensor = Tensor(name="w", shape=(64, 64), dtype="int8", role="weight", sparsity=pattern)
    assert tensor.bytes == 64 * 64 * bits / 8


@pytest.mark.parametrize(("pattern", "factor"), [("2:4", 2), ("1:4", 4)])
def test_folds_fall_with_the_rows_that_are_kept(pattern, factor):
    """K = 256 on 16 rows: 16 folds, 8 with 2:4, 4 with 1:4; each takes 2R + C + M - 2."""
    sparse = simulate("ideal_systolic", layer(50, 256, 16), precision="int8", overrides=ARRAY, sparsity=pattern)
    assert sparse.ops[0].compute_cycles == 16 // factor * (2 * 16 + 16 + 50 - 2)
    assert sparse.macs == 50 * 256 * 16 // factor


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 200), st.sampled_from(["2:4", "1:4", "1:2"]))
def test_sparsity_never_slows_and_utilisation_stays_below_one(m, k, n, pattern):
    dense = simulate("ideal_systolic", layer(m, k, n), precision="int8", overrides=ARRAY)
    sparse = simulate("ideal_systolic", layer(m, k, n), precision="int8", overrides=ARRAY, sparsity=pattern)
    assert sparse.latency_s <= dense.latency_s
    assert sparse.mac_utilization <= 1
    assert sparse.latency_s >= sparse.roofline_latency_s
    assert dense.macs * int(pattern[0]) // int(pattern[2]) <= sparse.macs <= dense.macs
    assert sparse.energy_breakdown_j["mac"] < dense.energy_breakdown_j["mac"] or sparse.macs == dense.macs


def test_a_device_that_does_not_skip_zeros_refuses():
    with pytest.raises(MappingError, match="nvidia_t4 does not skip the zeros of 2:4 weights; want dense ones"):
        simulate("nvidia_t4", "resnet50", sparsity="2:4")


@pytest.mark.parametrize("pattern", ["4:2", "2", "a:b", "0:4", "2:4:8", "", "1:2000"])
def test_a_pattern_that_is_none_is_refused(pattern):
    with pytest.raises(InputError, match="want N:M"):
        simulate("ideal_systolic", layer(4, 4, 4), sparsity=pattern)
