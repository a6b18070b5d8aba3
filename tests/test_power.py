"""Power of a GPU's cores, and what a power meter shows of a kernel that runs in a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.hardware.device import Device
from accelsim.hardware.energy import CORE_CYCLE, component
from accelsim.hardware.family import GpuFactors
from accelsim.hardware.loader import load_device
from accelsim.mapping import Machine, Placement, Task, map_op
from accelsim.mapping.gpu.kernel import Kernel, task_of
from accelsim.validation.silicon.calibrate import with_factors
from accelsim.validation.silicon.meter import Loop, Meter
from accelsim.validation.silicon.predict import power_w, predict, whole
from accelsim.validation.silicon.protocol import protocol_of
from accelsim.validation.silicon.rows import Measurement
from accelsim.workload.ops import Matmul, Tensor

B200 = load_device("nvidia_b200_sxm_180gb")
SOURCE = ("PyPI aiconfigurator-core==0.12.0", "same KV re-read each replay (small KV is L2-warm)", "VLLM-0.22.0")
STATIC_W = B200.power.static_w


def product(m: int, n: int, k: int) -> Matmul:
    a = Tensor(name="a", shape=(1, m, k), dtype="fp16")
    b = Tensor(name="b", shape=(1, k, n), dtype="fp16", role="weight")
    return Matmul(name="p", inputs=(a, b), outputs=(Tensor(name="c", shape=(1, m, n), dtype="fp16"),), m=m, n=n, k=k)


def mapped(op: Matmul, machine: Machine) -> Task:
    channel = machine.backing("activation")
    return map_op(op, machine, Placement((channel, channel), channel, machine.all_free))


def without_cores(device: Device) -> Device:
    assert isinstance(device.factors, GpuFactors)
    return device.model_copy(update={"factors": device.factors.model_copy(update={"power": None})})


def unlimited(device: Device) -> Machine:
    return whole(device.model_copy(update={"power": device.power.model_copy(update={"tdp_w": None})}))


def kernel(seconds: float, cores: int | None = None) -> Kernel:
    """One that does nothing but last."""
    return Kernel(
        op=product(16, 16, 16), unit="matrix", freq_hz=B200.core.vector.freq_hz, compute_s=seconds, l2_s=0.0,
        time=lambda fraction: seconds / fraction, channel_bytes={}, counts=(), tiling="", cores=cores,
    )  # fmt: skip


@given(st.floats(1e-6, 1e-2), st.floats(1.01, 100), st.integers(1, 148))
def test_cores_that_hold_blocks_longer_draw_more_energy_at_the_same_work(s: float, times: float, cores: int) -> None:
    machine = unlimited(B200)
    short, long = (sum(machine.dynamic_pj(task_of(kernel(t, cores), machine).counts)) for t in (s, times * s))
    assert long == pytest.approx(times * short, rel=1e-3)


@given(st.floats(1e-6, 1e-2), st.integers(1, 147))
def test_more_cores_that_hold_blocks_draw_more_power(seconds: float, cores: int) -> None:
    machine = unlimited(B200)
    fewer, more = (power_w([task_of(kernel(seconds, n), machine)], machine) for n in (cores, cores + 1))
    assert fewer < more
    assert power_w([task_of(kernel(seconds), machine)], machine) <= STATIC_W + 583


@given(st.integers(1, 8192), st.integers(1, 8192), st.integers(1, 8192), st.floats(300, 3000), st.floats(0, 20000))
def test_power_stays_within_any_limit_whatever_the_cores_draw(m: int, n: int, k: int, tdp: float, pj: float) -> None:
    device = with_factors(B200, {"power.core_pj_per_cycle": pj})
    device = device.model_copy(update={"power": device.power.model_copy(update={"tdp_w": tdp})})
    assert power_w([mapped(product(m, n, k), whole(device))], whole(device)) <= tdp * (1 + 1e-9)


@given(st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 4096), st.floats(300, 1000), st.floats(1, 3))
def test_a_higher_limit_never_slows(m: int, n: int, k: int, tdp: float, times: float) -> None:
    low, high = (
        whole(B200.model_copy(update={"power": B200.power.model_copy(update={"tdp_w": limit})}))
        for limit in (tdp, times * tdp)
    )
    op = product(m, n, k)
    assert mapped(op, high).duration_ps <= mapped(op, low).duration_ps


def test_a_family_that_does_not_price_cycles_has_none() -> None:
    hopper = load_device("nvidia_h100_sxm_80gb")
    op = product(1024, 1024, 1024)
    for device in (hopper, without_cores(B200)):
        assert all(count.action != CORE_CYCLE for count in mapped(op, whole(device)).counts)
    assert component(CORE_CYCLE, B200) == "mac"


def test_a_large_product_runs_at_the_limit_as_fast_as_cublas() -> None:
    """NVIDIA's Tilus documentation: cuBLAS reaches 1610 TFLOPS at 8192 x 8192 x 8192 in FP16 on a B200 (1000 W)."""
    machine = whole(B200)
    task = mapped(product(8192, 8192, 8192), machine)
    assert 2 * 8192**3 / task.duration_ps == pytest.approx(1610, rel=0.03)
    assert power_w([task], machine) == pytest.approx(1000, rel=0.01)


