"""What a matrix unit makes of a product: cycles, on-chip traffic and the tiles that suit it.

A new kind of unit is a class with the attributes of ``MatrixModel`` and a registration with ``matrix_model``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Literal, Protocol

import numpy as np

from accelsim.base.dtypes import DTYPES, bits
from accelsim.base.units import ceil_div
from accelsim.hardware.device import Device, Memory, Role, SystolicArray, TensorCores, VectorUnit
from accelsim.mapping.on_chip import Array, Number, Traffic, on_chip_seconds
from accelsim.workload.ops import Conv2d, Matmul


def _ceil(value: Number) -> Number:
    """Rounded up; a lone number without numpy, which is ten times slower on those."""
    return np.ceil(value) if isinstance(value, np.ndarray) else math.ceil(value)


def _least(one: Number, other: Number) -> Number:
    return np.minimum(one, other) if isinstance(one, np.ndarray) else min(one, other)


@dataclass(frozen=True)
class Gemm:
    """``repeats`` products ``C[m, n] = A[m, k] @ B[k, n]`` with the bytes that one of them really has.

    A convolution's A is its image: neighbouring windows share pixels, which are counted once.
    """

    repeats: int
    m: int
    k: int
    n: int
    a_bytes: float
    b_bytes: float
    c_bytes: float
    element_bits: int
    accumulator_bits: int
    kept: tuple[int, int] = (1, 1)
    """(N, M): of every M elements along k, N of B are kept and multiplied with; ``k`` counts all."""
    items: int = 1
    """Parts of m that have nothing to do with each other: rows of a matrix, images of a convolution."""
    taps: int = 1
    """Of a filter, where k runs over them."""
    b_quanta: tuple[int, int] = (1, 1)
    """B lies in memory in blocks of so many k and n; ``b_bytes`` counts their padding."""
    conv: Conv2d | None = None
    """The convolution that it stands for."""

    def b_share(self, k: Number, n: Number) -> Number:
        """Part of ``b_bytes`` that a tile of B takes."""
        quantum_k, quantum_n = self.b_quanta
        blocks = math.ceil(self.k / quantum_k) * math.ceil(self.n / quantum_n)
        return _ceil(k / quantum_k) * _ceil(n / quantum_n) / blocks

    @property
    def macs(self) -> int:
        """Of all repeats, zeros included."""
        return self.repeats * self.m * self.k * self.n

    @property
    def kept_k(self) -> int:
        """Elements along k that are multiplied with."""
        return ceil_div(self.k * self.kept[0], self.kept[1])


def gemm_of(op: Matmul | Conv2d) -> Gemm:
    """The product that an op is."""
    product = op.gemm if isinstance(op, Conv2d) else op
    element = DTYPES[op.dtype]
    return Gemm(
        repeats=product.batch,
        m=product.m,
        k=product.k,
        n=product.n,
        a_bytes=op.bytes_read(op.inputs[0]) / product.batch,
        b_bytes=op.bytes_read(op.inputs[1]) / product.batch,
        c_bytes=op.outputs[0].bytes / product.batch,
        element_bits=element.bits,
        accumulator_bits=bits(element.accumulator),
        kept=op.inputs[1].sparsity,
        items=op.batch if isinstance(op, Conv2d) else op.m,
        taps=op.kh * op.kw if isinstance(op, Conv2d) else 1,
        conv=op if isinstance(op, Conv2d) else None,
    )


Dimension = Literal["m", "k", "n"]


class MatrixModel(Protocol):
    """A product on a matrix unit, the outer tiling still open."""

    @property
    def gemm(self) -> Gemm:
        """The product as the unit runs it (small groups may be packed)."""

    @property
    def quanta(self) -> tuple[int, int, int]:
        """Steps in which tile sizes along m, k and n make sense."""

    @property
    def fill_cycles(self) -> float:
        """Cycles before the first and after the last useful one, once an op."""

    def total_cycles(self, tile_m: Array) -> Array:
        """Cycles of all steps with tiles of so many rows (a lower bound is enough)."""

    def step_cycles(self, m: int, k: int, n: int) -> float:
        """Cycles of one step on a tile of this size."""

    def partial_sum_bytes(self, m: Array, n: Array, k_steps: Array) -> Array:
        """Room that unfinished results of a tile take."""

    @property
    def nested(self) -> bool:
        """Whether tiles nest in every on-chip memory of an operand's path; else ``traffic`` has all levels in it."""

    @property
    def streamed(self) -> Dimension:
        """The dimension that goes on while the unit holds an operand still."""

    def traffic(self, parts: int = 1) -> Iterator[Traffic]:
        """On-chip traffic of the whole op, between the unit and the memories nearest to it.

        What the unit holds still comes anew for each of the ``parts`` that tiles cut the streamed dimension into.
        """

    def register_bits_per_mac(self) -> tuple[tuple[str, float], ...]:
        """Bits moved through registers for a multiply-accumulate, by operand."""

    def describe(self) -> str:
        """What it does with a tile, for people."""


