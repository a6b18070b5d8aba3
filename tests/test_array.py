"""The functional array against numpy, the closed forms and the tile model."""

from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.base.errors import MappingError
from accelsim.hardware.loader import load_device
from accelsim.kernels.array import multiply_is, multiply_os, multiply_ws
from accelsim.mapping.models import Gemm, matrix_model
from accelsim.simulation import simulate
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Matmul, Tensor

dims = st.integers(1, 14)
sides = st.integers(1, 6)


def operands(m, k, n):
    random = np.random.default_rng(m * 10007 + k * 101 + n)
    return random.integers(-128, 128, (m, k)), random.integers(-128, 128, (k, n))


# Samajdar et al., ISPASS 2020: folds, and the cycles of one.
CLOSED = {
    "ws": lambda m, k, n, r, c: ceil(k / r) * ceil(n / c) * (2 * r + c + m - 2),
    "os": lambda m, k, n, r, c: ceil(m / r) * ceil(n / c) * (k + r + c - 2),
    "is": lambda m, k, n, r, c: ceil(k / r) * ceil(m / c) * (2 * r + c + n - 2),
}
RUN = {
    "ws": lambda a, b, r, c: multiply_ws(a, b, r, c, overlap=False),
    "os": multiply_os,
    "is": multiply_is,
}


@given(dims, dims, dims, sides, sides, st.sampled_from(["ws", "os", "is"]))
def test_the_array_multiplies_and_takes_the_closed_form(m, k, n, rows, cols, dataflow):
    a, b = operands(m, k, n)
    product, cycles = RUN[dataflow](a, b, rows, cols)
    assert (product == a @ b).all()
    assert cycles == CLOSED[dataflow](m, k, n, rows, cols)


@given(dims, dims, dims, sides, sides)
def test_with_the_next_tile_shifting_in_beside_folds_follow_without_a_break(m, k, n, rows, cols):
    """Load and skew once; every fold but the last takes as long as its lines or the next tile's load."""
    a, b = operands(m, k, n)
    product, cycles = multiply_ws(a, b, rows, cols, overlap=True)
    assert (product == a @ b).all()
    folds = ceil(k / rows) * ceil(n / cols)
    assert cycles == rows + (folds - 1) * max(m, rows) + m + rows + cols - 2


def model(m, k, n, rows, cols, dataflow, *, double_buffered):
    device = load_device("tpu_v1")
    unit = device.core.matrix.model_copy(
        update={
            "rows": rows,
            "cols": cols,
            "dataflow": dataflow,
            "stationary_double_buffered": double_buffered,
            "whole_tiles": False,
        }
    )
    gemm = Gemm(1, m, k, n, m * k, k * n, m * n, 8, 32)
    return matrix_model(unit, gemm, "int8", device, 1)


@given(dims, dims, dims, sides, sides, st.sampled_from(["ws", "os", "is"]))
def test_the_tile_model_counts_what_the_array_does(m, k, n, rows, cols, dataflow):
    _, cycles = RUN[dataflow](*operands(m, k, n), rows, cols)
    tile = model(m, k, n, rows, cols, dataflow, double_buffered=False)
    assert tile.total_cycles(np.array([float(m)]))[0] + tile.fill_cycles == cycles


@given(dims, dims, dims, sides, sides)
def test_with_overlap_it_differs_by_no_more_than_the_wait_for_a_last_tile_that_does_not_come(m, k, n, rows, cols):
    _, cycles = multiply_ws(*operands(m, k, n), rows, cols, overlap=True)
    tile = model(m, k, n, rows, cols, "ws", double_buffered=True)
    found = tile.total_cycles(np.array([float(m)]))[0] + tile.fill_cycles
    assert found - cycles == max(0, rows - m)


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
def test_a_larger_product_on_a_larger_array(dataflow):
    a, b = operands(50, 70, 40)
    product, cycles = RUN[dataflow](a, b, 16, 16)
    assert (product == a @ b).all()
    assert cycles == CLOSED[dataflow](50, 70, 40, 16, 16)


def test_fidelity_cycle_plays_the_products_of_a_run():
    """On an array whose folds do not overlap both fidelities count alike; the run says which it was."""
    small = {
        "core.matrix.rows": 16,
        "core.matrix.cols": 16,
        "core.matrix.stationary_double_buffered": False,
        "core.matrix.whole_tiles": False,
    }

    def graph(batch):
        x = Tensor(name="x", shape=(batch, 40), dtype="int8")
        w = Tensor(name="w", shape=(40, 30), dtype="int8", role="weight")
        y = Tensor(name="y", shape=(batch, 30), dtype="int8")
        return Graph(name="one", ops=(Matmul(name="fc", inputs=(x, w), outputs=(y,), m=batch, k=40, n=30),))

    tile = simulate("tpu_v1", graph, overrides=small, batch=20)
    cycle = simulate("tpu_v1", graph, overrides=small, batch=20, fidelity="cycle")
    assert cycle.ops[0].compute_cycles == tile.ops[0].compute_cycles == CLOSED["ws"](20, 40, 30, 16, 16)
    assert cycle.fidelity == "cycle"
    assert cycle.latency_s == pytest.approx(tile.latency_s, rel=0.05)


@pytest.mark.parametrize(
    ("device", "workload", "message"),
    [
        ("nvidia_t4", "resnet18", "plays systolic arrays only"),
        ("tpu_v3", "resnet18", "plays one array at one MAC a cell a cycle"),
        ("tpu_v1", "resnet18", "want at most 1e"),
    ],
)
def test_fidelity_cycle_refuses_what_it_cannot_play(device, workload, message):
    with pytest.raises(MappingError, match=message):
        simulate(device, workload, fidelity="cycle")
