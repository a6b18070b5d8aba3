"""The tile-and-wave core: a product as a grid of thread blocks, on tensor cores and SIMD lanes alike.

A block computes one tile of the result in steps along k; the cores take blocks in turns. Main loop, L2 and DRAM each
bound the grid. All candidates (tiles of the library x ways to cut k) are weighed at once; the fastest is taken, as a
library's heuristic does at its best. Every bound falls or stays as cores, clocks, bandwidths or capacities grow, so the
best of a fixed list does as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from accelsim.hardware.family import GemmFactors
from accelsim.mapping.gpu.kernel import Gpu

Array = npt.NDArray[np.float64]

SPLITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Ways to cut k between blocks."""
STREAM = 0
"""... and one more: all steps of all tiles dealt out evenly (Osama et al., Stream-K, PPoPP 2023)."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """``repeats`` products ``C[m, n] = A[m, k] B[k, n]``; bytes are of all repeats."""

    repeats: int
    m: int
    n: int
    k: int
    a_bytes: float
    b_bytes: float
    c_bytes: float
    tile_bits: int
    """Of an element in shared memory."""
    accumulator_bits: int
    macs_per_s: float
    """Peak of one core at the nominal clock."""
    a_beyond: bool
    """A comes from beyond L2."""
    b_beyond: bool
    other_bytes: float
    """What else crosses DRAM: the result, operands of the epilogue."""
    step_s: float | None = None
    """Shortest step along k, where it is not that of all products."""
    feed_times: float = 1.0
    """How many times as long as usual operands take through shared memory."""


@dataclass(frozen=True)
class Grid:
    """A product cut into thread blocks; times at the nominal clock [s]."""

    tile: tuple[int, int, int]
    split: int
    blocks: int
    turns: int
    """Blocks that the busiest core computes one after another."""
    compute_s: float
    """Main loops of the busiest core, with what surrounds them."""
    l2_bytes: float
    l2_s: float
    a_reads: float
    """How often A comes from beyond L2."""
    b_reads: float
    dram_s: float
    overlap: float
    """Exponent of the norm that joins the three bounds."""

    def time(self, fraction: float) -> float:
        """Duration at a fraction of the nominal clock, the kernel's own beginning and end apart [s]."""
        return joined(self.compute_s / fraction, self.l2_s / fraction, self.dram_s, self.overlap)

    @property
    def text(self) -> str:
        """For people."""
        m, n, k = self.tile
        cut = f"k in {self.split}" if self.split != STREAM else "k cut anywhere"
        return f"{m}x{n}x{k}, {cut}, {self.blocks} blocks in {self.turns} turns"


def joined(compute_s: float, l2_s: float, dram_s: float, overlap: float) -> float:
    """The longest of three bounds; DRAM and what is on the chip hide each other, but not quite where they are alike."""
    on_chip_s = max(compute_s, l2_s)
    most, least = max(on_chip_s, dram_s), min(on_chip_s, dram_s)
    return float(most * (1 + (least / most) ** overlap) ** (1 / overlap)) if most else 0.0


