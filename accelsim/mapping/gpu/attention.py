"""Fused attention on a GPU: one kernel that never writes its scores (FlashAttention, Dao et al., NeurIPS 2022).

A block of threads holds a tile of queries of one head and goes through the keys and values that it sees, a tile at a
time: two products on the tensor cores, between them the exponentials, sums and scalings of the scores on the other
lanes, of which the kernel hides a part behind the products (Shah et al., FlashAttention-3, 2024). Where queries are few
(a decoding step), the query heads that share keys and values stand together in a tile, and the keys are cut into parts
for as many blocks as there is room for, whose results a second kernel adds up (flash decoding: Dao et al., 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from accelsim.base.dtypes import bits
from accelsim.base.units import ceil_div
from accelsim.hardware.family import AttentionFactors
from accelsim.mapping.gpu.kernel import (
    Gpu,
    Kernel,
    Moved,
    beyond,
    channel_bytes,
    crossing_counts,
    operand_name,
    task_of,
)
from accelsim.mapping.machine import Machine
from accelsim.mapping.matrix import matrix_unit
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts
from accelsim.trace import Count
from accelsim.workload.ops import Attention

NARROWEST = 16
"""Rows of the narrowest tile that tensor cores multiply (PTX ISA, ``mma.m16n8k16``)."""
DEPTH = 32
"""Head sizes are padded to a multiple of this."""
HEAD = 128
"""Head size that a block's time is given for."""


@dataclass(frozen=True)
class Layout:
    """How the kernel lays an op out: tiles of queries, and the steps along the keys that each takes."""

    op: Attention
    tile_q: int
    tile_kv: int
    widest_group: int
    packs: bool

    @cached_property
    def decodes(self) -> bool:
        """Whether it is a step that decodes a token."""
        return self.op.q_len == 1 and self.op.kv_len > 1

    @cached_property
    def shared(self) -> bool:
        """Whether the query heads of a KV head stand in one tile."""
        group = self.op.heads // self.op.kv_heads
        return group <= self.widest_group and (self.decodes or (self.packs and self.op.q_len * group <= self.tile_q))

    @property
    def regroups(self) -> bool:
        """Whether the query heads of a KV head do not lie together as the kernel wants them."""
        op = self.op
        return self.shared and op.q_len == 1 and op.heads > op.kv_heads > 1 and op.batch > 1

    @cached_property
    def heads(self) -> int:
        """Of all items, that blocks work on."""
        return self.op.batch * (self.op.kv_heads if self.shared else self.op.heads)

    @cached_property
    def rows(self) -> int:
        """Of a tile that is in use, rounded up to what the tensor cores multiply."""
        group = self.op.heads // self.op.kv_heads if self.shared else 1
        return min(self.tile_q, ceil_div(self.op.q_len * group, NARROWEST) * NARROWEST)

    @cached_property
    def steps(self) -> tuple[int, int, int]:
        """Tiles of queries of a head, tiles of keys that they see in all, and the most that one of them sees.

        A causal tile of queries sees the keys up to its last one, with a window no earlier ones than its first sees.
        """
        op = self.op
        span = op.q_len if self.shared else self.tile_q
        tiles = ceil_div(op.q_len, span)
        if not op.causal:
            each = ceil_div(op.kv_len, self.tile_kv)
            return tiles, tiles * each, each
        total = longest = 0
        for tile in range(tiles):
            first = op.kv_len - op.q_len + tile * span
            last = min(op.kv_len, first + span)
            start = 0 if op.window is None else max(0, first + 1 - op.window)
            seen = ceil_div(last, self.tile_kv) - start // self.tile_kv
            total, longest = total + seen, max(longest, seen)
        return tiles, total, longest

    @cached_property
    def blocks(self) -> int:
        """Before keys are split."""
        return self.heads * self.steps[0]

    @cached_property
    def keys_read(self) -> int:
        """Positions of K and V that go from L2 to the cores, over all blocks."""
        return min(self.heads * self.steps[1] * self.tile_kv, self.blocks * self.op.keys_seen)