@singledispatch
def matrix_model(unit: object, gemm: Gemm, dtype: str, device: Device, cores: int) -> MatrixModel:
    """How ``unit`` computes ``gemm``; new kinds of unit register here."""
    raise TypeError(f"no model for {type(unit).__name__}")


# --- systolic array --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SystolicModel:
    """Folds over an array of ``rows x cols`` cells (Samajdar et al., ISPASS 2020).

    One operand stands still: weights (k over the rows, n over the columns, m streams), outputs (m, n; k) or inputs
    (k, m; n). A fold loads ``rows`` lines of the stationary operand (none for outputs), streams, and takes
    ``rows + cols - 2`` cycles of skew to fill and drain. With a second set of stationary registers the next fold's
    lines shift in while this one streams (Jouppi et al., ISCA 2017, section 2), and skews overlap: a fold takes
    ``max(stream, rows)``, and load and skew are paid once an op.
    """

    unit: SystolicArray
    gemm: Gemm
    rate: float
    memories: tuple[Memory, ...]
    packed: int

    @property
    def quanta(self) -> tuple[int, int, int]:
        """The array's sides, and along the streaming dimension 128 lines (fewer for an array that is narrower)."""
        rows, cols, stream = self.unit.rows, self.unit.cols, min(128, self.unit.cols)
        return {"ws": (stream, rows, cols), "os": (rows, stream, cols), "is": (cols, rows, stream)}[self.unit.dataflow]

    def _spatial(self, m: int, k: int, n: int) -> tuple[int, int, int]:
        """Extent over the rows, over the columns, and in time."""
        return {"ws": (k, n, m), "os": (m, n, k), "is": (k, m, n)}[self.unit.dataflow]

    @property
    def _load(self) -> int:
        return 0 if self.unit.dataflow == "os" else self.unit.rows

    @property
    def _skew(self) -> int:
        return self.unit.rows + self.unit.cols - 2

    @property
    def fill_cycles(self) -> float:
        """Load and skew of the first fold, where those of the others are hidden."""
        return self._load + self._skew if self.unit.stationary_double_buffered else 0

    def _cycles(self, rows: int, cols: int, stream: Number, repeats: int) -> Number:
        """Folds over so many rows and columns with so many streamed lines each, on all of the core's arrays.

        Arrays share out what needs no sums between them: column blocks, repeats and (with outputs held still) row
        blocks, or else the items that stream through a fold.
        """
        unit = self.unit
        row_folds, col_folds = ceil_div(rows, unit.rows), ceil_div(cols, unit.cols)
        in_turn, at_once = (1, row_folds) if unit.dataflow == "os" else (row_folds, 1)
        by_fold = in_turn * ceil_div(at_once * col_folds * repeats, unit.arrays) * self._fold_cycles(stream)
        parts = min(unit.arrays, self.gemm.items)
        if parts == 1 or unit.dataflow != "ws":
            return by_fold
        return _least(by_fold, row_folds * col_folds * repeats * self._fold_cycles(_ceil(stream / parts)))

    def _fold_cycles(self, stream: Number) -> Number:
        cycles = _ceil(stream / self.rate)
        if self.unit.stationary_double_buffered:
            return -_least(-cycles, -self._load + 0 * cycles)
        return self._load + cycles + self._skew

    def total_cycles(self, tile_m: Array) -> Array:
        """Every fold; weight-stationary ones repeat for every tile along m."""
        gemm = self.gemm
        rows, cols, stream = self._spatial(gemm.m, gemm.k, gemm.n)
        if self.unit.dataflow != "ws":
            return np.full_like(tile_m, self._cycles(rows, cols, float(stream), gemm.repeats))
        steps = np.ceil(gemm.m / tile_m)
        last = gemm.m - (steps - 1) * tile_m
        full = self._cycles(rows, cols, tile_m, gemm.repeats)
        return (steps - 1) * full + self._cycles(rows, cols, last, gemm.repeats)

    def step_cycles(self, m: int, k: int, n: int) -> float:
        """Folds of the tile, each loaded and streamed."""
        rows, cols, stream = self._spatial(m, k, n)
        return self._cycles(rows, cols, float(stream), 1)

    def partial_sum_bytes(self, m: Array, n: Array, k_steps: Array) -> Array:
        """Sums wait in the accumulators until the last k: one column block, or all of a tile that k splits."""
        width = np.where(k_steps > 1, n, np.minimum(n, self.unit.cols))
        size: Array = m * width * self.gemm.accumulator_bits / 8
        return size

    nested = True

    @property
    def streamed(self) -> Dimension:
        """Lines stream past what stands still."""
        streams: dict[str, Dimension] = {"ws": "m", "os": "k", "is": "n"}
        return streams[self.unit.dataflow]

    def traffic(self, parts: int = 1) -> Iterator[Traffic]:
        """The moving operand is read once for every fold beside it; sums go to the accumulators once a k fold."""
        gemm, unit = self.gemm, self.unit
        rows, cols, _ = self._spatial(gemm.m, gemm.k, gemm.n)
        row_folds, col_folds = ceil_div(rows, unit.rows), ceil_div(cols, unit.cols)
        again_a, again_b, again_c = {
            "ws": (col_folds, parts, row_folds),
            "os": (col_folds, row_folds, parts),
            "is": (parts, col_folds, row_folds),
        }[unit.dataflow]
        activations, weights, sums = (
            nearest_to(self.memories, role) for role in ("activation", "weight", "partial_sum")
        )
        if activations is not None:
            logical_a = gemm.m * gemm.k * gemm.element_bits / 8
            yield Traffic(activations, "input", round(gemm.repeats * logical_a * again_a), 0)
        if weights is not None:
            yield Traffic(weights, "weight", round(gemm.repeats * gemm.b_bytes * again_b), 0)
        if activations is not None:
            yield Traffic(activations, "output", 0, round(gemm.repeats * gemm.c_bytes))
        if sums is not None:
            moved = round(gemm.repeats * gemm.m * gemm.n * gemm.accumulator_bits / 8 * again_c)
            yield Traffic(sums, "output", moved, moved)

    def register_bits_per_mac(self) -> tuple[tuple[str, float], ...]:
        """An operand and a sum step from cell to cell."""
        return (("input", self.gemm.element_bits), ("output", self.gemm.accumulator_bits))

    def describe(self) -> str:
        """Array, dataflow and packing."""
        packed = f", {self.packed} groups side by side" if self.packed > 1 else ""
        return f"{self.unit.rows}x{self.unit.cols} {self.unit.dataflow}{packed}"


