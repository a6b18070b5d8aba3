"""Products on the SIMD lanes of GPUs: what physics, the libraries and power limits say of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.hardware.device import Device, GpuExecution
from accelsim.hardware.family import GpuFactors
from accelsim.hardware.loader import device_names, load_device
from accelsim.mapping import Placement, Task, map_op
from accelsim.mapping.gpu.kernel import Gpu
from accelsim.mapping.gpu.simt import simt_tiles
from accelsim.mapping.machine import Run
from accelsim.validation.silicon.calibrate import with_factors
from accelsim.validation.silicon.predict import power_w, whole
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Matmul, Tensor
from accelsim.workload.transforms import set_precision

LANES = [
    name
    for name in device_names()
    if isinstance((device := load_device(name)).core.execution, GpuExecution)
    and not (device.core.matrix and device.core.matrix.macs_per_cycle("fp32"))
]
"""GPUs without matrix units for FP32."""
DEVICES = st.sampled_from(LANES).map(load_device)


def product(m: int, k: int, n: int, batch: int = 1, stored: str = "fp32", math: str = "") -> Matmul:
    a, b, c = (
        Tensor(name=name, shape=(batch, *shape), dtype=stored)
        for name, shape in (("a", (m, k)), ("b", (k, n)), ("c", (m, n)))
    )
    return Matmul(name="product", inputs=(a, b), outputs=(c,), m=m, k=k, n=n, batch=batch, math=math)


def test_int8_without_imma_layouts_runs_on_the_lanes() -> None:
    """cuBLAS 10 multiplies INT8 in plain layouts by DP4A, four products a lane: 32.6 of the T4's 130 TOPS.

    IMMA kernels want COL32 layouts (cuBLASLt's documentation); DeepBench's rows of a T4 end at 24 TOPS.
    """
    t4 = load_device("nvidia_t4")
    lanes = t4.on_lanes(("int8",))
    assert lanes.peak_macs_per_s("int8") == 4 * t4.peak_macs_per_s("fp32") == t4.peak_macs_per_s("int8") / 4
    assert lanes.on_lanes(("int8", "fp16")).peak_macs_per_s("fp16") == 2 * t4.peak_macs_per_s("fp32")
    a100 = load_device("nvidia_a100_sxm_80gb")
    assert a100.on_lanes(("int4",)) is a100  # its lanes do not multiply in int4
    machine = whole(t4)
    for m, n, k in ((6144, 6000, 2048), (512, 1500, 2048), (35, 1500, 2560)):
        op = product(m, k, n, stored="int8")
        placement = Placement((None, None), None, machine.all_free)
        on_cores = map_op(op, machine, placement)
        on_lanes = map_op(op, machine.in_run(Run(on_lanes=("int8",))), placement)
        assert on_lanes.duration_ps > 2 * on_cores.duration_ps
        assert on_lanes.duration_ps / 1e12 >= op.macs / lanes.peak_macs_per_s("int8")


sizes = st.one_of(st.integers(1, 64), st.integers(1, 5000))
products = st.builds(product, sizes, sizes, sizes, batch=st.one_of(st.just(1), st.integers(2, 500)))


def mapped(op: Matmul, device: Device, *, warm: bool = False) -> Task:
    machine = whole(device)
    channel = None if warm else machine.backing("activation")
    return map_op(op, machine, Placement((channel,) * len(op.inputs), channel, machine.all_free))


def unlimited(device: Device) -> Device:
    return device.model_copy(update={"power": device.power.model_copy(update={"tdp_w": None})})


def grown(device: Device, part: str, times: float) -> Device:
    """A device without a power limit, and with more of one thing."""
    device = unlimited(device)
    if part == "cores":
        count = round(device.core.count * times)
        return device.model_copy(update={"core": device.core.model_copy(update={"count": count})})
    if part == "clock":
        vector = device.core.vector
        faster = vector.model_copy(update={"freq_hz": vector.freq_hz * times})
        return device.model_copy(update={"core": device.core.model_copy(update={"vector": faster})})
    memories = tuple(
        m.model_copy(update={"bandwidth_bytes_per_s": m.bandwidth_bytes_per_s * times})
        if m.name == part.removesuffix("_bytes") and not part.endswith("_bytes")
        else m.model_copy(update={"capacity_bytes": round(m.capacity_bytes * times)})
        if part.endswith("_bytes") and m.name == part.removesuffix("_bytes")
        else m
        for m in device.memory
    )
    return device.model_copy(update={"memory": memories})


@given(products, DEVICES, st.booleans())
def test_no_product_beats_its_roofline(op: Matmul, device: Device, warm: bool) -> None:
    task = mapped(op, device, warm=warm)
    seconds = task.duration_ps / 1e12
    assert seconds >= op.macs / device.peak_macs_per_s("fp32")
    dram = device.dram
    assert dram is not None
    if not warm:
        moved = sum(t.bytes for t in (*op.inputs, *op.outputs))
        assert seconds >= moved / dram.bandwidth_bytes_per_s
    limit = device.power.tdp_w
    if limit is not None:
        assert power_w([task], whole(device)) <= limit * (1 + 1e-9)


@given(
    products, DEVICES, st.sampled_from(["cores", "clock", "l2", "dram", "shared_memory", "l2_bytes"]), st.floats(1, 4)
)
def test_more_of_anything_never_slows_a_product(op: Matmul, device: Device, part: str, times: float) -> None:
    more = grown(device, part, times)
    assert mapped(op, more).duration_ps <= mapped(op, unlimited(device)).duration_ps + 1


@given(DEVICES.filter(lambda device: device.power.tdp_w is not None), st.floats(1, 3))
def test_a_higher_power_limit_never_slows_a_large_product(device: Device, times: float) -> None:
    power = device.power
    assert power.tdp_w is not None
    more = device.model_copy(update={"power": power.model_copy(update={"tdp_w": power.tdp_w * times})})
    op = product(4096, 2048, 4096)
    assert mapped(op, more).duration_ps <= mapped(op, device).duration_ps


def test_a_t4_at_70_w_multiplies_far_below_boost() -> None:
    """Its 2560 lanes take more than 70 W at 1590 MHz: large FP32 products run at the limit, below 0.75 of boost."""
    device = load_device("nvidia_t4")
    op = product(1024, 2048, 24000)
    limited, free = mapped(op, device), mapped(op, unlimited(device))
    assert limited.clock_hz < 0.75 * device.core.vector.freq_hz
    assert power_w([limited], whole(device)) == pytest.approx(70, rel=0.01)
    assert limited.duration_ps > 1.3 * free.duration_ps
    # DeepBench and NeuSight have 3.4 to 4.7 TFLOPS of such products on T4s.
    assert 3.2e12 < 2 * op.macs / (limited.duration_ps / 1e12) < 4.8e12


def test_a_v100_reaches_nearly_its_peak() -> None:
    """cuBLAS on Volta is known to reach more than 0.9 of the FP32 peak on large products."""
    device = load_device("nvidia_v100_pcie_32gb")
    op = product(8192, 4096, 8192)
    share = op.macs / device.peak_macs_per_s("fp32") / (mapped(op, device).duration_ps / 1e12)
    assert 0.88 < share <= 1


def test_batches_on_ga100_have_one_tile() -> None:
    factors = load_device("nvidia_a100_pcie_80gb").factors
    assert isinstance(factors, GpuFactors)
    assert simt_tiles(factors.simt, 1) == factors.simt.tiles
    assert simt_tiles(factors.simt, 2) == ((128, 128, 8),)
    others = load_device("nvidia_v100_pcie_32gb").factors
    assert isinstance(others, GpuFactors)
    assert simt_tiles(others.simt, 2) == others.simt.tiles


def test_a_batch_of_small_products_takes_as_long_as_whole_tiles() -> None:
    """16 x 384 x 48 in tiles of 128 x 128: seven eighths of the lanes' work is for nothing."""
    device = load_device("nvidia_a100_pcie_80gb")
    thin, full = (mapped(product(m, 48, 384, batch=2000), device, warm=True) for m in (16, 128))
    assert thin.duration_ps == pytest.approx(full.duration_ps, rel=0.25)
    assert thin.macs * 8 == full.macs


@given(products, DEVICES)
def test_blocks_side_by_side_never_slow_a_product_but_by_results_that_come_together(op: Matmul, device: Device) -> None:
    alone = with_factors(unlimited(device), {"simt.resident_results": 1.0})
    gpu = Gpu(whole(device))
    results_ps = 1e12 * op.outputs[0].bytes / (gpu.factors.simt.store * gpu.l2_bytes_per_s)
    assert mapped(op, unlimited(device)).duration_ps <= mapped(op, alone).duration_ps + results_ps + 1


@given(products)
def test_math_in_another_format_moves_narrow_numbers_and_multiplies_wide_ones(op: Matmul) -> None:
    """FP32 products of numbers kept in FP16, as cuBLAS computes them on a P100 (``CUBLAS_COMPUTE_32F``)."""
    device = unlimited(load_device("nvidia_p100_pcie_16gb"))
    narrow = product(op.m, op.k, op.n, op.batch, stored="fp16", math="fp32")
    assert narrow.dtype == "fp32"
    wide, kept_narrow = mapped(op, device), mapped(narrow, device)
    assert kept_narrow.duration_ps <= wide.duration_ps
    assert kept_narrow.duration_ps / 1e12 >= op.macs / device.peak_macs_per_s("fp32")
    assert dict(kept_narrow.channel_bytes)["dram"] <= dict(wide.channel_bytes)["dram"]
    assert {c.action for c in kept_narrow.counts if c.action.startswith("mac")} == {"mac.fp32"}


def test_a_precision_takes_the_place_of_math_in_another_format() -> None:
    op = product(8, 8, 8, stored="fp16", math="fp32")
    graph = Graph(name="one", ops=(op,))
    assert [o.dtype for o in set_precision(graph, "bf16").ops] == ["bf16"]


def test_devices_of_one_family_share_their_factors() -> None:
    """What an A100 is fitted to serves the other A100s through their own clocks, memories and limits."""
    small, large = load_device("nvidia_a100_pcie_40gb"), load_device("nvidia_a100_pcie_80gb")
    assert small.factors == large.factors
    op = product(4096, 4096, 4096)
    assert mapped(op, large).duration_ps <= mapped(op, small).duration_ps