@dataclass(frozen=True)
class _Fused:
    """A fused attention kernel on a GPU; times at the nominal clock [s]."""

    gpu: Gpu
    op: Attention
    moved: list[Moved]
    factors: AttentionFactors

    @property
    def product_dtype(self) -> str:
        """Products are in the cache's format where the kernel does so, else in the queries'."""
        cache = self.op.inputs[1].dtype
        narrower = bits(cache) < bits(self.op.dtype)
        return cache if narrower and self.factors.narrow_products else self.op.dtype

    @cached_property
    def layout(self) -> Layout:
        factors = self.factors
        return Layout(self.op, factors.tile_q, factors.tile_kv, factors.widest_group, factors.packs)

    @cached_property
    def step_s(self) -> float:
        """Of one tile of queries and one of keys."""
        machine, factors, op = self.gpu.machine, self.factors, self.op
        unit = matrix_unit(machine, self.product_dtype)
        depth = ceil_div(op.head_dim, DEPTH) * DEPTH
        scores = self.layout.rows * factors.tile_kv
        widened = bits(op.inputs[1].dtype) < bits(self.product_dtype)
        narrow = bits(self.product_dtype) <= 8
        issue = factors.issue * (factors.widening if widened else 1.0) * (factors.narrow_issue if narrow else 1.0)
        products_s = 2 * scores * depth / (unit.macs_per_cycle(self.product_dtype) * unit.freq_hz * issue)
        vector = machine.device.core.vector
        lanes = vector.rate("fp32") or vector.rate(op.dtype)
        scores_s = scores * (1 / vector.special_per_cycle + factors.score_ops / lanes) / vector.freq_hz
        return products_s + scores_s * (1 - factors.hidden)

    @cached_property
    def block_s(self) -> float:
        """Of a block beside its steps."""
        factors, op = self.factors, self.op
        if not self.layout.decodes:
            return factors.block_s
        grouped = self.layout.shared and op.heads > op.kv_heads and bits(op.inputs[1].dtype) >= bits(op.dtype)
        block_s = factors.decode_block_s
        if grouped and factors.grouped_block_s is not None:
            block_s = factors.grouped_block_s
        # First loads are as long as heads are.
        return block_s * max(0.0, 1 + factors.block_growth * (op.head_dim / HEAD - 1))

    def compute_s(self, parts: int) -> float:
        """Of all blocks over the cores, the keys in ``parts``: the longest block, or all that a core gets."""
        layout, cores = self.layout, self.gpu.machine.cores
        _, steps, longest = layout.steps
        blocks = layout.blocks * parts
        block_s = self.block_s
        longest_s = ceil_div(longest, parts) * max(self.step_s, self.factors.step_s) + block_s
        work_s = layout.heads * steps * self.step_s + blocks * block_s
        # Blocks end at different times: half of the longest one is idle on average where there are several turns.
        tail_s = longest_s / 2 if blocks > cores else 0.0
        return max(longest_s, work_s / cores + tail_s) + (self.factors.combine_s if parts > 1 else 0.0)

    @cached_property
    def parts(self) -> int:
        """Into how many the keys are cut: as many as keep all cores busy, where that is faster."""
        _, _, longest = self.layout.steps
        most = min(longest, max(1, self.gpu.machine.cores // self.layout.blocks))
        choices = {1, most, *(1 << i for i in range(most.bit_length()))}
        return min(sorted(choices), key=self.compute_s)

    @cached_property
    def l2_bytes(self) -> float:
        op = self.op
        key_bytes = op.head_dim * (bits(op.inputs[1].dtype) + bits(op.inputs[2].dtype)) / 8
        return self.layout.keys_read * key_bytes + op.bytes_read(op.inputs[0]) + op.outputs[0].bytes

    @cached_property
    def l2_s(self) -> float:
        return self.l2_bytes / (self.gpu.l2.bandwidth_bytes_per_s * self.factors.l2)

    @cached_property
    def append_bytes(self) -> int:
        """Keys and values of this step, copied into the cache: read in the queries' format, written in the cache's."""
        op = self.op
        if op.inputs[1].role != "kv_cache":
            return 0
        fresh = op.batch * min(op.q_len, op.kv_len) * op.kv_heads * op.head_dim
        return fresh * (2 * bits(op.dtype) + bits(op.inputs[1].dtype) + bits(op.inputs[2].dtype)) // 8

    @cached_property
    def dram_s(self) -> float:
        device = self.gpu.machine.device
        total = 0.0
        for name, size in channel_bytes(self.moved).items():
            dram = device.dram if self.gpu.machine.is_dram(name) else None
            rate = dram.bandwidth_bytes_per_s * self.factors.dram if dram else self.gpu.machine.channels[name]
            total += size / rate
        return total

    @cached_property
    def append_s(self) -> float:
        """A copy at the pace of streaming kernels; what is appended is new, so it crosses DRAM."""
        dram = self.gpu.machine.device.dram
        share = self.gpu.factors.stream.dram
        return self.append_bytes / (dram or self.gpu.l2).bandwidth_bytes_per_s / share

    def time(self, fraction: float) -> float:
        """At a fraction of the clock, from start to end."""
        factors = self.factors
        start_s = factors.decode_start_s if self.layout.decodes else factors.start_s
        if self.append_bytes:
            start_s += 0.0 if self.layout.decodes else factors.append_s
            start_s += factors.narrow_s if bits(self.op.inputs[1].dtype) < bits(self.op.dtype) else 0.0
        start_s += factors.pad_s if self.op.head_dim % DEPTH else 0.0
        start_s += factors.regroup_s if self.layout.regroups else 0.0
        stream_s = max(self.dram_s, self.l2_s / fraction)
        compute_s = self.compute_s(self.parts) / fraction
        power = factors.overlap
        larger, smaller = max(compute_s, stream_s), min(compute_s, stream_s)
        together_s: float = larger * (1 + (smaller / larger) ** power) ** (1 / power)
        return start_s + self.append_s + together_s


def map_attention(op: Attention, machine: Machine, placement: Placement) -> Task:
    """Map attention to its fused kernel."""
    gpu = Gpu(machine)
    factors = gpu.factors.attention.of(machine.run.stack)
    moved = list(_cached_once(op, placement, factors))
    fused = _Fused(gpu, op, moved, factors)
    l2, near = gpu.l2.name, machine.device.path("activation")[0].name
    # Blocks compute whole tiles, masked scores included.
    macs = 2 * fused.layout.heads * fused.layout.steps[1] * fused.layout.rows * factors.tile_kv * op.head_dim
    key_bytes = math.ceil(fused.l2_bytes)
    counts = [
        Count(f"mac.{fused.product_dtype}", "-", macs),
        *elementary_counts(op, op.dtype),
        Count("register", "-", 2 * op.elementary.total * 32),
        Count(f"{near}.write", "input", key_bytes),
        Count(f"{near}.read", "input", macs // fused.layout.rows * bits(op.inputs[1].dtype) // 8),
        Count(f"{l2}.read", operand_name(op.inputs[0]), key_bytes),
        Count(f"{l2}.write", "output", op.outputs[0].bytes + fused.append_bytes),
        *crossing_counts(moved, machine),
    ]
    layout, unit = fused.layout, matrix_unit(machine, fused.product_dtype)
    split = f", keys in {fused.parts}" if fused.parts > 1 else ""
    return task_of(
        Kernel(
            op=op,
            unit="matrix",
            freq_hz=unit.freq_hz,
            time=fused.time,
            compute_s=fused.compute_s(fused.parts),
            l2_s=fused.l2_s,
            channel_bytes=channel_bytes(moved),
            counts=tuple(counts),
            tiling=f"{layout.rows} queries x {factors.tile_kv} keys{split}, {layout.blocks * fused.parts} blocks",
            macs=macs,
            cores=layout.blocks * fused.parts,
        ),
        machine,
    )


def _cached_once(op: Attention, placement: Placement, factors: AttentionFactors) -> list[Moved]:
    """Every operand once from and to where it is."""
    return [
        Moved(one.operand, one.channel, math.ceil(one.read_bytes * share), one.written_bytes)
        for one, share in zip(beyond(op, placement), _shares(op, factors), strict=False)
    ]


def _shares(op: Attention, factors: AttentionFactors) -> list[float]:
    """Of each operand, what the kernel reads."""
    grouped = op.q_len == 1 and op.heads > op.kv_heads
    cache = factors.grouped_cache if grouped else 1.0
    return [cache if i in (1, 2) else 1.0 for i in range(len(op.inputs) + len(op.outputs))]
