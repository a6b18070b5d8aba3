"""Streaming kernels on GPUs: what physics says of them, and the shapes of PyTorch's blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.hardware.device import Device, GpuExecution
from accelsim.hardware.loader import device_names, load_device
from accelsim.mapping import Machine, Placement, Task, map_op
from accelsim.mapping.gpu.stream import blocks_per_core, rows_of
from accelsim.validation.silicon.calibrate import with_factors
from accelsim.validation.silicon.predict import whole
from accelsim.workload.ops import Elementwise, Norm, Op, Softmax, Tensor

GPUS = [name for name in device_names() if isinstance(load_device(name).core.execution, GpuExecution)]


def tensor(name: str, *shape: int, dtype: str = "fp32") -> Tensor:
    return Tensor(name=name, shape=shape, dtype=dtype)


def softmax(rows: int, cols: int, dtype: str = "fp32") -> Softmax:
    x, y = tensor("x", rows, cols, dtype=dtype), tensor("y", rows, cols, dtype=dtype)
    return Softmax(name="softmax", inputs=(x,), outputs=(y,), rows=rows, cols=cols)


def norm(rows: int, cols: int, dtype: str = "fp32", rms: bool = False) -> Norm:
    x, y = tensor("x", rows, cols, dtype=dtype), tensor("y", rows, cols, dtype=dtype)
    scale = Tensor(name="scale", shape=(cols,), dtype=dtype, role="weight")
    return Norm(name="norm", inputs=(x, scale), outputs=(y,), rows=rows, cols=cols, rms=rms)


def elementwise(rows: int, cols: int, dtype: str = "fp32", function: str = "add") -> Elementwise:
    x, other, y = (tensor(name, rows, cols, dtype=dtype) for name in ("x", "other", "y"))
    return Elementwise(name=function, inputs=(x, other), outputs=(y,), function=function)


def gated(rows: int, cols: int, dtype: str = "fp32") -> Elementwise:
    product = elementwise(rows, cols, dtype, "mul")
    return replace(elementwise(rows, cols, dtype, "silu"), epilogue=(product,))


OPS = st.builds(
    lambda make, rows, cols, dtype: make(rows, cols, dtype),
    st.sampled_from([softmax, norm, elementwise, gated]),
    st.integers(1, 200_000),
    st.integers(1, 20_000),
    st.sampled_from(["fp32", "fp16"]),
)
DEVICES = st.sampled_from(GPUS).map(load_device)


def mapped(op: Op, device: Device, *, warm: bool = False) -> Task:
    machine = whole(device)
    channel = None if warm else machine.backing("activation")
    return map_op(op, machine, Placement((channel,) * len(op.inputs), channel, machine.all_free))


def with_memory(device: Device, name: str, **changes: float) -> Device:
    memories = tuple(m.model_copy(update=changes) if m.name == name else m for m in device.memory)
    return device.model_copy(update={"memory": memories})


@given(OPS, DEVICES)
def test_nothing_beats_the_bandwidth_of_dram(op: Op, device: Device) -> None:
    dram = device.dram
    assert dram is not None
    size = sum(t.bytes for t in (*op.inputs, *op.outputs))
    task = mapped(op, device)
    assert task.duration_ps > 0
    assert task.duration_ps >= size / dram.bandwidth_bytes_per_s * 1e12


@given(OPS, DEVICES)
def test_average_power_stays_within_the_limit(op: Op, device: Device) -> None:
    machine = whole(device)
    task = mapped(op, device)
    on_chip, off_chip = machine.dynamic_pj(task.counts)
    assert machine.power_w is not None
    assert (on_chip * task.energy_scale + off_chip) / task.duration_ps <= machine.power_w * (1 + 1e-9)


@given(OPS, DEVICES, st.floats(1, 4))
def test_more_bandwidth_never_slows(op: Op, device: Device, times: float) -> None:
    free = device.model_copy(update={"power": device.power.model_copy(update={"tdp_w": None})})
    for memory in free.memory:
        faster = with_memory(free, memory.name, bandwidth_bytes_per_s=memory.bandwidth_bytes_per_s * times)
        assert mapped(op, faster).duration_ps <= mapped(op, free).duration_ps


@given(OPS, DEVICES, st.integers(1, 4))
def test_more_first_cache_never_slows(op: Op, device: Device, times: int) -> None:
    near = device.path("activation")[0]
    larger = with_memory(device, near.name, capacity_bytes=near.capacity_bytes * times)
    assert mapped(op, larger).duration_ps <= mapped(op, device).duration_ps


@given(OPS, DEVICES, st.integers(1, 64))
def test_more_cores_never_slow(op: Op, device: Device, more: int) -> None:
    free = device.model_copy(update={"power": device.power.model_copy(update={"tdp_w": None})})
    machine = whole(free)
    wider = Machine(free, machine.energy, machine.cores + more, None)
    channel = machine.backing("activation")
    where = Placement((channel,) * len(op.inputs), channel, machine.all_free)
    assert map_op(op, wider, where).duration_ps <= map_op(op, machine, where).duration_ps


@given(OPS, DEVICES)
def test_what_is_in_l2_is_no_slower(op: Op, device: Device) -> None:
    assert mapped(op, device, warm=True).duration_ps <= mapped(op, device).duration_ps


@given(st.integers(1, 50_000), st.integers(1, 20_000), DEVICES)
def test_more_rows_take_no_less(rows: int, cols: int, device: Device) -> None:
    assert mapped(softmax(rows, cols), device).duration_ps <= mapped(softmax(2 * rows, cols), device).duration_ps


def test_a_short_row_is_read_once_and_a_long_one_again() -> None:
    """PyTorch's softmax keeps rows of up to 1024 elements in the registers of a warp (PersistentSoftmax.cuh)."""
    device = load_device("nvidia_a100_pcie_80gb")
    for cols, reads in ((1024, 1), (65_536, 3)):
        op = softmax(10_000, cols)
        counts = {(c.action, c.operand): c.amount for c in mapped(op, device).counts}
        assert counts["dram.read", "input"] == reads * op.inputs[0].bytes
        assert counts["dram.write", "output"] == op.outputs[0].bytes