@cache
def _candidates(tiles: tuple[tuple[int, int, int], ...], splits: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
    """Tiles and splits as columns m, n, k, split."""
    rows = np.array([(*tile, split) for split in splits for tile in tiles], dtype=float)
    m, n, k, split = (np.ascontiguousarray(column) for column in rows.T)
    return m, n, k, split


def fastest(
    gpu: Gpu,
    product: Product,
    factors: GemmFactors,
    tiles: tuple[tuple[int, int, int], ...] | None = None,
    splits: tuple[int, ...] | None = None,
) -> Grid:
    """The fastest of the library's tiles and ways to cut k at the nominal clock; ``tiles``, ``splits``: of those."""
    if splits is None:
        splits = (*SPLITS, STREAM) if factors.stream_k else SPLITS
    search = _Search(gpu, product, factors, tiles or factors.tiles, splits)
    best = int(np.argmin(search.total_s))
    m, n, k, split = (int(column[best]) for column in _candidates(search.tiles, splits))
    return Grid(
        tile=(m, n, k),
        split=split,
        blocks=int(search.blocks[best]),
        turns=int(search.turns[best]),
        compute_s=float(search.compute_s[best]),
        l2_bytes=float(search.l2_bytes[best]),
        l2_s=float(search.l2_s[best]),
        a_reads=float(search.a_reads[best]),
        b_reads=float(search.b_reads[best]),
        dram_s=float(search.dram_s[best]),
        overlap=factors.overlap,
    )


@dataclass(frozen=True)
class _Search:
    """All candidates side by side."""

    gpu: Gpu
    product: Product
    factors: GemmFactors
    tiles: tuple[tuple[int, int, int], ...]
    splits: tuple[int, ...]

    @cached_property
    def _columns(self) -> tuple[Array, Array, Array, Array]:
        return _candidates(self.tiles, self.splits)

    @cached_property
    def _counts(self) -> tuple[Array, Array]:
        """Tiles along m and n."""
        m, n, _, _ = self._columns
        return np.ceil(self.product.m / m), np.ceil(self.product.n / n)

    @cached_property
    def _all_tiles(self) -> Array:
        return self.product.repeats * self._counts[0] * self._counts[1]

    @cached_property
    def _steps(self) -> Array:
        """Along k, of a block."""
        _, _, k, split = self._columns
        whole = np.ceil(self.product.k / (np.maximum(split, 1) * k))
        even = np.ceil(self._all_tiles * whole / self.gpu.machine.cores)
        return np.where(split == STREAM, even, whole)

    @cached_property
    def blocks(self) -> Array:
        _, _, k, split = self._columns
        streams = np.minimum(self._all_tiles * np.ceil(self.product.k / k), self.gpu.machine.cores)
        return np.where(split == STREAM, streams, self._all_tiles * split)

    @cached_property
    def turns(self) -> Array:
        return np.ceil(self.blocks / self.gpu.machine.cores)

    @cached_property
    def compute_s(self) -> Array:
        m, n, k, split = self._columns
        p, f = self.product, self.factors
        feed_s = (m + n) * k * (f.feed * p.feed_times * p.tile_bits / 8 / self.gpu.shared_bytes_per_s)
        step_s = m * n * k / (p.macs_per_s * f.issue * self.gpu.machine.run.library) + feed_s
        cold = p.a_beyond | p.b_beyond
        own_s = f.step_s if p.step_s is None else p.step_s
        floor_s = cold * max(own_s, f.cold_step_s) + (1 - cold) * own_s
        resident = self._resident
        rounds = np.floor(self.turns / resident)
        last = self.turns - rounds * resident
        loop_s = rounds * np.maximum(resident * step_s, floor_s) + (last > 0) * np.maximum(last * step_s, floor_s)
        between_s = (self.turns - 1) * f.block_s + (split != 1) * f.split_s
        store_s = (p.c_bytes + self._parts_bytes) / (f.store * self.gpu.l2_bytes_per_s)
        return np.asarray(f.prologue_s + self._steps * loop_s + store_s + between_s)

    @cached_property
    def _resident(self) -> Array:
        """Blocks side by side on a core, which hide each other's latency."""
        m, n, _, _ = self._columns
        held = self.factors.resident_results
        return np.ones_like(m) if held is None else np.maximum(np.floor(held / (m * n)), 1.0)

    @cached_property
    def _parts_bytes(self) -> Array:
        """Unfinished sums, written and read again where k is cut."""
        p, split = self.product, self._columns[3]
        parts = p.repeats * p.m * p.n * p.accumulator_bits / 8 * 2
        return np.asarray(parts * np.maximum(split, 1) * (split != 1))

    @cached_property
    def l2_bytes(self) -> Array:
        p = self.product
        tiles_m, tiles_n = self._counts
        a, b = p.a_bytes * tiles_n, p.b_bytes * tiles_m
        shared = np.minimum(
            a / np.minimum(self.factors.cluster, tiles_n) + b, a + b / np.minimum(self.factors.cluster, tiles_m)
        )
        return shared + p.c_bytes + self._parts_bytes

    @cached_property
    def l2_s(self) -> Array:
        rate = np.minimum(self.gpu.l2_bytes_per_s, self._active * self.gpu.core_l2_bytes_per_s)
        return self.l2_bytes / rate

    @cached_property
    def _active(self) -> Array:
        """Cores with work."""
        return np.minimum(self.blocks, self.gpu.machine.cores)

    @cached_property
    def _grouped(self) -> tuple[Array, Array]:
        """Tiles along m and n of the blocks that run at a time, as near to a square as they come (rasterised)."""
        m, n, _, _ = self._columns
        tiles_m, tiles_n = self._counts
        along_n = np.minimum(np.maximum(np.sqrt(self.gpu.machine.cores * m / n), 1), tiles_n)
        along_m = np.minimum(np.maximum(self.gpu.machine.cores / along_n, 1), tiles_m)
        return along_m, along_n

    @cached_property
    def a_reads(self) -> Array:
        """What of A does not stay in L2 comes anew for each group of columns."""
        again = self._counts[1] / self._grouped[1] - 1
        return np.asarray(1 + again * (1 - np.minimum(1.0, self.gpu.l2_room_bytes / self.product.a_bytes)))

    @cached_property
    def b_reads(self) -> Array:
        again = self._counts[0] / self._grouped[0] - 1
        return np.asarray(1 + again * (1 - np.minimum(1.0, self.gpu.l2_room_bytes / self.product.b_bytes)))

    @cached_property
    def dram_s(self) -> Array:
        p = self.product
        size = p.a_beyond * p.a_bytes * self.a_reads + p.b_beyond * p.b_bytes * self.b_reads + p.other_bytes
        return size / np.minimum(
            self.gpu.dram_bytes_per_s * self.factors.dram, self._active * self.gpu.core_dram_bytes_per_s
        )

    @cached_property
    def total_s(self) -> Array:
        overlap = self.factors.overlap
        on_chip_s = np.maximum(self.compute_s, self.l2_s)
        most, least = np.maximum(on_chip_s, self.dram_s), np.minimum(on_chip_s, self.dram_s)
        return np.asarray(most * (1 + (least / most) ** overlap) ** (1 / overlap))
