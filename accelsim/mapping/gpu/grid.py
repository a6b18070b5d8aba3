"""The tile-and-wave core: a product as a grid of thread blocks, on tensor cores and SIMD lanes alike.

A block computes one tile of the result in steps along k; the cores take blocks in turns. Main loop, L2 and DRAM each
bound the grid. All candidates (tiles of the library x ways to cut k) are weighed at once; the fastest is taken, as a
library's heuristic does at its best, unless a run names the kernels that its software takes by shape. Every bound falls
or stays as cores, clocks, bandwidths or capacities grow, so the best of a fixed list does as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from accelsim.hardware.family import ChosenKernel, GemmFactors
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
    fitting = [kernel for kernel in gpu.machine.run.kernels if kernel.fits(product.m, product.n, product.k)]
    chosen = fitting[-1] if fitting else None
    if chosen:
        tiles, splits = (chosen.tile,), (1,)
    search = _Search(gpu, product, factors, tiles or factors.tiles, splits, chosen)
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
    chosen: ChosenKernel | None
    """Whose tile it is, where the library does not take the fastest."""

    @cached_property
    def _columns(self) -> tuple[Array, Array, Array, Array]:
        return _candidates(self.tiles, self.splits)

    @cached_property
    def _counts(self) -> tuple[Array, Array]:
        """Tiles along m and n, in whole clusters."""
        m, n, _, _ = self._columns
        along_m, along_n = self.chosen.cluster if self.chosen else (1, 1)
        return (
            np.ceil(self.product.m / (m * along_m)) * along_m,
            np.ceil(self.product.n / (n * along_n)) * along_n,
        )

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
        """Main loops in rounds of blocks side by side, and their results, which queue at L2.

        A round's results come when its main loops end, and leave one after another while later rounds compute; so the
        last one leaves when the queue that began with the first, the last but one or the last round is empty.
        """
        m, n, k, split = self._columns
        p, f = self.product, self.factors
        feed_s = (m + n) * k * (f.feed * p.feed_times * p.tile_bits / 8 / self.gpu.shared_bytes_per_s)
        step_s = m * n * k / (p.macs_per_s * f.issue * self.gpu.machine.run.library) + feed_s
        cold = p.a_beyond | p.b_beyond
        own_s = f.step_s if p.step_s is None else p.step_s
        floor_s = cold * max(own_s, f.cold_step_s) + (1 - cold) * own_s
        resident = self._resident
        rounds = np.ceil(self.turns / resident)
        last = self.turns - (rounds - 1) * resident
        full_s = self._steps * np.maximum(resident * step_s, floor_s) + resident * f.block_s
        last_s = self._steps * np.maximum(last * step_s, floor_s) + last * f.block_s
        before_s = f.prologue_s - f.block_s + (split != 1) * f.split_s
        store_s = (p.c_bytes + self._parts_bytes) / (f.store * self.gpu.l2_bytes_per_s)
        # Of all results, those of one full round.
        share = np.minimum(1.0, resident * self.gpu.machine.cores / self.blocks)
        first = np.where(rounds > 1, full_s, last_s) + store_s
        last_but_one = np.where(rounds > 1, (rounds - 1) * full_s + store_s * (1 - (rounds - 2) * share), 0.0)
        at_last = (rounds - 1) * full_s + last_s + store_s * (1 - (rounds - 1) * share)
        return np.asarray(before_s + np.maximum(np.maximum(first, last_but_one), at_last))

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
        along_m, along_n = self.chosen.cluster if self.chosen else (self.factors.cluster, self.factors.cluster)
        shared = np.minimum(a / np.minimum(along_n, tiles_n) + b, a + b / np.minimum(along_m, tiles_m))
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
        """Tiles along m and n of the blocks that run at a time.

        As near to a square as they come (rasterised), or lines along the shorter side.
        """
        m, n, _, _ = self._columns
        tiles_m, tiles_n = self._counts
        if self.chosen:
            cores, (cluster_m, cluster_n) = self.gpu.machine.cores, self.chosen.cluster
            along_m = np.minimum(tiles_m, max(1, cores // cluster_n))
            along_n = np.minimum(tiles_n, max(1, cores // cluster_m))
            lines_m = np.minimum(tiles_m, np.maximum(cores / along_n, cluster_m))
            lines_n = np.minimum(tiles_n, np.maximum(cores / along_m, cluster_n))
            down = tiles_m < tiles_n
            return np.where(down, along_m, lines_m), np.where(down, lines_n, along_n)
        along_n = np.minimum(np.maximum(np.sqrt(self.gpu.machine.cores * m / n), 1), tiles_n)
        along_m = np.minimum(np.maximum(self.gpu.machine.cores / along_n, 1), tiles_m)
        return along_m, along_n

    @cached_property
    def a_reads(self) -> Array:
        """What of A does not stay in L2 comes anew for each group of columns, or for each cluster in it."""
        again = self._counts[1] / self._together(1) - 1
        return np.asarray(1 + again * (1 - np.minimum(1.0, self.gpu.l2_room_bytes / self.product.a_bytes)))

    @cached_property
    def b_reads(self) -> Array:
        again = self._counts[0] / self._together(0) - 1
        return np.asarray(1 + again * (1 - np.minimum(1.0, self.gpu.l2_room_bytes / self.product.b_bytes)))

    def _together(self, side: int) -> Array:
        """Of tiles side by side along m (0) or n (1), how many use what one of them brought into L2.

        All, where blocks keep pace. Blocks that drift apart share what L2 holds of the lines that they read at a time,
        and a cluster what one of its cores fetches for all.
        """
        side_by_side = self._grouped[side]
        if self.chosen is None:
            return side_by_side
        m, n, _, _ = self._columns
        along_m, along_n = self._grouped
        p = self.product
        lines_bytes = (p.a_bytes * along_m * m / p.m + p.b_bytes * along_n * n / p.n) / p.repeats
        held = 1 - (1 - self.chosen.pace) * (1 - np.minimum(1.0, self.gpu.l2_room_bytes / lines_bytes))
        own = np.minimum(self.chosen.cluster[side], side_by_side)
        return side_by_side / (held + (1 - held) * side_by_side / own)

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
