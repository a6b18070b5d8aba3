"""Mappings against closed forms and brute force."""

import dataclasses
from itertools import pairwise, product
from math import ceil

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import devices

from accelsim.base.errors import MappingError
from accelsim.hardware.energy import energy_table_of
from accelsim.hardware.loader import load_device
from accelsim.mapping import Machine, Placement, map_op
from accelsim.mapping.hierarchy import tile_sizes
from accelsim.mapping.matrix import _Product, _Search, map_matrix, matrix_unit
from accelsim.mapping.models import gemm_of, matrix_model
from accelsim.simulation import simulate
from accelsim.workload.ops import Conv2d, Elementwise, Matmul, Softmax, Tensor


def product_op(m, k, n, dtype="int8", batch=1):
    lead = (batch,) if batch > 1 else ()
    return Matmul(
        name="p", batch=batch, m=m, k=k, n=n,
        inputs=(Tensor(name="a", shape=(*lead, m, k), dtype=dtype),
                Tensor(name="b", shape=(*lead, k, n), dtype=dtype, role="weight")),
        outputs=(Tensor(name="c", shape=(*lead, m, n), dtype=dtype),),
    )  # fmt: skip


def machine_of(device, cores=None, power_w=None):
    return Machine(device, energy_table_of(device), cores or (device.core.count if device.core.gang else 1), power_w)


def everywhere(machine, op, source, sink):
    free = tuple((m.name, machine.capacity_bytes(m)) for m in machine.sram.values())
    return Placement((source,) * len(op.inputs), sink, free)


def array(rows, cols, dataflow, *, double_buffered):
    """TPU v1 with another array."""
    device = load_device("tpu_v1")
    matrix = device.core.matrix.model_copy(
        update={"rows": rows, "cols": cols, "dataflow": dataflow, "stationary_double_buffered": double_buffered}
    )
    return device.model_copy(update={"core": device.core.model_copy(update={"matrix": matrix})})


FOLDS = {
    # Samajdar et al., ISPASS 2020: folds, and cycles of one of them
    "os": lambda m, k, n, r, c: ceil(m / r) * ceil(n / c) * (k + r + c - 2),
    "ws": lambda m, k, n, r, c: ceil(k / r) * ceil(n / c) * (2 * r + c + m - 2),
    "is": lambda m, k, n, r, c: ceil(k / r) * ceil(m / c) * (2 * r + c + n - 2),
}

sizes = st.integers(1, 300)
sides = st.sampled_from([4, 8, 16, 32])


@given(sizes, sizes, sizes, sides, sides, st.sampled_from([*FOLDS]))
def test_folds_without_overlap_take_the_closed_form(m, k, n, rows, cols, dataflow):
    device = array(rows, cols, dataflow, double_buffered=False)
    op = product_op(m, k, n)
    model = matrix_model(device.core.matrix, gemm_of(op), "int8", device, 1)
    assert model.total_cycles(np.array([float(m)]))[0] == FOLDS[dataflow](m, k, n, rows, cols)
    assert model.step_cycles(m, k, n) == FOLDS[dataflow](m, k, n, rows, cols)


@given(st.integers(1, 5000), st.integers(1, 5), st.integers(1, 5))
def test_tpu_v1_streams_b_cycles_for_b_inputs_and_hides_the_shift(batch, k_folds, n_folds):
    """ISCA 2017, section 2: a matrix operation of B x 256 takes B cycles; a tile shifts in in 256."""
    device = load_device("tpu_v1")
    op = product_op(batch, 256 * k_folds, 256 * n_folds)
    model = matrix_model(device.core.matrix, gemm_of(op), "int8", device, 1)
    assert model.total_cycles(np.array([float(batch)]))[0] == k_folds * n_folds * max(batch, 256)
    assert model.fill_cycles == 256 + 256 + 256 - 2


def test_products_on_chip_take_exactly_their_cycles():
    """Nothing to load: folds, plus load and skew once; 2000 rows through 64 tiles."""
    device = load_device("tpu_v1")
    machine = machine_of(device)
    op = product_op(2000, 2048, 2048)
    task = map_op(op, machine, everywhere(machine, op, None, None))
    cycles = 64 * 2000 + 256 + 510
    assert task.compute_cycles == cycles
    assert task.duration_ps == pytest.approx(cycles / 700e6 * 1e12, abs=1)
    assert task.channel_bytes == ()


def test_weights_alone_set_the_time_of_a_small_batch():
    """64 KiB tiles at 34 GB/s take 1349 cycles, a batch of 200 takes 256 (ISCA 2017, section 4)."""
    device = load_device("tpu_v1", {"dram.bank_timing": False})
    machine = machine_of(device)
    op = product_op(200, 2048, 2048)
    free = tuple((m.name, m.capacity_bytes) for m in machine.sram.values())
    task = map_op(op, machine, Placement((None, "dram"), None, free))
    floor_s = 2048 * 2048 / 34e9
    last_s = (256 + 256 + 510) / 700e6  # the last fold, and load and skew of the first, which nothing hides
    assert task.duration_ps / 1e12 == pytest.approx(floor_s + last_s, rel=1e-6)
    assert task.bound == "dram"
    assert dict(task.channel_bytes) == {"dram": 2048 * 2048}


