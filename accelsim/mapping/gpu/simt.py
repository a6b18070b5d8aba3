"""Products on SIMD lanes: what differs there from tensor cores."""

from __future__ import annotations

from accelsim.hardware.family import SimtFactors


def simt_tiles(factors: SimtFactors, repeats: int) -> tuple[tuple[int, int, int], ...]:
    """The thread-block tiles that the library has for a product, or for a batch of ``repeats``.

    cuBLAS on GA100 runs strided batches in 128 x 128 tiles whatever their shape: each of the 64 batches that NeuSight
    timed on A100 takes as long as such tiles do, even where smaller ones would take a third.
    """
    return factors.batched_tiles if factors.batched_tiles is not None and repeats > 1 else factors.tiles