@matrix_model.register
def _(unit: SystolicArray, gemm: Gemm, dtype: str, device: Device, cores: int) -> MatrixModel:
    """Products that are small against the array stand side by side on its diagonal (as grouped convolutions do)."""
    if gemm.kept[0] != gemm.kept[1]:
        # Kept weights stand in the cells close together, each with its choice of the activations that pass.
        gemm = replace(gemm, k=gemm.kept_k, a_bytes=gemm.a_bytes, kept=(1, 1))
    weights = gemm.k * gemm.n
    if not unit.packs_taps and unit.dataflow == "ws":
        deep = ceil_div(gemm.k, gemm.taps)
        gemm = replace(gemm, k=gemm.taps * ceil_div(deep, unit.rows) * unit.rows)
    fit = min(unit.rows // gemm.k, unit.cols // gemm.n) if unit.dataflow == "ws" and unit.packs_groups else 1
    packed = max(1, min(fit, gemm.repeats))
    repeats = ceil_div(gemm.repeats, packed)
    k, n, share = gemm.k * packed, gemm.n * packed, gemm.repeats / repeats
    quanta = (unit.rows, unit.cols) if unit.whole_tiles else (1, 1)
    padding = ceil_div(k, quanta[0]) * quanta[0] * ceil_div(n, quanta[1]) * quanta[1] / (weights * packed**2)
    gemm = replace(
        gemm,
        repeats=repeats,
        k=k,
        n=n,
        a_bytes=gemm.a_bytes * share,
        b_bytes=gemm.b_bytes * share * padding,
        c_bytes=gemm.c_bytes * share,
        b_quanta=quanta,
    )
    on_chip = tuple(m for m in device.memory if m.kind == "sram")
    return SystolicModel(unit, gemm, unit.macs_per_cycle_per_cell[dtype], on_chip, packed)


# --- cores in a gang: tensor cores and SIMD lanes
# -----------------------------------------------------------------------


@dataclass(frozen=True)
class Blocking:
    """One way to spread a product over cores: a tile each, k split ``split`` ways, in ``waves``."""

    tile_m: int
    tile_n: int
    split: int
    waves: int
    cycles: float
    """Of one core from its first to its last tile."""
    feeds: tuple[tuple[Memory, int, int], ...]
    """For each memory, nearest first: the block (m, n) that what is nearer holds while it reads from it."""


@dataclass(frozen=True)
class GangModel:
    """Tiles dealt out to cores in waves; each core multiplies one tile at a time.

    A tile of ``m x n`` reads its stripes of A and B from the shared memory, so A is read ``ceil(n / tile_n)`` times and
    B ``ceil(m / tile_m)`` times; nearer memories cut that further by the blocks that they hold. Where there are too few
    tiles for the cores, k is split and the parts are added through the shared memory in accumulator width.
    """

    gemm: Gemm
    cores: int
    blocking: Blocking
    operand_register_bits: tuple[tuple[str, float], ...]

    @property
    def quanta(self) -> tuple[int, int, int]:
        """A tile or a few to each side; the same whatever the blocking, so that more bandwidth only adds choices."""
        return (128, 128, 128)

    @property
    def fill_cycles(self) -> float:
        """None of its own: the first tile's load is in the pipeline."""
        return 0.0

    def total_cycles(self, tile_m: Array) -> Array:
        """The waves, whatever the outer tiling."""
        return np.full_like(tile_m, self.blocking.cycles)

    def step_cycles(self, m: int, k: int, n: int) -> float:
        """Its share of the waves, by multiply-accumulates."""
        return self.blocking.cycles * (m * k * n) / self.gemm.macs

    def partial_sum_bytes(self, m: Array, n: Array, k_steps: Array) -> Array:
        """Sums stay in registers unless k is cut outside."""
        size: Array = np.where(k_steps > 1, m * n * self.gemm.accumulator_bits / 8, 0.0)
        return size

    nested = False
    streamed: Dimension = "m"

    def traffic(self, parts: int = 1) -> Iterator[Traffic]:
        """Reads by blocks at every level; split sums go out and back through the outermost one."""
        return _gang_traffic(self.gemm, self.blocking)

    def register_bits_per_mac(self) -> tuple[tuple[str, float], ...]:
        """As the unit's instruction shape reuses them."""
        return self.operand_register_bits

    def describe(self) -> str:
        """Tile, split and waves."""
        b = self.blocking
        split = f", k split {b.split} ways" if b.split > 1 else ""
        return f"tile {b.tile_m}x{b.tile_n}{split}, {b.waves} wave{'s' if b.waves != 1 else ''} on {self.cores} cores"


def _gang_traffic(gemm: Gemm, blocking: Blocking) -> Iterator[Traffic]:
    a_bytes = gemm.m * gemm.k * gemm.element_bits / 8 * gemm.repeats
    b_bytes = gemm.b_bytes * gemm.repeats
    c_bytes = gemm.c_bytes * gemm.repeats
    outermost = blocking.feeds[-1][0].name
    fetched_a = fetched_b = 0
    for memory, block_m, block_n in reversed(blocking.feeds):
        read_a = round(a_bytes * ceil_div(gemm.n, block_n))
        read_b = round(b_bytes * ceil_div(gemm.m, block_m))
        yield Traffic(memory.name, "input", read_a, fetched_a)
        yield Traffic(memory.name, "weight", read_b, fetched_b)
        fetched_a, fetched_b = read_a, read_b
    parts = blocking.split * gemm.m * gemm.n * gemm.repeats * gemm.accumulator_bits // 8 if blocking.split > 1 else 0
    yield Traffic(outermost, "output", parts, parts + round(c_bytes))


def _blockings(
    gemm: Gemm,
    tiles: tuple[tuple[int, int, int], ...],
    rate: float,
    cores: int,
    quantum: tuple[int, int],
    feeds: tuple[tuple[Memory, int], ...],
) -> Iterator[Blocking]:
    """Every tile and split of k; ``quantum`` is what the unit rounds a narrow product's m and n up to.

    ``feeds`` has the on-chip memories, nearest first, with the side of the block that is held in front of each;
    0 stands for the tile itself, -1 for a quarter of it (what one warp or register block takes).
    """
    for tile_m, tile_n, tile_k in tiles:
        used_m = min(tile_m, ceil_div(gemm.m, quantum[0]) * quantum[0])
        used_n = min(tile_n, ceil_div(gemm.n, quantum[1]) * quantum[1])
        tiles_mn = gemm.repeats * ceil_div(gemm.m, used_m) * ceil_div(gemm.n, used_n)
        k_steps = ceil_div(gemm.k, tile_k)
        blocks = tuple(
            (
                memory,
                max(ceil_div(used_m, 2) if side < 0 else used_m, side),
                max(ceil_div(used_n, 2) if side < 0 else used_n, side),
            )
            for memory, side in feeds
        )
        split = 1
        while True:
            waves = ceil_div(tiles_mn * split, cores)
            depth = ceil_div(k_steps, split) * min(tile_k, gemm.k)
            yield Blocking(used_m, used_n, split, waves, waves * used_m * used_n * depth / rate, blocks)
            if split * 2 > k_steps or tiles_mn * split >= 4 * cores:
                break
            split *= 2


def _gang(
    gemm: Gemm,
    candidates: Iterator[Blocking],
    freq_hz: float,
    cores: int,
    register_bits: tuple[tuple[str, float], ...],
) -> GangModel:
    """The blocking that its own resources bound least."""

    def seconds(blocking: Blocking) -> float:
        on_chip = on_chip_seconds(_gang_traffic(gemm, blocking), {m.name: m for m, *_ in blocking.feeds}, cores)
        return max(blocking.cycles / freq_hz, on_chip)

    return GangModel(gemm, cores, min(candidates, key=seconds), register_bits)


def nearest_to(memories: Sequence[Memory], role: Role) -> str | None:
    """The name of the nearest memory that holds operands of a role, if any does."""
    return next((m.name for m in memories if role in m.holds), None)


def _operand_memories(device: Device) -> tuple[Memory, ...]:
    return tuple(m for m in device.memory if m.kind == "sram" and {"activation", "weight"} & {*m.holds})


@matrix_model.register
def _(unit: TensorCores, gemm: Gemm, dtype: str, device: Device, cores: int) -> MatrixModel:
    """Thread-block tiles over the cores; in front of shared memory stands a warp's quarter of a tile.

    A warp's instruction has the shape 16 x 8 x 16 (PTX ISA, ``mma.m16n8k16``): a fragment of A serves 8 columns, one
    of B 16 rows, and the sums are read and written once for 16 products.
    """
    memories = _operand_memories(device)
    feeds = tuple((m, -1 if i == 0 and len(memories) > 1 else 0) for i, m in enumerate(memories))
    efficiency = device.calibration.compute_efficiency if device.calibration else 1.0
    rate = unit.macs_per_cycle(dtype) * efficiency * gemm.kept[1] / gemm.kept[0]
    width, sums = gemm.element_bits, gemm.accumulator_bits
    register_bits = (("input", width / 8), ("weight", width / 16), ("output", 2 * sums / 16))
    candidates = _blockings(gemm, unit.tiles, rate, cores, (8, 8), feeds)
    return _gang(gemm, candidates, unit.freq_hz, cores, register_bits)


@matrix_model.register
def _(unit: VectorUnit, gemm: Gemm, dtype: str, device: Device, cores: int) -> MatrixModel:
    """Register tiles of a matrix product on SIMD lanes; each cache holds square blocks of the three operands.

    A cache of S elements moves least with blocks of side ``sqrt(S / 3)`` (Hong and Kung, STOC 1981).
    """
    memories = _operand_memories(device)
    sides = (0, *(math.isqrt(m.capacity_bytes * 8 // (3 * gemm.element_bits)) for m in memories[:-1]))
    lanes = max(1, round(256 / gemm.element_bits))
    efficiency = device.calibration.compute_efficiency if device.calibration else 1.0
    rate = unit.macs_per_cycle(dtype) * efficiency
    register_bits = (("weight", float(gemm.element_bits)), ("output", 2.0 * gemm.accumulator_bits))
    candidates = _blockings(gemm, unit.tiles, rate, cores, (1, lanes), tuple(zip(memories, sides, strict=True)))
    return _gang(gemm, candidates, unit.freq_hz, cores, register_bits)
