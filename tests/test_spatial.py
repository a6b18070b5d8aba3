"""A spatial array against a walk through the loops of a convolution, cell by cell."""

from itertools import product
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.hardware.energy import energy_table_of
from accelsim.hardware.loader import load_device
from accelsim.hardware.spatial import LOOPS, SpatialArray, Unrolling
from accelsim.mapping import Machine, Placement, map_op
from accelsim.mapping.models import gemm_of, matrix_model
from accelsim.mapping.spatial import SpatialModel
from accelsim.workload.ops import Conv2d, Matmul, Tensor


def array(rows, cols, *, stationary="weight", rate=1.0, **more):
    """NVDLA's memories around an array of the test's."""
    device = load_device("nvdla_full")
    unit = SpatialArray(
        kind="spatial_array", rows=rows, cols=cols, stationary=stationary, freq_hz=1e9,
        macs_per_cycle_per_cell={"int8": rate}, source="ASSUMED: a test", **more,
    )  # fmt: skip
    return device.model_copy(update={"core": device.core.model_copy(update={"matrix": unit})})


def conv(batch=1, c_in=4, c_out=4, size=6, kernel=3, stride=1, pad=0, dilation=1, groups=1, width=None):
    width = size if width is None else width
    h_out, w_out = ((s + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for s in (size, width))
    return Conv2d(
        name="c", batch=batch, c_in=c_in, h_in=size, w_in=width, c_out=c_out, h_out=h_out, w_out=w_out, kh=kernel,
        kw=kernel, stride=(stride, stride), pad=(pad,) * 4, dilation=(dilation, dilation), groups=groups,
        inputs=(Tensor(name="x", shape=(batch, c_in, size, width), dtype="int8"),
                Tensor(name="w", shape=(c_out, c_in // groups, kernel, kernel), dtype="int8", role="weight")),
        outputs=(Tensor(name="y", shape=(batch, c_out, h_out, w_out), dtype="int8"),),
    )  # fmt: skip


def matmul(m, k, n, batch=1):
    lead = (batch,) if batch > 1 else ()
    return Matmul(
        name="p", batch=batch, m=m, k=k, n=n,
        inputs=(Tensor(name="a", shape=(*lead, m, k), dtype="int8"),
                Tensor(name="b", shape=(*lead, k, n), dtype="int8", role="weight")),
        outputs=(Tensor(name="c", shape=(*lead, m, n), dtype="int8"),),
    )  # fmt: skip


def model_of(op, device):
    return matrix_model(device.core.matrix, gemm_of(op), "int8", device, 1)


def cycles_of(model):
    return float(model.total_cycles(np.array([float(model.gemm.m)]))[0])


def walk(op, layout):
    """Every step of the loop nest: (cycles, words of the image, of the filters, of the results, MACs)."""
    extents = {
        "batch": op.batch, "groups": op.groups, "c_out": op.c_out // op.groups, "c_in": op.c_in // op.groups,
        "h_out": op.h_out, "w_out": op.w_out, "kh": op.kh, "kw": op.kw,
    }  # fmt: skip
    blocks = [
        [range(i, min(i + layout.factor(loop), extents[loop])) for i in range(0, extents[loop], layout.factor(loop))]
        for loop in LOOPS
    ]
    steps = images = filters = sums = macs = 0
    for block in product(*blocks):
        image, weight, result = set(), set(), set()
        for b, g, k, c, h, w, r, s in product(*block):
            y = h * op.stride[0] + r * op.dilation[0] - op.pad[0]
            x = w * op.stride[1] + s * op.dilation[1] - op.pad[1]
            if 0 <= y < op.h_in and 0 <= x < op.w_in:
                image.add((b, g, c, y, x))
            weight.add((g, k, c, r, s))
            result.add((b, g, k, h, w))
            macs += 1
        assert prod(len(part) for part in block) <= layout.cells
        steps += 1
        images, filters, sums = images + len(image), filters + len(weight), sums + len(result)
    return steps, images, filters, sums, macs


small = st.integers(1, 3)


@st.composite
def convolutions(draw):
    kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    least = dilation * (kernel - 1) + 1
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    return conv(
        batch=draw(st.integers(1, 2)), c_in=groups * draw(small), c_out=groups * draw(small), groups=groups,
        size=least + draw(st.integers(0, 3)), width=least + draw(st.integers(0, 3)), kernel=kernel,
        stride=draw(st.integers(1, 2)), pad=draw(st.integers(0, 1)), dilation=dilation,
    )  # fmt: skip


axes = st.dictionaries(st.sampled_from(LOOPS), st.integers(1, 4), max_size=3)


@given(convolutions(), axes, axes, st.sampled_from(["weight", "output", "input"]))
def test_steps_and_words_are_those_of_a_walk_through_the_loops(op, rows, cols, stationary):
    device = array(rows, cols, stationary=stationary)
    model = model_of(op, device)
    steps, images, filters, sums, macs = walk(op, Unrolling(rows=rows, cols=cols))
    assert macs == op.macs
    assert cycles_of(model) == steps
    reads = {(t.memory, t.operand): t.read_bytes for t in model.traffic()}
    writes = {(t.memory, t.operand): t.write_bytes for t in model.traffic()}
    # What stays in the cells comes once: all of it, each word as often as tiles of the loops beside need it.
    if stationary != "weight":
        assert reads["cbuf", "weight"] == filters
    else:
        assert reads["cbuf", "weight"] == op.inputs[1].elements
    if stationary != "input":
        assert reads["cbuf", "input"] == images
    if stationary != "output":
        assert reads["accumulators", "output"] == writes["accumulators", "output"] == 4 * sums
    else:
        assert writes["accumulators", "output"] == 4 * op.outputs[0].elements
    registers = dict(model.register_bits_per_mac())
    if stationary == "weight":
        assert registers["input"] == pytest.approx(8 * images / macs)
        assert registers["output"] == pytest.approx(32 * sums / macs)


@given(convolutions(), axes, axes)
def test_an_image_that_stays_comes_once_for_all_kernels(op, rows, cols):
    """The walk with the kernels' loop taken out: its words of the image, once."""
    model = model_of(op, array(rows, cols, stationary="input"))
    lone = conv(
        batch=op.batch, c_in=op.c_in, c_out=op.groups, size=op.h_in, width=op.w_in, kernel=op.kh,
        stride=op.stride[0], pad=op.pad[0], dilation=op.dilation[0], groups=op.groups,
    )  # fmt: skip
    _, images, *_ = walk(lone, Unrolling(rows=rows, cols=cols))
    assert next(t.read_bytes for t in model.traffic() if t.operand == "input") == images


@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.sampled_from([4, 16, 32]), st.sampled_from([4, 8])
)
def test_channels_by_kernels_are_the_folds_of_a_weight_stationary_array(m, k, n, rows, cols):
    """Samajdar et al., ISPASS 2020: F = ceil(k / R) ceil(n / C); of a fold's 2R + C + m - 2 cycles only m are steps."""
    model = model_of(matmul(m, k, n), array({"c_in": rows}, {"c_out": cols}))
    assert cycles_of(model) == ceil(k / rows) * ceil(n / cols) * m


@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.sampled_from([4, 16, 32]), st.sampled_from([4, 8])
)
def test_pixels_by_kernels_are_the_folds_of_an_output_stationary_array(m, k, n, rows, cols):
    """F = ceil(m / R) ceil(n / C) folds of k steps."""
    model = model_of(matmul(m, k, n), array({"w_out": rows}, {"c_out": cols}, stationary="output"))
    assert cycles_of(model) == ceil(m / rows) * ceil(n / cols) * k


def test_a_depthwise_convolution_uses_one_cell_of_channels_by_kernels():
    """Its groups have one channel and one kernel each: 1 of 64 x 32 cells."""
    op = conv(c_in=96, c_out=96, groups=96, size=14, kernel=3, pad=1)
    model = model_of(op, array({"c_in": 64}, {"c_out": 32}))
    assert cycles_of(model) == op.macs
    beside = model_of(
        op, array({"c_in": 64}, {"c_out": 32}, alternatives=({"rows": {"kh": 3, "kw": 3}, "cols": {"groups": 32}},))
    )
    assert cycles_of(beside) == op.macs / (9 * 32)
    assert isinstance(beside, SpatialModel)
    assert beside.layout.cols == {"groups": 32}


def test_a_layout_that_needs_more_cells_than_there_are_is_not_taken():
    op = conv(c_in=96, c_out=96, groups=96, size=14, kernel=3, pad=1)
    model = model_of(
        op, array({"c_in": 8}, {"c_out": 8}, alternatives=({"rows": {"kh": 3, "kw": 3}, "cols": {"groups": 8}},))
    )
    assert model.layout.cols == {"c_out": 8}


def test_a_dpu_takes_pixels_channels_and_kernels_at_once():
    """Xilinx PG338: a B4096 multiplies 8 pixels x 16 input channels x 16 output channels in a cycle."""
    device = array({"w_out": 8}, {"c_in": 16, "c_out": 16}, stationary="output")
    assert device.core.matrix.macs_per_cycle("int8") == 2048
    op = conv(c_in=64, c_out=64, size=56, kernel=3, pad=1)
    assert cycles_of(model_of(op, device)) == op.macs / 2048
    image = conv(c_in=3, c_out=64, size=224, kernel=7, stride=2, pad=3)
    assert cycles_of(model_of(image, device)) == op.macs / op.macs * 112 * (112 / 8) * 49 * 4  # 3 of 16 channels


@given(convolutions(), axes, axes, st.floats(0.25, 4))
def test_nothing_beats_the_cells(op, rows, cols, rate):
    device = array(rows, cols, rate=rate)
    model = model_of(op, device)
    assert cycles_of(model) * device.core.matrix.macs_per_cycle("int8") >= op.macs * (1 - 1e-9)


@given(convolutions(), axes, axes)
def test_tiles_add_up_to_no_less_than_the_whole(op, rows, cols):
    model = model_of(op, array(rows, cols))
    g, (quantum_m, quantum_k, quantum_n) = model.gemm, model.quanta
    whole = cycles_of(model)
    for parts in ((quantum_m, g.k, g.n), (g.m, quantum_k, g.n), (g.m, g.k, quantum_n), model.quanta):
        tiles = [[min(size, extent - i) for i in range(0, extent, size)]
                 for size, extent in zip(parts, (g.m, g.k, g.n), strict=True)]  # fmt: skip
        assert g.repeats * sum(model.step_cycles(*tile) for tile in product(*tiles)) >= whole * (1 - 1e-9)
        if parts[0] == g.m:
            assert g.repeats * sum(model.step_cycles(*tile) for tile in product(*tiles)) == pytest.approx(whole)


@given(st.integers(1, 8), st.integers(1, 8))
def test_more_cells_never_take_longer(rows, cols):
    op = conv(c_in=24, c_out=20, size=9, kernel=3)
    fewer = model_of(op, array({"c_in": rows}, {"c_out": cols}))
    more = model_of(op, array({"c_in": 2 * rows}, {"c_out": cols}))
    assert cycles_of(more) <= cycles_of(fewer)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"core.matrix.rows.c_i": 3}, "unknown loop; did you mean 'c_in'"),
        ({"core.matrix.rows.c_in": 0}, "got 0; want a whole number from 1"),
        ({"dram.ports": 2}, "ports: got 2; want 1 of a DRAM"),
    ],
)  # fmt: skip
def test_wrong_layouts_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        load_device("nvdla_full", changes)


def test_a_task_on_a_spatial_array_prices_its_words():
    device = array({"c_in": 16}, {"c_out": 16})
    machine = Machine(device, energy_table_of(device), 1, None)
    op = conv(c_in=32, c_out=32, size=16, kernel=3, pad=1)
    task = map_op(op, machine, Placement(("dram", "dram"), "dram", machine.all_free))
    assert task.compute_cycles == op.macs / 256
    assert task.duration_ps >= op.macs / 256 * 1000
    on, off = machine.dynamic_pj(task.counts)
    assert on > 0
    assert off > 0
