"""Products on SIMD lanes: what differs there from tensor cores."""

from __future__ import annotations

from accelsim.base.dtypes import bits
from accelsim.base.units import BITS_PER_BYTE
from accelsim.hardware.family import SimtFactors
from accelsim.mapping.gpu.kernel import VECTOR_BYTES
from accelsim.mapping.models import Gemm
from accelsim.workload.ops import Conv2d, Matmul

DP4A_BITS = 8
"""Of the numbers of which a lane multiplies four pairs at a time."""
DP4A_TILE = (128, 128, 32)
"""The one thread-block tile that cuBLAS 10 shows for INT8 on lanes: products with 35 rows take as long as with 128, and
products of 512 x 1500 on 40 cores two turns of such tiles (DeepBench's rows of a T4)."""
VECTOR_COLUMNS = 4
"""Products with so few columns go to kernels for vectors, which read their matrix once, a narrow strip a block."""
VECTOR_TILE = (64, 4, 256)


def simt_tiles(factors: SimtFactors, repeats: int) -> tuple[tuple[int, int, int], ...]:
    """The thread-block tiles that the library has for a product, or for a batch of ``repeats``.

    cuBLAS on GA100 runs strided batches in 128 x 128 tiles whatever their shape: each of the 64 batches that NeuSight
    timed on A100 takes as long as such tiles do, even where smaller ones would take a third.
    """
    return factors.batched_tiles if factors.batched_tiles is not None and repeats > 1 else factors.tiles


def lane_tiles(factors: SimtFactors, gemm: Gemm) -> tuple[tuple[int, int, int], ...]:
    """The thread-block tiles for a product."""
    if gemm.element_bits != DP4A_BITS:
        return simt_tiles(factors, gemm.repeats)
    return (VECTOR_TILE if min(gemm.m, gemm.n) <= VECTOR_COLUMNS else DP4A_TILE,)


def aligned(op: Matmul | Conv2d) -> bool:
    """Whether every row of the operands begins at a whole vector, so that a thread loads four numbers at a time.

    A convolution's filters and images do not lie in rows of k; its kernels work out addresses anyway.
    """
    if isinstance(op, Conv2d):
        return True
    return all(
        cols * bits(t.dtype) % (VECTOR_BYTES * BITS_PER_BYTE) == 0
        for t, cols in zip(op.inputs, (op.k, op.n), strict=False)
    )
