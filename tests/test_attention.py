"""Attention on an array and a vector unit that work side by side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim import load_device, simulate
from accelsim.base.errors import MappingError
from accelsim.mapping.attention import side_by_side
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Attention, Tensor

TIMES = st.integers(0, 50)


def played(blocks: int, s: int, v: int, c: int) -> int:
    """The schedule itself: the array takes S1 S2 C1 S3 C2 ... Cn, the vector unit V1 V2 ... Vn."""
    array = vector = 0
    scored, softened = [0] * blocks, [0] * blocks
    order = [("s", 0)]
    for i in range(blocks):
        order += ([("s", i + 1)] if i + 1 < blocks else []) + [("c", i)]
    for what, i in order:
        if what == "s":
            array = scored[i] = array + s
            vector = softened[i] = max(vector, scored[i]) + v
        else:
            array = max(array, softened[i]) + c
    return array


@given(st.integers(1, 12), TIMES, TIMES, TIMES)
def test_blocks_side_by_side_take_what_the_schedule_takes(n: int, s: int, v: int, c: int) -> None:
    """The closed form is the schedule where one unit is the bottleneck throughout, and never less."""
    closed = side_by_side(n, n * s, n * v, n * c)
    real = played(n, s, v, c)
    assert closed >= real * (1 - 1e-12)
    assert closed <= real + max(s, v, c) + 1e-9
    assert closed >= max(n * v, n * (s + c)) * (1 - 1e-12)
    assert closed <= n * (s + v + c) * (1 + 1e-12)


def attention(heads: int = 12, length: int = 512, width: int = 64, batch: int = 1) -> Graph:
    q, k, v, out = (Tensor(name=n, shape=(batch, length, heads * width), dtype="bf16") for n in ("q", "k", "v", "out"))
    op = Attention(
        name="attention", inputs=(q, k, v), outputs=(out,), batch=batch, q_len=length, kv_len=length, heads=heads,
        kv_heads=heads, head_dim=width,
    )  # fmt: skip
    return Graph(name="attention", ops=(op,), batch=batch)


@pytest.mark.parametrize("length", [128, 512, 1024])
def test_one_kernel_is_faster_than_its_parts_and_slower_than_each_unit_alone(length: int) -> None:
    one = simulate("tpu_v3", attention(length=length))
    parts = simulate("tpu_v3", attention(length=length), overrides={"fuses_attention": False})
    assert one.latency_s < parts.latency_s
    assert one.dram_bytes <= parts.dram_bytes
    assert one.macs == parts.macs
    core = load_device("tpu_v3").core
    assert core.matrix is not None
    softmax_s = 4 * 12 * length**2 / core.vector.ops_per_cycle["fp32"] / core.vector.freq_hz
    assert one.latency_s > max(softmax_s, one.macs / one.peak_macs_per_s)
    assert one.latency_s >= one.roofline_latency_s


def test_operands_cross_once_and_scores_stay_on_chip() -> None:
    """Q, K and V in, the result out: 4 x 512 x 768 x 2 bytes."""
    assert simulate("tpu_v3", attention()).dram_bytes == 4 * 512 * 768 * 2


def test_energy_of_the_parts_is_all_there() -> None:
    one = simulate("tpu_v3", attention())
    parts = simulate("tpu_v3", attention(), overrides={"fuses_attention": False})
    assert one.energy_breakdown_j["mac"] == pytest.approx(parts.energy_breakdown_j["mac"], rel=0.2)
    assert sum(one.energy_breakdown_j.values()) == pytest.approx(one.energy_j)


def test_more_room_never_hurts_and_too_little_is_refused() -> None:
    def latency(capacity: int) -> float:
        return simulate("tpu_v3", attention(), overrides={"vmem.capacity_bytes": capacity}).latency_s

    times = [latency(2**p) for p in range(19, 26)]
    assert times == sorted(times, reverse=True)
    with pytest.raises(MappingError, match="two blocks of scores take 262144 bytes of vmem"):
        latency(2**16)
