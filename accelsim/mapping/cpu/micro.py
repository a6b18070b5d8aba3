"""Micro-kernels: the block of a product that a core holds in registers, and what a step along k costs.

The analytical model of BLIS (Low, Igual, Smith, Quintana-Orti, ACM TOMS 43(2), 2016) with edges: sums fill the
registers that operands leave free, and a step is bound by multiply-add ports, by loads, or by the latency of the sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accelsim.base.dtypes import DTYPES, bits
from accelsim.hardware.cpu import CpuExecution
from accelsim.hardware.device import MatrixUnit, TensorCores, VectorUnit


@dataclass(frozen=True, slots=True)
class MicroKernel:
    """``rows x vectors`` of sums in registers; B comes in vectors, A element by element."""

    rows: int
    vectors: int
    lanes: int
    """Sums in a vector."""
    packed: int
    """Products that one instruction adds into a sum: 4 of int8 (VNNI), 2 of bf16."""
    per_cycle: float
    """Multiply-add instructions in a cycle."""
    loads_per_cycle: float
    loads_per_row: float
    """Of A in a step: a broadcast for each row; a tile unit loads 16 of them at once."""
    latency_cycles: float
    """Between two additions to the same sum; 0 where several partial sums hide it."""

    @property
    def columns(self) -> int:
        """Columns of B and C."""
        return self.vectors * self.lanes

    def step_cycles(self, rows: int, vectors: int) -> float:
        """One step of ``packed`` along k on so many rows and vectors, which may be fewer than the kernel's."""
        if not rows or not vectors:
            return 0.0
        loads = rows * self.loads_per_row + vectors
        return max(rows * vectors / self.per_cycle, loads / self.loads_per_cycle, self.latency_cycles)

    def end_cycles(self, stores_per_cycle: float) -> float:
        """Reading all sums before a loop along k and writing them after it, when the last has come."""
        sums = self.rows * self.vectors
        return sums / self.loads_per_cycle + sums / stores_per_cycle + self.latency_cycles

    def work_cycles(self, run: int, runs: int, columns: int) -> float:
        """One step along k on all of C: ``runs`` runs of ``run`` rows each by so many columns, edges masked."""
        vectors = -(-columns // self.lanes)
        full_m, rest_m = divmod(run, self.rows)
        full_n, rest_n = divmod(vectors, self.vectors)
        return runs * (
            full_m * full_n * self.step_cycles(self.rows, self.vectors)
            + full_m * self.step_cycles(self.rows, rest_n)
            + full_n * self.step_cycles(rest_m, self.vectors)
            + self.step_cycles(rest_m, rest_n)
        )


TILE_ROWS = 16
"""Rows of an AMX tile, of 64 bytes each (Intel 64 and IA-32 SDM, vol. 1, ch. 18)."""


def micro_kernels(
    unit: MatrixUnit | VectorUnit, execution: CpuExecution, dtype: str, *, single: bool
) -> Iterator[MicroKernel]:
    """Shapes that the registers allow, for one to four vectors of B; ``single``: C is one row or column.

    A product with a vector has few sums, and libraries keep several partial ones of each.
    """
    sums = bits(DTYPES[dtype].accumulator)
    if isinstance(unit, TensorCores):
        lanes, packed = TILE_ROWS, max(1, sums // bits(dtype))
        for rows, columns, _ in unit.tiles:
            yield MicroKernel(
                rows=rows,
                vectors=max(1, columns // lanes),
                lanes=lanes,
                packed=packed,
                per_cycle=unit.macs_per_cycle(dtype) / (lanes * packed),
                loads_per_cycle=execution.loads_per_cycle,
                loads_per_row=1 / TILE_ROWS,
                latency_cycles=0.0,
            )
        return
    lanes = max(1, execution.vector_bits // sums)
    ports = unit.macs_per_cycle(dtype)
    wide = unit.macs_per_cycle(DTYPES[dtype].accumulator) or lanes
    packed = max(1, sums // bits(dtype)) if ports > wide else 1
    for vectors in (1, 2, 3, 4):
        rows = (execution.vector_registers - 1 - vectors) // vectors
        if rows >= 1:
            yield MicroKernel(
                rows=rows,
                vectors=vectors,
                lanes=lanes,
                packed=packed,
                per_cycle=ports / (lanes * packed),
                loads_per_cycle=execution.loads_per_cycle,
                loads_per_row=1.0,
                latency_cycles=0.0 if single else execution.fma_latency_cycles,
            )