# The meter


def meter(**changed: object) -> Meter:
    found = protocol_of(*SOURCE, "NVIDIA B200-SXM").meter
    assert found is not None
    return found.model_copy(update=changed)


def row(**cells: object) -> Measurement:
    usual = {
        "op": "attention_decode", "dtype": "bfloat16/kv-bfloat16", "batch": 1, "q_len": 1, "kv_len": 1024, "heads": 8,
        "kv_heads": 1, "head_dim": 128,
    }  # fmt: skip
    return Measurement(2, {name: str(value) for name, value in {**usual, **cells}.items()})


seconds = st.floats(1e-6, 10)
watts = st.floats(STATIC_W, 1000)


@given(seconds, watts, seconds, watts)
def test_a_mean_lies_between_what_it_is_of(s: float, w: float, other_s: float, other_w: float) -> None:
    shown = meter().shown_w(row(), Loop(s, w), STATIC_W, lambda _: Loop(other_s, other_w))
    assert STATIC_W * (1 - 1e-9) <= shown <= max(w, other_w) * (1 + 1e-9)


@given(watts, seconds, watts)
def test_a_long_loop_shows_its_own_power(w: float, other_s: float, other_w: float) -> None:
    """Six runs of 100 s each: a first second of 600 shows something else."""
    shown = meter().shown_w(row(), Loop(100, w), STATIC_W, lambda _: Loop(other_s, other_w))
    assert shown == pytest.approx(w, abs=1)


@given(watts, watts, watts)
def test_a_short_loop_shows_what_was_before(w: float, other: float, before: float) -> None:
    """3000 runs of 6 us are over in 18 ms: one reading, as the loop begins."""
    one, two = (meter().shown_w(row(), Loop(6e-6, p), STATIC_W, lambda _: Loop(1.0, before)) for p in (w, other))
    assert one == two


@given(seconds, watts, watts)
def test_hotter_kernels_before_show_more(s: float, w: float, before: float) -> None:
    shown = [meter().shown_w(row(), Loop(s, w), STATIC_W, lambda _, p=p: Loop(0.1, p)) for p in (STATIC_W, before)]
    assert shown[0] <= shown[1] * (1 + 1e-12)


def test_the_power_of_a_loop_like_those_before_is_its_share_of_the_time() -> None:
    """Loops of 0.36 s with 0.14 s between them: 72 % of the time at 745 W, the rest at 245."""
    alike = meter(setup_s=0.14, most_runs=360, sample_s=10.0, sweep_s=100.0)
    at_start = alike.shown_w(row(batch=3), Loop(1e-3, 745), 245, lambda _: Loop(1e-3, 745))
    assert at_start == pytest.approx(0.14 * 245 + 0.86 * (0.28 * 245 + 0.72 * 745))


def cases(op: str, **cells: object) -> Sequence[tuple[int, int, str]]:
    return meter().sweeps[op].cases(row(op=op, **cells))


def test_a_sweep_leaves_out_what_its_collector_does() -> None:
    """Limits of aiconfigurator's cases: 131,072 tokens, 65,536 and 128 items where heads are not grouped."""
    grouped, own = (cases("attention_prefill", kv_heads=k) for k in (1, 8))
    assert max(b * s for b, s, _ in grouped) == 131072
    assert max(b * s for b, s, _ in own) == 65536
    assert max(b for b, _, _ in grouped) == 256
    assert max(b for b, _, _ in own) == 128
    assert [case[1] for case in grouped] == sorted((case[1] for case in grouped), reverse=True)
    decode = cases("attention_decode", heads=64, kv_heads=1)
    assert max(64 * b * s for b, s, _ in decode) <= 16777216
    assert all(sum(s == length and t.endswith("fp8") for _, s, t in decode) >= 1 for _, length, _ in decode)


def test_a_row_that_is_in_no_sweep_had_loops_like_itself_before() -> None:
    quiet = meter().shown_w(row(batch=3), Loop(1e-3, STATIC_W), STATIC_W, lambda _: Loop(1.0, 1000.0))
    assert quiet == pytest.approx(STATIC_W)


def test_rows_without_a_reading_have_the_power_of_the_kernel_itself() -> None:
    plain = {
        "device": "NVIDIA B200-SXM", "latency_us": 6.1, "framework": SOURCE[2], "timing": SOURCE[1],
        "source_repo": SOURCE[0],
    }  # fmt: skip
    silent = predict(row(**plain))
    assert silent.shown_w == silent.power_w
    read = predict(row(**plain, power_w=300))
    assert replace(read, shown_w=read.power_w) == silent