def test_small_groups_stand_side_by_side_on_the_array():
    """A depthwise 3 x 3 convolution of 56 channels fills 28 diagonal blocks of 9 x 1 on 256 rows: 2 folds, not 56."""
    device = load_device("tpu_v1")
    x = Tensor(name="x", shape=(1, 56, 14, 14), dtype="int8")
    w = Tensor(name="w", shape=(56, 1, 3, 3), dtype="int8", role="weight")
    y = Tensor(name="y", shape=(1, 56, 14, 14), dtype="int8")
    op = Conv2d(
        name="dw", inputs=(x, w), outputs=(y,), batch=1, c_in=56, h_in=14, w_in=14, c_out=56, h_out=14, w_out=14,
        kh=3, kw=3, pad=(1, 1, 1, 1), groups=56,
    )  # fmt: skip
    model = matrix_model(device.core.matrix, gemm_of(op), "int8", device, 1)
    assert model.total_cycles(np.array([196.0]))[0] == 2 * 256
    assert op.macs == 56 * 196 * 9


@given(devices(tdp=st.none()), st.integers(1, 400), st.integers(1, 400), st.integers(1, 400), st.integers(1, 3))
def test_the_search_finds_the_best_of_all_tilings(device, m, k, n, batch):
    """Against every legal tiling, evaluated one by one (those with tiles inside: tests/test_hierarchy.py)."""
    machine = machine_of(device)
    op = product_op(m, k, n, batch=batch)
    placement = everywhere(machine, op, "dram", "dram")
    unit = matrix_unit(machine, "int8")
    model = matrix_model(unit, gemm_of(op), "int8", device, machine.cores)
    search = _Search(_Product(op, machine, model, unit), placement.sources, placement.sink)
    assume(search.product.levels.depth == 1)
    free = dict(placement.free_bytes)
    try:
        tiling, found = search.best(free)
    except MappingError:
        return
    every = [search.tiling(int(i)) for i in np.flatnonzero(search.legal(free))]
    times = [search.pipeline_ps(t, 1.0, resident=False) for t in every]
    assert found.duration == pytest.approx(min(times), rel=1e-9)
    alike = [t for t, time in zip(every, times, strict=True) if time <= found.duration * (1 - 1e-9)]
    assert all(t.again_a + t.again_b >= tiling.again_a + tiling.again_b for t in alike)


@given(devices(tdp=st.none()), st.integers(1, 600), st.integers(1, 600), st.integers(1, 600))
def test_traffic_is_what_the_loop_order_says(device, m, k, n):
    """Loads counted tile by tile, in a walk through the loops."""
    machine = machine_of(device)
    op = product_op(m, k, n)
    unit = matrix_unit(machine, "int8")
    model = matrix_model(unit, gemm_of(op), "int8", device, machine.cores)
    placement = everywhere(machine, op, "dram", "dram")
    search = _Search(_Product(op, machine, model, unit), placement.sources, placement.sink)
    g = model.gemm
    for index in range(0, len(search.product.tiles[0]), 7):
        tiling = search.tiling(index)
        tm, tk, tn, n_outer = tiling.m, tiling.k, tiling.n, tiling.n_outer
        spans = [[min(size, extent - i) for i in range(0, extent, int(size))]
                 for size, extent in ((tm, g.m), (tk, g.k), (tn, g.n))]  # fmt: skip
        held_a = held_b = None
        loaded_a = loaded_b = 0
        loops = product(*(range(len(s)) for s in ((spans[2], spans[0]) if n_outer else (spans[0], spans[2]))))
        for outer, inner in loops:
            i, j = (inner, outer) if n_outer else (outer, inner)
            for l in range(len(spans[1])):  # noqa: E741
                if (i, l) != held_a:
                    held_a, loaded_a = (i, l), loaded_a + spans[0][i] * spans[1][l]
                if (l, j) != held_b:
                    held_b, loaded_b = (l, j), loaded_b + spans[1][l] * spans[2][j]
        assert tiling.again_a * g.m * g.k == loaded_a
        assert tiling.again_b * g.k * g.n == loaded_b


@given(st.integers(1, 10**6), st.sampled_from([1, 64, 128, 256]))
def test_tile_sizes_end_with_the_whole(extent, quantum):
    found = tile_sizes(extent, quantum)
    assert found[-1] == extent
    assert found == sorted(set(found))
    assert all(size % quantum == 0 for size in found[:-1])


