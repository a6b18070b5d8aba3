"""Matrix products on a GPU's tensor cores or SIMD lanes, and convolutions as implicit products."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

from accelsim.base.dtypes import DTYPES
from accelsim.hardware.family import GemmFactors, SimtFactors
from accelsim.mapping.gpu.grid import Grid, Product, fastest
from accelsim.mapping.gpu.kernel import Gpu, Kernel, Moved, beyond, channel_bytes, crossing_counts, task_of
from accelsim.mapping.gpu.simt import DP4A_BITS, aligned, lane_tiles
from accelsim.mapping.machine import Machine
from accelsim.mapping.matrix import check_sparsity, executed_macs, matrix_unit
from accelsim.mapping.models import Gemm, gemm_of
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts
from accelsim.trace import Count
from accelsim.workload.ops import Conv2d, Matmul

FEW_SPLITS = (1, 2, 4)


def map_gemm(op: Matmul | Conv2d, machine: Machine, placement: Placement) -> Task:
    """Map a product to the fastest of the library's tiles and splits of k."""
    unit = matrix_unit(machine, op.dtype)
    check_sparsity(op, unit, machine)
    gpu, gemm = Gpu(machine), gemm_of(op)
    factors: GemmFactors | None = gpu.factors.tensor if unit is machine.device.core.matrix else None
    splits: tuple[int, ...] | None = None
    if factors is None:
        factors, tiles = gpu.factors.simt, lane_tiles(gpu.factors.simt, gemm)
        splits = (1,) if gemm.element_bits == DP4A_BITS else None
    else:
        tiles = tensor_tiles(factors.tiles, gemm.element_bits)
        splits = narrow_splits(op)
    rate = unit.macs_per_cycle(op.dtype) * unit.freq_hz * gemm.kept[1] / gemm.kept[0]
    moved = beyond(op, placement)
    product = product_of(gemm, placement, moved, rate)
    if isinstance(factors, SimtFactors) and not aligned(op):
        product = replace(product, feed_times=factors.unaligned)
    grid = fastest(gpu, product, factors, tiles, splits)
    return task_of(kernel_of(op, gpu, grid, reread(moved, grid), unit.freq_hz), machine)


@cache
def tensor_tiles(tiles: tuple[tuple[int, int, int], ...], element_bits: int) -> tuple[tuple[int, int, int], ...]:
    """Tiles of 16-bit formats for another: a step along k takes as many bytes.

    >>> tensor_tiles(((128, 128, 32),), 8)
    ((128, 128, 64),)
    """
    return tuple((m, n, max(1, k * 16 // element_bits)) for m, n, k in tiles)


def narrow_splits(op: Matmul | Conv2d) -> tuple[int, ...] | None:
    """Ways to cut k that a library has; None: all.

    Products in 8 and fewer bits, and those with narrower weights, are kernels of their own (CUTLASS in TensorRT-LLM,
    vLLM and SGLang), which cut k in few parts: int8 weights of 12288 x 128 take one 32 to 40 us on an A100.
    """
    return FEW_SPLITS if min(DTYPES[tensor.dtype].bits for tensor in op.inputs[:2]) < 16 else None


def product_of(gemm: Gemm, placement: Placement, moved: list[Moved], macs_per_s: float) -> Product:
    """What the tile-and-wave core wants to know; ``moved`` are the op's operands, each once."""
    others = [*moved[2:]]
    return Product(
        repeats=gemm.repeats,
        m=gemm.m,
        n=gemm.n,
        k=gemm.k,
        a_bytes=gemm.repeats * gemm.a_bytes,
        b_bytes=gemm.repeats * gemm.b_bytes,
        c_bytes=gemm.repeats * gemm.c_bytes,
        tile_bits=gemm.element_bits,
        accumulator_bits=gemm.accumulator_bits,
        macs_per_s=macs_per_s,
        a_beyond=placement.sources[0] is not None,
        b_beyond=placement.sources[1] is not None,
        other_bytes=sum(one.read_bytes + one.written_bytes for one in others if one.channel is not None),
    )


def reread(moved: list[Moved], grid: Grid) -> list[Moved]:
    """What crosses, with what comes anew since it did not stay in L2."""
    a, b, *others = moved
    return [
        replace(a, read_bytes=math.ceil(a.read_bytes * grid.a_reads)),
        replace(b, read_bytes=math.ceil(b.read_bytes * grid.b_reads)),
        *others,
    ]


def kernel_of(op: Matmul | Conv2d, gpu: Gpu, grid: Grid, moved: list[Moved], freq_hz: float) -> Kernel:
    """The kernel that a product on a grid is, with all that it does."""
    kernel_s, l2 = gpu.factors.kernel.kernel_s, gpu.l2.name
    macs = executed_macs(op)
    counts = (
        Count(f"mac.{op.dtype}", "-", macs),
        *elementary_counts(op, op.dtype),
        Count(f"{l2}.read", "input", math.ceil(grid.l2_bytes)),
        Count(f"{l2}.write", "output", op.outputs[0].bytes),
        *crossing_counts(moved, gpu.machine),
    )
    return Kernel(
        op=op,
        unit="matrix",
        freq_hz=freq_hz,
        time=lambda fraction: kernel_s + grid.time(fraction),
        compute_s=grid.compute_s,
        l2_s=grid.l2_s,
        channel_bytes=channel_bytes(moved),
        counts=counts,
        tiling=grid.text,
        macs=macs,
        cores=grid.blocks,
    )
