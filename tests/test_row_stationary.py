"""The row-stationary mapping against plain loops, its own limits, and what more hardware must not do."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.base.errors import MappingError, WorkloadError
from accelsim.hardware.device import RowStationary
from accelsim.hardware.energy import energy_table_of
from accelsim.hardware.loader import load_device
from accelsim.mapping import Machine, Placement, map_op
from accelsim.mapping.row_stationary import Chip, Shape, array_counts, best_mapping, coded_share, ladder, strip_heights
from accelsim.validation.eyeriss import simulated
from accelsim.workload.ops import Conv2d, Matmul, Tensor
from accelsim.workload.table import parse_table, write_table

EYERISS = Chip(
    rows=12, cols=14, ifmap_words=12, filter_words=224, psum_words=24, psum_bits=16, row_words=128,
    pass_setup_cycles=530, run_length_coded=True, gates_zeros=True, prefers="latency", macs_per_cycle=1.0,
    glb_bytes=102400, filter_bytes=8192, read_bytes_per_cycle=8.0, write_bytes_per_cycle=8.0,
    filter_bytes_per_cycle=8.0, input_cycles_per_byte=0.4, weight_cycles_per_byte=0.4, output_cycles_per_byte=0.4,
)  # fmt: skip
TINY = replace(
    EYERISS, rows=4, cols=3, ifmap_words=6, filter_words=24, psum_words=4, glb_bytes=900, filter_bytes=200,
    row_words=4, pass_setup_cycles=10,
)  # fmt: skip

shapes = st.builds(
    Shape,
    N=st.integers(1, 4),
    G=st.sampled_from([1, 2]),
    C=st.integers(1, 20),
    M=st.integers(1, 40),
    R=st.sampled_from([1, 3, 5]),
    S=st.sampled_from([1, 3, 5]),
    E=st.integers(1, 30),
    F=st.integers(1, 30),
    stride=st.sampled_from([(1, 1), (2, 2)]),
    input_zeros=st.sampled_from([0.0, 0.6]),
)
small = st.builds(
    Shape,
    N=st.integers(1, 2),
    G=st.just(1),
    C=st.integers(1, 3),
    M=st.integers(1, 4),
    R=st.sampled_from([1, 2, 3]),
    S=st.sampled_from([1, 2, 3]),
    E=st.integers(1, 5),
    F=st.integers(1, 6),
)


# --- limits ----------------------------------------------------------------------------------------------------------


@given(shapes, st.sampled_from(["latency", "dram"]))
def test_registers_and_buffers_hold_what_they_are_given(shape, prefers):
    chip = replace(EYERISS, prefers=prefers)
    m = best_mapping(shape, chip)
    assert m.q * shape.S <= chip.ifmap_words
    assert m.p * m.q * shape.S <= chip.filter_words
    assert m.p <= chip.psum_words
    assert m.active <= chip.rows * chip.cols
    assert m.p * m.t * m.q * m.r * shape.R * shape.S * 2 <= chip.filter_bytes
    height, width = (m.e - 1) * shape.stride[0] + shape.R, (m.f - 1) * shape.stride[1] + shape.S
    images = (m.n + 1) * m.q * m.r * height * width * 2
    assert m.n * m.m * m.e * m.f * 2 + images <= chip.glb_bytes


@given(shapes, st.sampled_from(["latency", "dram"]))
def test_work_is_conserved_and_nothing_beats_the_array_or_the_port(shape, prefers):
    chip = replace(EYERISS, prefers=prefers)
    m = best_mapping(shape, chip)
    assert m.cycles >= shape.macs / (chip.rows * chip.cols)
    assert m.cycles >= m.psum_bytes / chip.write_bytes_per_cycle
    assert m.total_cycles >= m.cycles
    outputs = shape.N * shape.G * shape.M * shape.E * shape.F
    assert m.psum_bytes >= 2 * outputs  # every sum leaves the array at least once
    assert m.filter_read_bytes >= 2 * shape.G * shape.M * shape.C * shape.R * shape.S
    read = (
        shape.E * min(shape.R, shape.stride[0]) * shape.F * min(shape.S, shape.stride[1])
    )  # what strides leave out apart
    assert m.ifmap_bytes >= m.loaded_bytes >= 2 * shape.N * shape.G * shape.C * read - 1
    dense = {c.operand: c.amount for c in array_counts(replace(shape, input_zeros=0.0), chip, m, "int16")}
    assert dense["-"] == shape.macs


# --- more hardware ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    ["rows", "cols", "psum_words", "glb_bytes", "filter_bytes", "filter_words", "ifmap_words",
     "read_bytes_per_cycle", "write_bytes_per_cycle", "filter_bytes_per_cycle"],
)  # fmt: skip
@given(shape=shapes, more=st.sampled_from([1.1, 1.5, 2, 3]))
def test_more_hardware_is_never_slower(part, shape, more):
    """Of a mapper that looks for time, and where a filter fits the array without being cut."""
    old = getattr(EYERISS, part)
    larger = replace(EYERISS, **{part: int(old * more) if isinstance(old, int) else old * more})
    assert best_mapping(shape, larger).total_cycles <= best_mapping(shape, EYERISS).total_cycles * (1 + 1e-12)


@given(shape=shapes, zeros=st.floats(0, 0.95))
def test_more_zeros_are_never_slower_and_never_more_traffic(shape, zeros):
    dense, sparse = (best_mapping(replace(shape, input_zeros=z), EYERISS) for z in (0.0, zeros))
    assert sparse.total_cycles <= dense.total_cycles
    assert coded_share(zeros, 16) <= 1


# --- a slow twin -----------------------------------------------------------------------------------------------------


def plain(shape, chip, choice):
    """Cycles and traffic of one mapping, by walking its passes; None where it does not fit."""
    e, r, t, q, p, n, m = choice
    f = -(-shape.F // -(-shape.F // chip.row_words))
    segments = -(-e // chip.cols)
    sets = chip.rows // (shape.R * segments) * (chip.cols // e if segments == 1 else 1)
    height, width = e + shape.R - 1, f + shape.S - 1
    filters_bytes = 2 * p * t * q * r * shape.R * shape.S
    fits = (
        r * t <= sets and (segments == 1 or r == 1) and (n == 1 or (e == shape.E and f == shape.F))
        and q * shape.S <= chip.ifmap_words and p * q * shape.S <= chip.filter_words and p <= chip.psum_words
        and filters_bytes <= chip.filter_bytes and q * r < 2 * shape.C and p * t < 2 * shape.M
        and 2 * n * m * e * f + 2 * (n + 1) * q * r * height * width <= chip.glb_bytes
    )  # fmt: skip
    if not fits:
        return None
    passes = busy = sums = images = filters = loaded = load_cycles = 0
    several = len(range(0, shape.C, q * r)) * len(range(0, shape.M, p * t)) > 1
    tile_row = shape.N * shape.C * shape.E / e * height * -(-shape.F // f) * width * 2
    loaded = tile_row * len(range(0, shape.M, m))
    places = [*itertools.product(range(0, shape.E, e), range(0, shape.F, f))]
    for place, (_, first) in itertools.product(places, enumerate(range(0, shape.N, n))):
        count = min(n, shape.N - first)
        for _c, _m in itertools.product(range(0, shape.C, q * r), range(0, shape.M, p * t)):
            passes += 1
            busy += count * f * p * q * shape.S
            if several or (place == places[0] and first == 0):
                load_cycles += filters_bytes / chip.filter_bytes_per_cycle
                filters += 2 * shape.M * shape.C * shape.R * shape.S
    steps = len(range(0, shape.C, q * r)) * len(range(0, shape.M, p * t))
    filters /= steps
    sums = 2 * shape.N * shape.M * shape.E * shape.F * len(range(0, shape.C, q * r))
    images = tile_row * len(range(0, shape.M, p * t))
    cycles = max(busy + load_cycles, sums / 8, images / 8) + chip.pass_setup_cycles * passes
    outputs = 2 * shape.N * shape.M * shape.E * shape.F
    return max(cycles, filters * 0.4) + (loaded + outputs) * 0.4


@given(small)
def test_the_best_of_a_tiny_layer_is_the_best_of_all(shape):
    def steps(extent):
        return ladder(extent, most=extent)

    every = itertools.product(
        strip_heights(shape.E, most=shape.E), steps(shape.C), steps(shape.M), steps(shape.C), steps(shape.M),
        steps(shape.N), range(1, shape.M + 1),
    )  # fmt: skip
    costs = [
        cost
        for choice in every
        if choice[6] in {min(choice[2] * choice[4] * k, shape.M) for k in range(1, shape.M + 1)}
        for cost in (plain(shape, TINY, choice),)
        if cost is not None
    ]
    found = best_mapping(shape, TINY)
    if not costs:
        assert found is None
    else:
        assert found.total_cycles == pytest.approx(min(costs), rel=1e-9)


# --- run-length code -------------------------------------------------------------------------------------------------


def test_a_word_of_code_holds_three_values():
    assert coded_share(0.0, 16) == 1.0  # 64 bits for 48 would be longer: plain
    assert coded_share(0.5, 16) == pytest.approx(0.5 * 64 / 48)
    assert coded_share(1.0, 16) == pytest.approx(64 / 48 / 32)  # a run of 31 zeros, and a zero for its value


def test_a_table_states_zeros_and_gets_them_back():
    text = "name,kind,m,k,n,inputs,outputs\nfc,matmul,B,8,4,x[B 8]~0.25; @w[8 4],y[B 4]~.5\n"
    graph = parse_table(text, file="t.csv", batch=2)
    assert [t.zeros for t in (*graph.ops[0].inputs, *graph.ops[0].outputs)] == [0.25, 0.0, 0.5]
    assert parse_table(write_table(graph), file="t.csv").ops == graph.ops
    with pytest.raises(WorkloadError, match=r"zeros from 0 to 1, got 1\.5"):
        replace(graph.ops[0].inputs[0], zeros=1.5)


def test_layers_of_one_shape_and_other_zeros_are_not_one():
    dense, sparse = simulated("vgg16_conv")["CONV4-2"], simulated("vgg16_conv")["CONV4-3"]
    assert sparse.dram_mb < dense.dram_mb


# --- on a device -----------------------------------------------------------------------------------------------------


def eyeriss(**overrides):
    device = load_device("eyeriss_v1", {key.replace("__", "."): value for key, value in overrides.items()})
    free = tuple((m.name, m.capacity_bytes) for m in device.memory if m.kind == "sram")
    return Machine(device, energy_table_of(device), 1, None), Placement(("dram", "dram"), "dram", free)


def product(m, k, n, dtype="int16"):
    x, y = Tensor(name="x", shape=(m, k), dtype=dtype), Tensor(name="y", shape=(m, n), dtype=dtype)
    w = Tensor(name="w", shape=(k, n), dtype=dtype, role="weight")
    return Matmul(name="fc", inputs=(x, w), outputs=(y,), m=m, k=k, n=n)


def test_a_fully_connected_layer_is_bound_by_its_weights():
    """FC6 of AlexNet at batch 1: every weight comes over the link once, and the image for every 64 filters or so."""
    machine, placement = eyeriss()
    task = map_op(product(1, 9216, 4096), machine, placement)
    assert task.bound == "dram"
    assert dict(task.channel_bytes)["dram"] == pytest.approx(2 * 9216 * 4096, rel=0.02)
    assert task.duration_ps >= 2 * 9216 * 4096 / 480e6 * 1e12


def test_a_filter_larger_than_the_array_is_cut():
    """A 16 x 16 kernel on 12 rows and registers of 12 words: two parts each way."""
    x = Tensor(name="x", shape=(1, 4, 32, 32), dtype="int16")
    w = Tensor(name="w", shape=(8, 4, 16, 16), dtype="int16", role="weight")
    y = Tensor(name="y", shape=(1, 8, 17, 17), dtype="int16")
    sizes = {"batch": 1, "c_in": 4, "h_in": 32, "w_in": 32, "c_out": 8, "h_out": 17, "w_out": 17, "kh": 16, "kw": 16}
    machine, placement = eyeriss()
    task = map_op(Conv2d(name="c", inputs=(x, w), outputs=(y,), **sizes), machine, placement)
    assert task.macs == 8 * 4 * 17 * 17 * 256
    assert task.compute_cycles >= task.macs / 168


def test_what_does_not_fit_is_said():
    machine, placement = eyeriss(glb__capacity_bytes=4)
    with pytest.raises(MappingError, match="no row-stationary mapping fits eyeriss_v1: 4 bytes"):
        map_op(product(4, 64, 64), machine, placement)


def test_gating_saves_products_and_their_registers():
    machine, placement = eyeriss()
    dense = product(4, 256, 256)
    half = replace(dense, inputs=(replace(dense.inputs[0], zeros=0.5), dense.inputs[1]))
    macs = [
        next(c.amount for c in map_op(op, machine, placement).counts if c.action == "mac.int16") for op in (dense, half)
    ]
    assert macs == [4 * 256 * 256, 2 * 256 * 256]


def test_energy_ratios_isca_2016_table_iv():
    """Register file, array, buffer, DRAM: 1 : 2 : 6 : 200 of a multiply-accumulate."""
    machine, _ = eyeriss()
    device, table = machine.device, machine.energy
    assert isinstance(device.core.matrix, RowStationary)
    mac = table.pj("mac.int16", device)
    words = {"register": 16, "array": 16, "glb.read": 2, "filter_buffer.write": 2, "dram.read": 2}
    ratios = {action: table.pj(action, device) * amount / mac for action, amount in words.items()}
    wanted = {"register": 1, "array": 2, "glb.read": 6, "filter_buffer.write": 6, "dram.read": 200}
    assert ratios == pytest.approx(wanted)
