"""Matrix products and convolutions (as implicit products) on a GPU: thread-block tiles in waves over its cores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from accelsim.base.units import ceil_div
from accelsim.hardware.family import GemmFactors
from accelsim.mapping.gpu.kernel import Gpu, Kernel, beyond, channel_bytes, crossing_counts, task_of
from accelsim.mapping.machine import Machine
from accelsim.mapping.matrix import check_sparsity, executed_macs, matrix_unit
from accelsim.mapping.models import Gemm, gemm_of
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts
from accelsim.trace import Count
from accelsim.workload.ops import Conv2d, Matmul

SPLITS = (1, 2, 3, 4, 6, 8, 16)
"""Ways to cut k between blocks."""


@dataclass(frozen=True)
class _Choice:
    """A tile and a split: times at the nominal clock [s]."""

    gpu: Gpu
    gemm: Gemm
    factors: GemmFactors
    tile: tuple[int, int, int]
    split: int
    macs_per_s: float
    """Peak of one core."""

    @cached_property
    def blocks(self) -> int:
        g, (m, n, _) = self.gemm, self.tile
        return g.repeats * ceil_div(g.m, m) * ceil_div(g.n, n) * self.split

    @cached_property
    def compute_s(self) -> float:
        m, n, k = self.tile
        depth = ceil_div(ceil_div(self.gemm.k, self.split), k) * k
        waves = ceil_div(self.blocks, self.gpu.machine.cores)
        block_s = m * n * depth / (self.macs_per_s * self.factors.issue) + self.factors.prologue_s
        return waves * block_s

    @cached_property
    def l2_bytes(self) -> float:
        g, (m, n, _) = self.gemm, self.tile
        read = g.a_bytes * ceil_div(g.n, n) + g.b_bytes * ceil_div(g.m, m)
        parts = g.m * g.n * g.accumulator_bits / 8 * 2 * (self.split if self.split > 1 else 0)
        return g.repeats * (read + g.c_bytes + parts)

    @cached_property
    def l2_s(self) -> float:
        return self.l2_bytes / self.gpu.l2_bytes_per_s


def map_gemm(op: Matmul | Conv2d, machine: Machine, placement: Placement) -> Task:
    """Map a product to the fastest of the library's tiles and splits of k."""
    unit = matrix_unit(machine, op.dtype)
    check_sparsity(op, unit, machine)
    gpu, gemm = Gpu(machine), gemm_of(op)
    tensor = unit is machine.device.core.matrix and gpu.factors.tensor is not None
    factors = gpu.factors.tensor if tensor else gpu.factors.simt
    assert factors is not None
    macs_per_s = unit.macs_per_cycle(op.dtype) * unit.freq_hz * gemm.kept[1] / gemm.kept[0]
    moved = beyond(op, placement)
    channels = channel_bytes(moved)
    dram_s = sum(size / machine.channels[name] for name, size in channels.items())
    kernel_s = gpu.factors.kernel.kernel_s

    def time(choice: _Choice, fraction: float) -> float:
        return kernel_s + max(choice.compute_s / fraction, choice.l2_s / fraction, dram_s)

    choices = [
        _Choice(gpu, gemm, factors, tile, split, macs_per_s)
        for tile in factors.tiles
        for split in SPLITS
        if split <= max(1, gemm.k // tile[2])
    ]
    best = min(choices, key=lambda choice: time(choice, 1.0))
    macs, l2 = executed_macs(op), gpu.l2.name
    counts = [
        Count(f"mac.{op.dtype}", "-", macs),
        *elementary_counts(op, op.dtype),
        Count(f"{l2}.read", "input", math.ceil(best.l2_bytes)),
        Count(f"{l2}.write", "output", op.outputs[0].bytes),
        *crossing_counts(moved, machine),
    ]
    m, n, k = best.tile
    return task_of(
        Kernel(
            op=op,
            unit="matrix",
            freq_hz=unit.freq_hz,
            time=lambda fraction: time(best, fraction),
            compute_s=best.compute_s,
            l2_s=best.l2_s,
            channel_bytes=channels,
            counts=tuple(counts),
            tiling=f"{m}x{n}x{k}, k in {best.split}, {best.blocks} blocks",
            macs=macs,
        ),
        machine,
    )
