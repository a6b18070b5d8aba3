"""Products on tensor cores: what physics, power limits and libraries say of them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.hardware.device import Device, GpuExecution
from accelsim.hardware.family import ChosenKernel, GpuFactors
from accelsim.hardware.loader import device_names, load_device
from accelsim.mapping import Placement, Task, map_op
from accelsim.mapping.gpu.gemm import FEW_SPLITS, narrow_splits, product_of, tensor_tiles
from accelsim.mapping.gpu.grid import STREAM, fastest
from accelsim.mapping.gpu.kernel import Gpu, beyond
from accelsim.mapping.machine import Machine, Run
from accelsim.mapping.models import gemm_of
from accelsim.validation.silicon.calibrate import with_factors
from accelsim.validation.silicon.predict import power_w, roofline_s, whole
from accelsim.validation.silicon.protocol import protocols
from accelsim.workload.ops import Matmul, Tensor

CORES = [
    name
    for name in device_names()
    if isinstance((device := load_device(name)).core.execution, GpuExecution)
    and device.core.matrix is not None
    and device.core.matrix.macs_per_cycle("fp16")
]
"""GPUs with tensor cores."""
DEVICES = st.sampled_from(CORES).map(load_device)
SIZES = st.one_of(st.integers(1, 300), st.integers(1, 20000))


def product(m: int, n: int, k: int, dtype: str = "fp16", weight: str = "", batch: int = 1) -> Matmul:
    a = Tensor(name="a", shape=(batch, m, k), dtype=dtype)
    b = Tensor(name="b", shape=(batch, k, n), dtype=weight or dtype, role="weight")
    c = Tensor(name="c", shape=(batch, m, n), dtype="fp16" if dtype in {"int8", "fp8"} else dtype)
    return Matmul(name="product", inputs=(a, b), outputs=(c,), m=m, n=n, k=k, batch=batch)


PRODUCTS = st.builds(product, SIZES, SIZES, SIZES, batch=st.one_of(st.just(1), st.integers(2, 64)))


def mapped(op: Matmul, machine: Machine, *, warm: bool = False) -> Task:
    channel = None if warm else machine.backing("activation")
    return map_op(op, machine, Placement((channel,) * len(op.inputs), channel, machine.all_free))


def seconds(op: Matmul, device: Device, run: Run | None = None, *, warm: bool = False) -> float:
    machine = whole(device)
    return mapped(op, machine.in_run(run) if run else machine, warm=warm).duration_ps * 1e-12


def unlimited(device: Device) -> Device:
    return device.model_copy(update={"power": device.power.model_copy(update={"tdp_w": None})})


def limited(device: Device, tdp_w: float) -> Device:
    return device.model_copy(update={"power": device.power.model_copy(update={"tdp_w": tdp_w})})


def grown(device: Device, part: str, times: float) -> Device:
    """A device with more of one thing."""
    core = device.core
    if part == "cores":
        return device.model_copy(
            update={"core": core.model_copy(update={"count": max(core.count, round(core.count * times))})}
        )
    if part == "clock":
        assert core.matrix is not None
        matrix = core.matrix.model_copy(update={"freq_hz": core.matrix.freq_hz * times})
        return device.model_copy(update={"core": core.model_copy(update={"matrix": matrix})})
    field = {"dram": "bandwidth_bytes_per_s", "l2": "bandwidth_bytes_per_s", "l2 room": "capacity_bytes"}[part]
    name = "dram" if part == "dram" else "l2"
    memory = tuple(
        m.model_copy(update={field: type(getattr(m, field))(getattr(m, field) * times)}) if m.name == name else m
        for m in device.memory
    )
    return device.model_copy(update={"memory": memory})


@given(PRODUCTS, DEVICES)
def test_nothing_beats_the_roofline(op: Matmul, device: Device) -> None:
    assert seconds(op, device) >= roofline_s(op, device, device.core.count) * (1 - 1e-9)


@given(PRODUCTS, DEVICES)
def test_mean_power_stays_within_the_limit(op: Matmul, device: Device) -> None:
    machine = whole(device)
    assert device.power.tdp_w is not None
    assert power_w([mapped(op, machine)], machine) <= device.power.tdp_w * (1 + 1e-6)


@given(PRODUCTS, DEVICES, st.sampled_from(["cores", "clock", "dram", "l2", "l2 room"]), st.floats(1.0, 3.0))
def test_more_of_anything_never_slows_a_product(op: Matmul, device: Device, part: str, times: float) -> None:
    device = unlimited(device)
    assert seconds(op, grown(device, part, times)) <= seconds(op, device) * (1 + 1e-9) + 2e-12


@given(PRODUCTS, DEVICES, st.floats(1.0, 3.0))
def test_a_higher_power_limit_never_slows_a_product(op: Matmul, device: Device, times: float) -> None:
    assert device.power.tdp_w is not None
    more = limited(device, device.power.tdp_w * times)
    assert seconds(op, more) <= seconds(op, device) * (1 + 1e-9) + 2e-12


@given(PRODUCTS, DEVICES)
def test_warm_operands_never_slow_a_product(op: Matmul, device: Device) -> None:
    device = unlimited(device)
    assert seconds(op, device, warm=True) <= seconds(op, device) * (1 + 1e-9) + 2e-12


@given(PRODUCTS, DEVICES)
def test_operands_that_switch_less_never_slow_a_product(op: Matmul, device: Device) -> None:
    assert seconds(op, device, Run(activity=0.5)) <= seconds(op, device) * (1 + 1e-9) + 2e-12


@given(PRODUCTS, DEVICES, st.floats(1e-6, 1e-2))
def test_a_limit_that_sees_later_never_slows_a_product(op: Matmul, device: Device, burst_s: float) -> None:
    assert seconds(op, device, Run(burst_s=burst_s)) <= seconds(op, device) * (1 + 1e-9) + 2e-12


@given(PRODUCTS, DEVICES)
def test_energy_counts_cover_the_macs_and_every_operand(op: Matmul, device: Device) -> None:
    machine = whole(device)
    task = mapped(op, machine)
    amounts: dict[str, int] = {}
    for count in task.counts:
        amounts[count.action] = amounts.get(count.action, 0) + count.amount
    dram = device.memory[-1].name
    assert amounts[f"mac.{op.dtype}"] == op.macs
    assert amounts[f"{dram}.read"] >= sum(op.bytes_read(t) for t in op.inputs)
    assert amounts[f"{dram}.write"] == op.outputs[0].bytes
    assert amounts["l2.read"] >= sum(op.bytes_read(t) for t in op.inputs)


@settings(max_examples=30)
@given(PRODUCTS, st.sampled_from(["nvidia_h100_sxm_80gb", "nvidia_a100_sxm_80gb"]).map(load_device))
def test_cutting_k_anywhere_is_chosen_only_where_it_is_faster(op: Matmul, device: Device) -> None:
    gpu, gemm = Gpu(whole(device)), gemm_of(op)
    channel = gpu.machine.backing("activation")
    placement = Placement((channel,) * 2, channel, gpu.machine.all_free)
    matrix = device.core.matrix
    assert isinstance(device.factors, GpuFactors)
    assert matrix is not None
    assert device.factors.tensor is not None
    rate = matrix.macs_per_cycle(op.dtype) * matrix.freq_hz
    wanted = product_of(gemm, placement, beyond(op, placement), rate)
    free = fastest(gpu, wanted, device.factors.tensor.model_copy(update={"stream_k": True}))
    tied = fastest(gpu, wanted, device.factors.tensor.model_copy(update={"stream_k": False}))
    assert tied.split != STREAM
    assert free.time(1.0) <= tied.time(1.0) * (1 + 1e-9)


def test_a_last_block_in_a_turn_of_its_own_costs_a_turn() -> None:
    """Tile quantisation: 108 tiles of 128 x 128 take one turn of an A100's 108 cores, 109 two."""
    device = unlimited(load_device("nvidia_a100_sxm_80gb"))
    assert isinstance(device.factors, GpuFactors)
    assert device.factors.tensor is not None
    one_tile = device.factors.tensor.model_copy(update={"tiles": ((128, 128, 32),)})
    gpu, factors = Gpu(whole(device)), one_tile
    op = product(128, 128 * 108, 4096)
    channel = gpu.machine.backing("activation")
    placement = Placement((channel,) * 2, channel, gpu.machine.all_free)

    def grid(n: int):
        wanted = product_of(gemm_of(op), placement, beyond(op, placement), 1024 * 1.41e9)
        return fastest(gpu, dataclasses.replace(wanted, n=n), factors, splits=(1,))

    assert (grid(128 * 108).turns, grid(128 * 109).turns) == (1, 2)
    # Blocks that share a core share its rate: 1.5 leaves room for what two blocks hide of each other's latency.
    assert grid(128 * 109).compute_s > 1.5 * grid(128 * 108).compute_s