def test_unaligned_layer_norm_is_two_kernels() -> None:
    """``layer_norm_kernel.cu`` vectorises where the row's length is a multiple of four, else it reads X twice."""
    device = load_device("nvidia_v100_pcie_32gb")
    aligned, odd = (mapped(norm(50_000, cols), device).duration_ps for cols in (256, 257))
    assert odd > 1.2 * aligned


@pytest.mark.parametrize(("cols", "threads"), [(1280, 256), (2048, 256), (4096, 512), (16384, 512)])
def test_blocks_of_softmax_are_powers_of_two(cols: int, threads: int) -> None:
    """``SoftMax_getBlockSize`` of PyTorch 2.1: half as many threads as a row has vectors, rounded up, 512 at most."""
    rows = rows_of(softmax(10, cols))
    assert rows is not None
    assert rows.threads == threads


def test_blocks_fill_a_core_and_no_more() -> None:
    for name in GPUS:
        execution = load_device(name).core.execution
        assert isinstance(execution, GpuExecution)
        for op in (softmax(10, 8192), norm(10, 4096), gated(10, 4096)):
            rows = rows_of(op)
            assert rows is not None
            blocks = blocks_per_core(rows, execution)
            assert blocks == 1 or blocks * rows.threads <= execution.max_warps * execution.warp_threads


def test_powers_are_bound_by_their_arithmetic_where_bandwidth_is_high() -> None:
    device = load_device("amd_mi210")
    assert mapped(elementwise(10_000, 2000, function="pow"), device).bound == "compute"
    assert mapped(elementwise(10_000, 2000, function="add"), device).bound == "dram"


def test_rows_wait_for_reductions() -> None:
    """A few rows leave most cores idle: their time is the latency of one, however many bytes a second there are."""
    device = load_device("nvidia_h100_sxm_80gb")
    slower = with_factors(device, {"stream.reduction_cycles": 4 * 2300})
    one, other = (mapped(norm(8, 8192, rms=True), d, warm=True).duration_ps for d in (device, slower))
    assert other > 1.3 * one
