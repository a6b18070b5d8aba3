"""Cycles counted by the functional array instead of taken from the closed form: ``--fidelity cycle``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.base.errors import MappingError
from accelsim.kernels.array import multiply_is, multiply_os, multiply_ws
from accelsim.mapping.models import MatrixModel, SystolicModel
from accelsim.mapping.on_chip import Array

MOST_CELL_CYCLES = 10**8
"""Cells times cycles that are played for one op: about a second."""


@dataclass(frozen=True)
class CountedModel(SystolicModel):
    """A systolic array whose cycles were counted, for one repeat of the product as a whole."""

    counted: float

    @property
    def fill_cycles(self) -> float:
        """In the count already."""
        return 0.0

    def total_cycles(self, tile_m: Array) -> Array:
        """The count, whatever the outer tiling."""
        return np.full_like(tile_m, self.counted * self.gemm.repeats)

    def step_cycles(self, m: int, k: int, n: int) -> float:
        """Its share of the count, by multiply-accumulates."""
        return self.counted * (m * k * n) / (self.gemm.m * self.gemm.k * self.gemm.n)


def counted(model: MatrixModel, op: str, seed: int) -> CountedModel:
    """Play one repeat of a product on the functional array, check its result against numpy, and keep its cycles.

    Raises MappingError for what the array does not play: other units, reduced rates, several arrays, large products.
    """
    if not isinstance(model, SystolicModel):
        raise MappingError(f"op {op}: fidelity cycle plays systolic arrays only; want --fidelity tile")
    unit, gemm = model.unit, model.gemm
    if model.rate != 1.0 or unit.arrays != 1:
        raise MappingError(f"op {op}: fidelity cycle plays one array at one MAC a cell a cycle; want --fidelity tile")
    cell_cycles = float(model.total_cycles(np.array([float(gemm.m)]))[0]) / gemm.repeats * unit.rows * unit.cols
    if cell_cycles > MOST_CELL_CYCLES:
        raise MappingError(
            f"op {op}: fidelity cycle would play {cell_cycles:.3g} cells times cycles; "
            f"want at most {MOST_CELL_CYCLES:.3g}, or --fidelity tile"
        )
    random = np.random.default_rng(seed)
    a, b = random.integers(-128, 128, (gemm.m, gemm.k)), random.integers(-128, 128, (gemm.k, gemm.n))
    if unit.dataflow == "os":
        product, cycles = multiply_os(a, b, unit.rows, unit.cols)
    elif unit.dataflow == "is":
        product, cycles = multiply_is(a, b, unit.rows, unit.cols)
    else:
        product, cycles = multiply_ws(a, b, unit.rows, unit.cols, overlap=unit.stationary_double_buffered)
    assert (product == a @ b).all(), f"op {op}: the array computed a wrong product"
    return CountedModel(unit, gemm, model.rate, model.memories, model.packed, float(cycles))
