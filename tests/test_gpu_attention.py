"""Fused attention on GPUs: what physics and the kernels' papers say of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.hardware.device import Device, GpuExecution
from accelsim.hardware.family import GpuFactors
from accelsim.hardware.loader import device_names, load_device
from accelsim.mapping import Machine, Placement, Task, map_op
from accelsim.mapping.gpu.attention import Layout
from accelsim.mapping.machine import Run
from accelsim.validation.silicon.calibrate import with_factors
from accelsim.validation.silicon.predict import whole
from accelsim.workload.ops import Attention, Role, Tensor

FUSED = [
    name
    for name in device_names()
    if isinstance(load_device(name).core.execution, GpuExecution) and load_device(name).core.matrix is not None
]


def attention(
    batch: int = 1,
    q_len: int = 1024,
    kv_len: int = 1024,
    heads: int = 8,
    kv_heads: int = 8,
    head_dim: int = 128,
    causal: bool = True,
    window: int | None = None,
    dtype: str = "fp16",
    cache: str | None = None,
    role: Role = "kv_cache",
) -> Attention:
    q, y = (Tensor(name=name, shape=(batch, q_len, heads * head_dim), dtype=dtype) for name in ("q", "y"))
    kept = (batch, kv_len, kv_heads * head_dim)
    k, v = (Tensor(name=name, shape=kept, dtype=cache or dtype, role=role) for name in ("k", "v"))
    return Attention(
        name="attention", inputs=(q, k, v), outputs=(y,), batch=batch, q_len=q_len, kv_len=kv_len, heads=heads,
        kv_heads=kv_heads, head_dim=head_dim, causal=causal, window=window,
    )  # fmt: skip


@st.composite
def attentions(draw: st.DrawFn) -> Attention:
    """Prefill, decode and encoder, heads shared or not, with and without a window."""
    q_len = draw(st.one_of(st.just(1), st.integers(1, 8192)))
    kv_heads, group = draw(st.sampled_from([1, 2, 8])), draw(st.sampled_from([1, 4, 8]))
    causal = draw(st.booleans())
    return attention(
        batch=draw(st.integers(1, 64)),
        q_len=q_len,
        kv_len=q_len + draw(st.integers(0, 8192)),
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=draw(st.sampled_from([64, 72, 128, 256])),
        causal=causal,
        window=draw(st.one_of(st.none(), st.integers(1, 4096))) if causal else None,
    )


DEVICES = st.sampled_from(FUSED).map(load_device)


def mapped(op: Attention, device: Device, *, warm: bool = False, stack: str = "") -> Task:
    machine = whole(device).in_run(Run(stack=stack))
    channel = None if warm else machine.backing("activation")
    return map_op(op, machine, Placement((channel,) * len(op.inputs), channel, machine.all_free))


def unlimited(device: Device) -> Device:
    return device.model_copy(update={"power": device.power.model_copy(update={"tdp_w": None})})


@given(attentions(), DEVICES)
def test_nothing_beats_its_roofline(op: Attention, device: Device) -> None:
    assert device.dram is not None
    size = sum(op.bytes_read(t) for t in op.inputs) + op.outputs[0].bytes
    roofline_s = max(op.macs / device.peak_macs_per_s(op.dtype), size / device.dram.bandwidth_bytes_per_s)
    task = mapped(op, device)
    assert task.duration_ps >= roofline_s * 1e12 * (1 - 1e-9)
    assert task.macs >= op.macs


@given(attentions(), DEVICES)
def test_average_power_stays_within_the_limit(op: Attention, device: Device) -> None:
    machine = whole(device)
    task = mapped(op, device)
    on_chip, off_chip = machine.dynamic_pj(task.counts)
    assert machine.power_w is not None
    assert (on_chip * task.energy_scale + off_chip) / task.duration_ps <= machine.power_w * (1 + 1e-9)


@given(attentions(), DEVICES, st.floats(1, 4))
def test_more_bandwidth_never_slows(op: Attention, device: Device, times: float) -> None:
    free = unlimited(device)
    for memory in free.memory:
        faster = memory.model_copy(update={"bandwidth_bytes_per_s": memory.bandwidth_bytes_per_s * times})
        other = free.model_copy(update={"memory": tuple(faster if m is memory else m for m in free.memory)})
        assert mapped(op, other).duration_ps <= mapped(op, free).duration_ps


@given(attentions(), DEVICES, st.integers(1, 4))
def test_more_cores_never_slow(op: Attention, device: Device, times: int) -> None:
    free = unlimited(device)
    machine = whole(free)
    channel = machine.backing("activation")
    where = Placement((channel,) * len(op.inputs), channel, machine.all_free)
    wider = Machine(free, machine.energy, machine.cores * times, None)
    assert map_op(op, wider, where).duration_ps <= map_op(op, machine, where).duration_ps


@given(attentions(), DEVICES)
def test_a_cache_in_l2_is_no_slower(op: Attention, device: Device) -> None:
    assert mapped(op, device, warm=True).duration_ps <= mapped(op, device).duration_ps


@given(attentions())
def test_tiles_cover_what_is_seen(op: Attention) -> None:
    """No pair of a query and a key that it sees is left out, and tiles are at most half empty plus their rims."""
    layout = Layout(op, 128, 64, 128, True)
    tiles, total, longest = layout.steps
    rows = layout.rows if layout.shared else 128
    covered = layout.heads * total * rows * 64
    assert covered >= op.batch * op.heads * op.scores_per_head
    assert tiles <= total + (total == 0)
    assert longest * tiles >= total


def test_a_causal_mask_halves_the_work_of_long_sequences() -> None:
    """FlashAttention-2, section 3.1: blocks above the diagonal are skipped."""
    device = load_device("nvidia_a100_sxm_80gb")
    full, causal = (
        mapped(attention(batch=4, q_len=8192, kv_len=8192, causal=causal, role="activation"), device)
        for causal in (False, True)
    )
    assert 0.45 < causal.duration_ps / full.duration_ps < 0.6


def test_a_window_bounds_the_work() -> None:
    device = load_device("nvidia_a100_sxm_80gb")
    times = [mapped(attention(q_len=n, kv_len=n, window=512), device).duration_ps for n in (8192, 16384)]
    assert times[1] < 2.2 * times[0]


def test_decoding_streams_the_cache() -> None:
    """A step of decoding reads each key and value once: with much of it, bandwidth is all (Williams, CACM 2009)."""
    device = load_device("nvidia_h100_sxm_80gb")
    op = attention(batch=64, q_len=1, kv_len=16384, heads=32, kv_heads=8)
    task = mapped(op, device)
    assert device.dram is not None
    cache = sum(t.bytes for t in op.inputs[1:3])
    assert task.bound == "dram"
    assert 1.0 < task.duration_ps / 1e12 / (cache / device.dram.bandwidth_bytes_per_s) < 1.5


def test_shared_heads_read_less() -> None:
    """Grouped-query attention (Ainslie et al., EMNLP 2023): as many times fewer keys and values as heads share them."""
    device = load_device("nvidia_a100_sxm_80gb")
    own, shared = (mapped(attention(batch=32, q_len=1, kv_len=8192, heads=32, kv_heads=n), device) for n in (32, 4))
    assert own.duration_ps > 5 * shared.duration_ps


def test_splitting_keys_helps_a_lone_sequence() -> None:
    """Flash decoding: one sequence with one KV head would keep one core busy."""
    device = load_device("nvidia_a100_sxm_80gb")
    task = mapped(attention(q_len=1, kv_len=65536, heads=8, kv_heads=1), device)
    assert "keys in" in task.tiling
    assert task.duration_ps < 100e6


def test_a_cache_in_8_bits_is_faster_to_stream() -> None:
    device = load_device("nvidia_h100_sxm_80gb")
    wide, narrow = (
        mapped(attention(batch=128, q_len=1, kv_len=8192, heads=32, kv_heads=8, cache=cache), device)
        for cache in ("fp16", "fp8")
    )
    assert 1.5 < wide.duration_ps / narrow.duration_ps < 2.1


def test_stacks_have_kernels_of_their_own() -> None:
    device = load_device("nvidia_a100_sxm_80gb")
    assert isinstance(device.factors, GpuFactors)
    op = attention(batch=8, q_len=16384, kv_len=16384, heads=32)
    times = {stack: mapped(op, device, stack=stack).duration_ps for stack in device.factors.attention.stacks}
    assert set(times) == {"sglang", "trtllm", "vllm"}
    # Measured: 207, 180 and 148 TFLOPS of long sequences (aiconfigurator-core 0.12.0).
    assert times["sglang"] < times["vllm"] < times["trtllm"]
    assert mapped(op, device, stack="another").duration_ps == mapped(op, device).duration_ps


@pytest.mark.parametrize("factor", ["issue", "dram", "l2"])
def test_better_factors_never_slow(factor: str) -> None:
    device = unlimited(load_device("nvidia_l40s"))
    for op in (attention(), attention(batch=32, q_len=1, kv_len=8192)):
        worse = with_factors(device, {f"attention.{factor}": 0.3})
        assert mapped(op, device).duration_ps <= mapped(op, worse).duration_ps


def test_one_item_after_another_adds_up() -> None:
    device = load_device("nvidia_h100_sxm_80gb")
    one = mapped(attention(batch=8, q_len=4096, kv_len=4096), device).duration_ps
    two = mapped(replace(attention(batch=16, q_len=4096, kv_len=4096)), device).duration_ps
    assert 1.7 < two / one <= 2.0