def test_power_limits_make_large_products_slower_on_random_operands() -> None:
    """Zeros let an A100 multiply faster than random numbers do (H. He, 'Strangely, matrix multiplications on GPUs run
    faster when given predictable data', 2024: 8192**3, random 258 TFLOPS, zeros near the peak)."""
    op = product(8192, 8192, 8192)
    device = load_device("nvidia_a100_sxm_80gb")
    random, zeros = (2 * op.macs / seconds(op, device, run) for run in (Run(), Run(activity=0.3)))
    assert 230e12 < random < 270e12
    assert random * 1.05 < zeros < 312e12


def test_a_t4_runs_large_products_far_below_its_boost() -> None:
    """DeepBench: the six fastest fp16 products of a T4 at 70 W reach 42 to 47 of 65 TFLOPS."""
    op = product(4096, 7000, 4096)
    reached = 2 * op.macs / seconds(op, load_device("nvidia_t4"))
    assert 36e12 < reached < 50e12


def test_an_h100_is_power_limited_and_a_cooler_one_is_faster() -> None:
    op = product(16384, 16384, 16384)
    device = load_device("nvidia_h100_sxm_80gb")
    assert 2 * op.macs / seconds(op, device) < 0.75 * 2 * device.peak_macs_per_s("fp16")
    assert seconds(op, limited(device, 350)) > 1.3 * seconds(op, device)