def test_a_format_without_a_unit_is_refused():
    device = load_device("nvidia_t4")
    machine = machine_of(device)
    op = product_op(8, 8, 8, dtype="bf16")
    with pytest.raises(MappingError, match=r"nvidia_t4 does not multiply in bf16; want one of .*fp16"):
        map_matrix(op, machine, everywhere(machine, op, "dram", "dram"))


def test_what_does_not_fit_says_how_much_is_missing():
    device = load_device("tpu_v1", {"weight_fifo.capacity_bytes": 100})
    machine = machine_of(device)
    op = product_op(256, 256, 256)
    with pytest.raises(MappingError, match="op p: its smallest tiles want 131072 bytes of weight_fifo, 100 are free"):
        map_matrix(op, machine, everywhere(machine, op, "dram", None))


def test_power_lowers_the_clock_until_it_fits():
    device = load_device("nvidia_t4")
    op = product_op(4096, 4096, 4096, dtype="fp16")
    free, capped = machine_of(device), machine_of(device, power_w=40.0)
    fast = map_matrix(op, free, everywhere(free, op, "dram", "dram"))
    slow = map_matrix(op, capped, everywhere(capped, op, "dram", "dram"))
    on, off = capped.dynamic_pj(slow.counts)
    assert (on * slow.energy_scale + off) / slow.duration_ps <= 40.0 * (1 + 1e-9)
    assert slow.clock_hz < fast.clock_hz == device.core.matrix.freq_hz
    assert slow.energy_scale < 1


def test_softmax_reads_its_rows_three_times_on_chip_and_once_from_dram():
    device = load_device("tpu_v3")
    machine = machine_of(device)
    x, y = (Tensor(name=n, shape=(1024, 512), dtype="bf16") for n in "xy")
    op = Softmax(name="s", inputs=(x,), outputs=(y,), rows=1024, cols=512)
    task = map_op(op, machine, everywhere(machine, op, "dram", "dram"))
    amount = {(c.action, c.operand): c.amount for c in task.counts if "vmem" not in c.action}
    assert amount["dram.read", "input"] == amount["dram.write", "output"] == x.bytes
    vmem = sum(c.amount for c in task.counts if c.action == "vmem.read" and c.operand == "input")
    assert vmem == 3 * x.bytes


@given(st.sampled_from(["tpu_v1", "nvidia_t4", "aws_inferentia1", "xeon_8275cl"]), sizes, sizes, sizes)
def test_every_action_has_a_price(name, m, k, n):
    device = load_device(name)
    machine = machine_of(device)
    op = product_op(m, k, n, dtype=device.default_dtype)
    weights, activations = machine.backing("weight"), machine.backing("activation")
    free = tuple((mem.name, machine.capacity_bytes(mem)) for mem in machine.sram.values())
    task = map_op(op, machine, Placement((activations, weights), activations, free))
    on, off = machine.dynamic_pj(task.counts)
    assert on > 0
    assert off > 0
    assert dataclasses.replace(task) == task


@given(devices(), st.integers(1, 10**6), st.booleans())
def test_a_vector_op_is_not_slower_in_more_room(device, size, stored):
    """From a few bytes, less than a piece, up to all of every memory."""
    machine = machine_of(device)
    tensors = [Tensor(name=name, shape=(1, size), dtype="int8") for name in ("x", "y")]
    op = Elementwise(name="op", inputs=(tensors[0],), outputs=(tensors[1],), function="relu")

    def duration_ps(room):
        free = tuple((m.name, min(room, machine.capacity_bytes(m))) for m in machine.sram.values())
        return map_op(op, machine, Placement(("dram",), "dram" if stored else None, free)).duration_ps

    durations = [duration_ps(room) for room in (64, 1024, 2**14, 2**18, 2**24)]
    for less, more in pairwise(durations):
        assert more <= less + 1  # a picosecond is rounding


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 2000))
def test_a_mapper_that_prefers_little_traffic_gives_a_per_cent_for_it(m, k, n):
    op = product_op(m, k, n)

    def task(prefers):
        machine = machine_of(load_device("gemmini_16x16", {"core.matrix.prefers": prefers}))
        return map_op(op, machine, everywhere(machine, op, "dram", "dram"))

    fastest, frugal = task("latency"), task("dram")
    assert frugal.duration_ps <= fastest.duration_ps * 1.01 + 1
    assert sum(size for _, size in frugal.channel_bytes) <= sum(size for _, size in fastest.channel_bytes)


def test_resnet50_on_gemmini_moves_far_less_for_a_fraction_of_a_per_cent():
    fastest, frugal = (
        simulate("gemmini_16x16", "resnet50", overrides={"core.matrix.prefers": p}) for p in ("latency", "dram")
    )
    assert frugal.latency_s < 1.005 * fastest.latency_s
    assert frugal.dram_bytes < 0.65 * fastest.dram_bytes