@pytest.mark.parametrize(
    ("dtype", "weight", "splits"),
    [("fp16", "", None), ("bf16", "", None), ("int8", "", FEW_SPLITS), ("bf16", "int4", FEW_SPLITS)],
)
def test_kernels_of_narrow_formats_cut_k_in_few_parts(dtype: str, weight: str, splits: tuple[int, ...] | None) -> None:
    assert narrow_splits(product(8, 256, 12288, dtype, weight)) == splits


def test_narrow_weights_cost_fewer_bytes() -> None:
    machine = whole(load_device("nvidia_a100_sxm_80gb"))
    reads = [
        sum(count.amount for count in mapped(product(1, 8192, 8192, "bf16", weight), machine).counts
            if count.action == "dram.read" and count.operand == "weight")
        for weight in ("bf16", "int8", "int4")
    ]  # fmt: skip
    assert reads == [2 * 8192**2, 8192**2, 8192**2 // 2]


def test_a_step_along_k_takes_as_many_bytes_in_every_format() -> None:
    assert tensor_tiles(((128, 64, 32),), 16) == ((128, 64, 32),)
    assert tensor_tiles(((128, 64, 32),), 8) == ((128, 64, 64),)
    assert tensor_tiles(((128, 64, 32),), 4) == ((128, 64, 128),)


def test_an_older_library_is_slower() -> None:
    op, device = product(4096, 4096, 4096), unlimited(load_device("nvidia_h100_sxm_80gb"))
    assert seconds(op, device, Run(library=0.8)) > 1.1 * seconds(op, device)


def chosen(pace: float = 1.0, cluster: tuple[int, int] = (2, 1)) -> Run:
    """A library that has one kernel."""
    kernel = ChosenKernel(source="test", family="hopper", dtype="fp8", tile=(128, 128, 128), cluster=cluster, pace=pace)
    return Run(kernels=(kernel,))


def read_bytes(op: Matmul, device: Device, run: Run) -> int:
    counts = mapped(op, whole(device).in_run(run)).counts
    return sum(count.amount for count in counts if count.action == "dram.read")


LARGE = st.builds(product, *[st.integers(1000, 60000)] * 3, st.just("fp8"))


@given(LARGE, st.floats(0.1, 1.0), st.floats(0.1, 1.0))
@settings(deadline=None)
def test_blocks_that_lose_pace_read_more_but_never_more_than_each_its_own(op: Matmul, one: float, two: float) -> None:
    device = unlimited(load_device("nvidia_h100_sxm_80gb"))
    less, more = (read_bytes(op, device, chosen(pace)) for pace in sorted((one, two), reverse=True))
    alone = (op.m + 255) // 256 * 256 * ((op.n + 127) // 128) * op.k * (1 + 0.5) + op.m * op.k + op.n * op.k
    assert sum(op.bytes_read(t) for t in op.inputs) <= less <= more <= alone


@given(LARGE, st.floats(0.1, 1.0), st.sampled_from(["clock", "dram", "l2", "l2 room"]), st.floats(1.0, 3.0))
def test_more_of_anything_never_slows_a_product_of_a_chosen_kernel(
    op: Matmul, pace: float, part: str, times: float
) -> None:
    device, run = unlimited(load_device("nvidia_h100_sxm_80gb")), chosen(pace)
    assert seconds(op, grown(device, part, times), run) <= seconds(op, device, run) * (1 + 1e-9) + 2e-12


def test_the_last_kernel_that_fits_is_chosen() -> None:
    """vLLM: 256 x 128 from 8192 rows and k = 6144 on, else 128 x 128; TensorRT-LLM's library takes the fastest."""
    stacks = {one.name: one for one in protocols()}
    machine = whole(load_device("nvidia_h100_sxm_80gb"))

    def tile(stack: str, op: Matmul) -> str:
        run = stacks[f"aiconfigurator_gemm_{stack}"].run("fp8", "hopper")
        return mapped(op, machine.in_run(run)).tiling.split(",")[0]

    assert tile("vllm", product(8192, 4096, 6144, "fp8")) == "256x128x128"
    assert tile("vllm", product(8191, 4096, 6144, "fp8")) == "128x128x128"
    assert tile("vllm", product(8192, 4096, 6143, "fp8")) == "128x128x128"
    assert tile("vllm", product(64, 4096, 6144, "fp8")) == "64x64x256"
    assert tile("vllm", product(16, 4096, 6144, "fp8")) == "16x64x256"
    assert tile("sglang", product(8192, 4096, 6144, "fp8")) == "128x128x128"
    assert stacks["aiconfigurator_gemm_vllm"].run("fp8", "blackwell").kernels == ()
    assert stacks["aiconfigurator_gemm_trtllm"].run("fp8", "hopper").kernels == ()


def test_results_queue_behind_later_rounds() -> None:
    """Of one round of blocks all results come after the main loops; of many rounds most hide behind them."""
    device = with_factors(unlimited(load_device("nvidia_a100_sxm_80gb")), {"tensor.store": 0.01})
    quick = with_factors(device, {"tensor.store": 1.0})
    one, many = product(128, 128 * 108, 8192), product(128 * 40, 128 * 108, 8192)
    share = [(seconds(op, device) - seconds(op, quick)) / (op.m * op.n) for op in (one, many)]
    assert share[1] < 0.5 * share[0]


def test_energy_of_a_mac_follows_the_family_and_the_format() -> None:
    device = with_factors(load_device("nvidia_h100_sxm_80gb"), {"tensor.pj_per_mac": 2.0})
    energy = whole(device).energy
    assert energy.mac_pj(device, "fp16") == pytest.approx(2.0)
    assert energy.mac_pj(device, "fp8") == pytest.approx(1.0)
    assert energy.mac_pj(device, "tf32") == pytest.approx(4.0)


def test_a_large_product_is_cut_into_few_rereads() -> None:
    """32768 x 51200 x 16384: 5.1 GB of operands, which tiles in groups read again a few times, not once a tile."""
    machine = whole(load_device("nvidia_a100_sxm_80gb"))
    op = product(32768, 51200, 16384)
    read = sum(count.amount for count in mapped(op, machine).counts if count.action == "dram.read")
    least = sum(op.bytes_read(t) for t in op.inputs)
    assert 3 * least < read < 60 * least
