"""Matrix products and convolutions on a CPU: five loops around a micro-kernel, spread over the cores.

The loops are those of Goto and van de Geijn (ACM TOMS 34(3), 2008): a panel of B, ``kc`` deep, in the shared cache, a
block of A in the cores' own, a micro-kernel over both. Which threads take which part of the batch, of m, n and k, the
shape of the micro-kernel and ``kc`` are a search: legal plans, a cost, and ``min``. What is legal with few cores and
small caches is legal with more, so neither ever slows a product at a fixed clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from accelsim.base.dtypes import bits
from accelsim.base.units import ceil_div
from accelsim.hardware.cpu import Licence
from accelsim.hardware.device import MatrixUnit, TensorCores, VectorUnit
from accelsim.mapping.cpu.core import (
    BLOCK_SHARE,
    Array,
    Cpu,
    Loop,
    Phase,
    finish_cycles,
    role_name,
    task_of,
)
from accelsim.mapping.cpu.micro import MicroKernel, micro_kernels
from accelsim.mapping.machine import Machine
from accelsim.mapping.matrix import check_sparsity, executed_macs, matrix_unit
from accelsim.mapping.models import Gemm, gemm_of
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts
from accelsim.trace import Count
from accelsim.workload.ops import Conv2d, Matmul

PARTS = (
    *range(1, 21), 22, 24, 26, 28, 30, 32, 34, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72, 80, 88, 96, 112, 120, 128, 144,
    160, 192, 224, 256, 288, 320, 384, 512, 768, 1024,
)  # fmt: skip
"""Parts that one loop is cut into, whatever the number of cores."""
DEPTHS = (128, 256, 512, 2048)
"""``kc``: steps along k that a panel is deep."""
SHORTEST_K = 256
"""k is cut between threads into parts of no less (ASSUMED)."""
SLIVER_SHARE = 7 / 8
"""Of the first cache, for a sliver of A and one of B; a way is left to C (Low et al., sec. 4, with 8 ways)."""


@cache
def partitions(cores: int, repeats: int) -> tuple[Array, Array, Array, Array]:
    """Parts of batch, m, n and k for up to so many threads, by columns."""
    found = [
        (batch, m, n, k)
        for batch in (PARTS if repeats > 1 else (1,))
        if batch <= min(cores, repeats)
        for k in ((1, 2, 4, 8, 16, 32, 64, 128) if repeats == 1 else (1,))
        if batch * k <= cores
        for m in PARTS
        if batch * k * m <= cores
        for n in PARTS
        if batch * k * m * n <= cores
    ]
    columns = np.array(found, dtype=np.float64).T.reshape(4, -1, 1, 1)
    return columns[0], columns[1], columns[2], columns[3]


def _useful(cores: int, repeats: int, k: int, sides: Sequence[_Side]) -> tuple[Array, Array, Array, Array]:
    """Partitions that give every thread something to do."""
    batch, m, n, parts_k = partitions(cores, min(repeats, cores))
    most_m, most_n = (max(side.tiles[axis] for side in sides) for axis in (0, 1))
    useful = ((m <= most_m) & (n <= most_n) & ((parts_k == 1) | (k >= SHORTEST_K * parts_k))).ravel()
    return batch[useful], m[useful], n[useful], parts_k[useful]


@dataclass(frozen=True)
class _Side:
    """A product with one of its operands along the vectors, and a micro-kernel for it."""

    kernel: MicroKernel
    swapped: bool
    """A is the weights' side: vectors run along m."""
    run: int
    runs: int
    """Rows of C: ``runs`` runs (rows of an image) of ``run`` each."""
    columns: int
    a_bytes: float
    b_bytes: float

    @property
    def rows(self) -> int:
        return self.run * self.runs

    @cached_property
    def tiles(self) -> tuple[int, int]:
        """Micro-tiles along rows and columns."""
        return self.runs * ceil_div(self.run, self.kernel.rows), ceil_div(self.columns, self.kernel.columns)


def _sides(op: Matmul | Conv2d, gemm: Gemm, unit: MatrixUnit | VectorUnit, cpu: Cpu) -> Iterator[_Side]:
    single = min(gemm.m, gemm.n) == 1
    depthwise = _is_depthwise(op)
    for kernel in micro_kernels(unit, cpu.execution, op.dtype, single=single):
        if isinstance(op, Conv2d):
            # A micro-kernel slides along a row of pixels; filters of 1 x 1 do not care where a row ends.
            flat = op.kh * op.kw == 1 and op.stride == (1, 1)
            run = gemm.m if flat else op.w_out
            columns = gemm.repeats if depthwise else gemm.n
            yield _Side(kernel, False, run, gemm.m // run, columns, gemm.a_bytes, gemm.b_bytes)
        else:
            yield _Side(kernel, False, gemm.m, 1, gemm.n, gemm.a_bytes, gemm.b_bytes)
            yield _Side(kernel, True, gemm.n, 1, gemm.m, gemm.b_bytes, gemm.a_bytes)


@dataclass(frozen=True, slots=True)
class _Flow:
    """Bytes that each thread takes from (or gives to) a level; one value for each plan."""

    operand: str
    of_thread: Array
    level: Array
    alike: Array
    """Threads that take the same bytes: beyond a cache that they share, those come once."""
    channel: str | None = None
    """Over which they come from beyond; None: that of activations."""
    written: float = 0.0
    """Part of them that is written."""


@dataclass(frozen=True)
class _Phase:
    """Work of the busiest thread [s] and what it moves meanwhile."""

    work_s: list[Array]
    flows: list[_Flow]


@dataclass(frozen=True)
class _Timed:
    """Every plan that packs, or every plan that does not."""

    packs: bool
    phases: list[_Phase]
    times: list[tuple[list[Array], list[Array]]]
    total_s: Array


@dataclass(frozen=True)
class _Search:
    """A product on a CPU with its operands placed: everything but the plan is fixed.

    Arrays have three axes: partitions over threads, sides (with their micro-kernels), depths of a panel.
    """

    op: Matmul | Conv2d
    cpu: Cpu
    placement: Placement
    gemm: Gemm
    unit: MatrixUnit | VectorUnit
    sides: tuple[_Side, ...]
    parts: tuple[Array, Array, Array, Array]
    """Parts that batch, rows, columns and k are cut into: one thread for each of their products."""

    def of_side(self, values: Iterator[float] | list[float]) -> Array:
        """One value for each side, along its axis."""
        return np.array([*values], dtype=np.float64).reshape(1, -1, 1)

    # --- what each thread gets ---------------------------------------------------------------------------------------

    @cached_property
    def groups(self) -> int:
        """Repeats that lie along the vectors: channels of a depthwise convolution."""
        return self.gemm.repeats if _is_depthwise(self.op) else 1

    @cached_property
    def repeats(self) -> int:
        return self.gemm.repeats // self.groups

    @cached_property
    def rows(self) -> Array:
        """Of a micro-kernel."""
        return self.of_side([side.kernel.rows for side in self.sides])

    @cached_property
    def columns(self) -> Array:
        """Of a micro-kernel."""
        return self.of_side([side.kernel.columns for side in self.sides])

    @cached_property
    def tiles(self) -> tuple[Array, Array]:
        """Micro-tiles along rows and along columns."""
        return self.of_side([side.tiles[0] for side in self.sides]), self.of_side(
            [side.tiles[1] for side in self.sides]
        )

    @cached_property
    def threads(self) -> Array:
        batch, m, n, k = self.parts
        return batch * m * n * k

    @cached_property
    def clock_hz(self) -> Array:
        licence: Licence = "tile" if isinstance(self.unit, TensorCores) else "product"
        return self.cpu.clock_hz(licence, self.threads, self.unit.freq_hz)

    @cached_property
    def share_m(self) -> Array:
        """Of the rows, for the thread that has most: whole micro-tiles are dealt out."""
        return np.ceil(self.tiles[0] / self.parts[1]) / self.tiles[0]

    @cached_property
    def share_n(self) -> Array:
        return np.ceil(self.tiles[1] / self.parts[2]) / self.tiles[1]

    @cached_property
    def turns(self) -> Array:
        """Products that one thread computes one after another."""
        return np.ceil(self.repeats / self.parts[0])

    @cached_property
    def depth(self) -> Array:
        """Steps along k of a thread."""
        return np.ceil(self.gemm.k / self.parts[3])

    @cached_property
    def kc(self) -> Array:
        return np.minimum(np.array(DEPTHS, dtype=np.float64).reshape(1, 1, -1), self.depth)

    @cached_property
    def panels(self) -> Array:
        return np.ceil(self.depth / self.kc)

    @cached_property
    def keeps_slivers(self) -> npt.NDArray[np.bool_]:
        """Whether a sliver of A and one of B lie in the first cache side by side; else B's comes for every tile."""
        slivers = (self.rows + self.columns) * self.kc * self.element
        return np.asarray(slivers <= self.cpu.caches[0].capacity_bytes * SLIVER_SHARE)

    @cached_property
    def element(self) -> float:
        return self.gemm.element_bits / 8

    # --- bytes -------------------------------------------------------------------------------------------------------

    @cached_property
    def all_a(self) -> Array:
        """Bytes of A of one product (of all channels of a depthwise one)."""
        return self.of_side([side.a_bytes for side in self.sides]) * self.groups

    @cached_property
    def all_b(self) -> Array:
        return self.of_side([side.b_bytes for side in self.sides]) * self.groups

    @cached_property
    def all_c(self) -> float:
        return self.gemm.c_bytes * self.groups

    @cached_property
    def sums(self) -> float:
        """Bytes of unfinished sums over those of results."""
        return self.gemm.accumulator_bits / bits(self.op.outputs[0].dtype)

    @cached_property
    def a(self) -> Array:
        """Bytes of A of a thread in one turn."""
        return self.all_a * self.share_m * (self.depth / self.gemm.k)

    @cached_property
    def b(self) -> Array:
        return self.all_b * self.share_n * (self.depth / self.gemm.k)

    @cached_property
    def c(self) -> Array:
        return self.all_c * self.share_m * self.share_n

    @cached_property
    def blocks(self) -> Array:
        """Blocks of A, each as tall as a core's own cache allows: a panel of B is gone through for each."""
        own = self.cpu.caches[self.cpu.private].capacity_bytes * BLOCK_SHARE
        tall = np.maximum(1, np.floor(own / (self.kc * self.element) / self.rows))
        return np.ceil(np.ceil(self.tiles[0] / self.parts[1]) / tall)

    @cached_property
    def widths(self) -> Array:
        """Panels of B side by side, each as wide as the shared cache allows: A comes for each."""
        if self.cpu.shared is None:
            return np.ones_like(self.share_n)
        batch, _, n, k = self.parts
        room = self.cpu.shared.capacity_bytes * BLOCK_SHARE / (batch * n * k)
        wide = np.maximum(1, np.floor(room / (self.kc * self.element) / self.columns))
        return np.ceil(np.ceil(self.tiles[1] / n) / wide)

    @cached_property
    def outer(self) -> int:
        """Where what is too large for a core's own caches lies."""
        reachable = self.cpu.shared is not None or self.backing is None
        return self.cpu.last if reachable else self.cpu.beyond

    @cached_property
    def homes(self) -> tuple[Array, Array, Array]:
        """Levels of a panel of A, of one of B and of unfinished sums while the loops come back to them."""
        own = self.cpu.caches[self.cpu.private].capacity_bytes * BLOCK_SHARE
        # Each by its own size alone: what a larger cache lets another one keep must not drive it out.
        block = self.a / self.panels + self.columns * self.kc * self.element
        return (
            np.where(block <= self.cpu.caches[0].capacity_bytes * SLIVER_SHARE, 0, self.cpu.private),
            np.where(self.b / self.panels <= own, self.cpu.private, self.outer),
            np.where(self.c * self.sums <= own, self.cpu.private, self.outer),
        )

    @cached_property
    def on_chip(self) -> Array:
        """The level of operands that are on chip: the nearest that holds all of a thread's."""
        held = (self.a + self.b + self.c) * self.turns
        return self.cpu.level_of(held, held * self.threads)

    def _level(self, channel: str | None) -> Array:
        return self.on_chip if channel is None else np.full_like(self.on_chip, self.cpu.beyond)

    @cached_property
    def alike(self) -> tuple[Array, Array, Array]:
        """Threads that work on the same part of A, of B, of C."""
        _, m, n, k = self.parts
        return n, m, np.ones_like(k)

    @cached_property
    def backing(self) -> str | None:
        return self.cpu.machine.backing("activation")

    def _operands(self, of_a: Array, of_b: Array, levels: tuple[Array, Array] | None = None) -> list[_Flow]:
        """Bytes of A and B from where they are (from where the placement says), named as the op names its inputs."""
        flows = []
        for i, tensor in enumerate(self.op.inputs[:2]):
            is_a = self.of_side([side.swapped == bool(i) for side in self.sides]) > 0
            channel = self.placement.sources[i]
            level = self._level(channel) if levels is None else np.where(is_a, *levels)
            flows.append(
                _Flow(
                    "weight" if i else role_name(tensor),
                    np.where(is_a, of_a, of_b),
                    level,
                    np.where(is_a, *self.alike[:2]),
                    channel if levels is None else None,
                )
            )
        return flows

    @cached_property
    def results(self) -> list[_Flow]:
        """Results (their lines come first), the epilogue's operands, and what comes again.

        That is sums between panels, slivers of B that the first cache drops, and parts of k to be added up.
        """
        fetch = 0 if self.cpu.factors.whole_lines else 1
        one = self.alike[2]
        between = self.c * self.turns * self.sums * 2
        flows = [
            _Flow("output", between * (self.panels - 1), self.homes[2], one, None, 0.5),
            _Flow(
                "output",
                self.c * self.turns * (1 + fetch),
                self._level(self.placement.sink),
                one,
                self.placement.sink,
                1 / (1 + fetch),
            ),
        ]
        if not self.keeps_slivers.all():
            tiles = np.ceil(self.tiles[0] / self.parts[1])
            again = self.b * self.turns * tiles * ~self.keeps_slivers
            flows.append(_Flow("weight", again, np.full_like(self.on_chip, self.cpu.private), one))
        if self.parts[3].max() > 1:
            joined = between * (self.parts[3] > 1)
            flows.append(_Flow("output", joined, np.full_like(self.on_chip, self.outer), one, None, 0.5))
        for tensor, channel in zip(self.op.inputs[2:], self.placement.sources[2:], strict=True):
            each = self.op.bytes_read(tensor) / self.threads
            flows.append(_Flow(role_name(tensor), each, self._level(channel), one, channel))
        return flows

    # --- time --------------------------------------------------------------------------------------------------------

    @cached_property
    def compute_s(self) -> Array:
        """Of the thread that has most."""
        work = self.of_side([side.kernel.work_cycles(side.run, side.runs, side.columns) for side in self.sides])
        packed = self.of_side([side.kernel.packed for side in self.sides])
        mine = self.turns * self.share_m * self.share_n
        cycles = mine * work * np.ceil(self.depth / packed) / self.cpu.factors.fma_issue
        # For every panel a micro-kernel reads and writes its sums, and waits for the last of them.
        ends = self.of_side([side.kernel.end_cycles(self.stores_per_cycle) for side in self.sides])
        cycles = cycles + mine * self.tiles[0] * self.tiles[1] * self.panels * ends
        return (cycles + finish_cycles(self.op, self.cpu) / self.threads) / self.clock_hz

    @cached_property
    def stores_per_cycle(self) -> float:
        """Vectors that a core stores into its first cache in a cycle."""
        cache = self.cpu.caches[0]
        return cache.write_rate / self.cpu.nominal_hz / (self.cpu.execution.vector_bits / 8)

    def phases(self, *, packs: bool) -> list[_Phase]:
        """Packing, where it is done, and the loops."""
        slivers = np.ceil(self.tiles[1] / self.parts[2])
        near = self.homes[:2]
        if not packs:
            flows = [
                *self._operands(self.a * self.turns * self.widths, self.b * self.turns),
                *self._operands(
                    self.a * self.turns * np.maximum(0, slivers - self.widths),
                    self.b * self.turns * (self.blocks - 1),
                    near,
                ),
            ]
            return [_Phase([self.compute_s], [*flows, *self.results])]
        each_a = self.all_a * self.repeats * self.widths / self.threads
        each_b = self.all_b * self.repeats / self.threads
        # Threads pack each their part, so that nothing is read twice; what is packed is written to its home.
        packing = [
            replace(flow, alike=self.alike[2], written=written)
            for levels, written in ((None, 0.0), (near, 1.0))
            for flow in self._operands(each_a, each_b, levels)
        ]
        loops = self._operands(self.a * self.turns * slivers, self.b * self.turns * self.blocks, near)
        return [
            _Phase([(each_a + each_b) / self.pack_bytes_per_s], packing),
            _Phase([self.compute_s], [*loops, *self.results]),
        ]

    def times(self, phase: _Phase) -> tuple[list[Array], list[Array]]:
        """Times of a phase of every plan [s]: what follows the cores' clock, and what does not."""
        cpu = self.cpu
        on, off = [*phase.work_s], list[Array]()
        for edge in range(1, cpu.beyond + 1):
            crossing = [(flow.of_thread * (flow.level >= edge), flow) for flow in phase.flows]
            written: Array = sum((size * flow.written for size, flow in crossing if flow.written), np.zeros(1))
            read: Array = sum((size for size, _ in crossing), np.zeros(1)) - written
            if edge < cpu.beyond:
                time = cpu.crossing_s(edge, read, written, self.threads, self.clock_hz)
            elif self.backing is not None:
                of_all = read + written
                if cpu.shared is not None:
                    of_all = sum((size / flow.alike for size, flow in crossing), np.zeros(1))
                rate = cpu.machine.channels[self.backing]
                time = np.maximum(read / cpu.draws(edge), of_all * self.threads / rate)
            else:
                continue
            (on if edge <= cpu.private else off).append(time)
        return on, off

    def timed(self, *, packs: bool) -> _Timed:
        """Every plan, infinitely long where it is not legal."""
        total = self.cpu.fork_join_s(self.threads)
        phases = self.phases(packs=packs)
        times = [self.times(phase) for phase in phases]
        for on, off in times:
            total = total + self.cpu.together_s([*on, *off])
        if not packs and not isinstance(self.op, Conv2d):
            total = np.where(self.bare, total, np.inf)
        return _Timed(packs, phases, times, total)

    @cached_property
    def bare(self) -> npt.NDArray[np.bool_]:
        """Whether a matrix product may do without packing.

        It may where a core's own cache holds both operands (of one product of a batch), and where it is one with a
        vector. Beyond that cache strides cost misses of the TLB and conflicts (Goto and van de Geijn, sec. 4).
        """
        if min(self.gemm.m, self.gemm.n) == 1:
            return np.ones_like(self.a, dtype=bool)
        fits: npt.NDArray[np.bool_] = self.all_a + self.all_b <= self.cpu.caches[self.cpu.private].capacity_bytes
        return fits

    def best(self) -> _Plan:
        """The fastest plan."""
        timed = min((self.timed(packs=packs) for packs in self.choices), key=lambda one: float(one.total_s.min()))
        return _Plan(self, timed, int(timed.total_s.argmin()))

    @property
    def choices(self) -> tuple[bool, ...]:
        """Whether to pack: convolutions work in place, large products do not."""
        if isinstance(self.op, Conv2d):
            return (False,)
        return (False, True) if self.bare.any() else (True,)

    @cached_property
    def bound_s(self) -> Array:
        """What no plan of each partition beats: starting threads, packing, arithmetic, what comes from beyond [s]."""
        rates, far = self.cpu.machine.channels, self.cpu.draws(self.cpu.beyond)
        sizes = [(self.op.bytes_read(t), c) for t, c in zip(self.op.inputs, self.placement.sources, strict=True) if c]
        shared_s = sum(size / rates[channel] for size, channel in sizes)
        into_s: Array = np.maximum(shared_s, sum(size for size, _ in sizes) / self.threads / far)
        out_s = self.op.outputs[0].bytes / rates[self.placement.sink] if self.placement.sink else 0.0
        least: Array = self.compute_s.min(axis=(1, 2), keepdims=True)
        start_s: Array = self.cpu.fork_join_s(self.threads)
        if False in self.choices or len(self.op.inputs) > 2:
            least = np.maximum(np.maximum(least, into_s), shared_s + out_s)
        else:
            packed_s = float((self.all_a + self.all_b).min()) * self.repeats / self.threads / self.pack_bytes_per_s
            least = np.maximum(packed_s, into_s) + np.maximum(least, out_s)
        return start_s + least

    @cached_property
    def pack_bytes_per_s(self) -> Array:
        """What a thread packs."""
        nominal = self.cpu.caches[0].write_rate * self.cpu.factors.pack
        return nominal * self.clock_hz / self.cpu.nominal_hz

    def only(self, partitions: npt.NDArray[np.bool_]) -> _Search:
        """The same search among some of its partitions."""
        batch, m, n, k = (part[partitions.ravel()] for part in self.parts)
        return replace(self, parts=(batch, m, n, k))


FIRST = 8
"""Partitions that are timed before the others, whose bounds are held against the best of these."""


def _best(search: _Search) -> _Plan:
    """The fastest plan of all partitions: first of a few of the lowest bounds, then of what these leave possible."""
    bound = search.bound_s
    if bound.size <= 2 * FIRST:
        return search.best()
    few = np.zeros(bound.shape, dtype=bool)
    few.flat[np.argpartition(bound.ravel(), FIRST)[:FIRST]] = True
    best = search.only(few).best()
    others = (bound < best.total_s) & ~few
    if not others.any():
        return best
    return min(best, search.only(others).best(), key=lambda plan: plan.total_s)


@dataclass(frozen=True)
class _Plan:
    """One plan of a search."""

    search: _Search
    choice: _Timed
    index: int

    @property
    def total_s(self) -> float:
        """Its duration."""
        return float(self.choice.total_s.min())

    @cached_property
    def place(self) -> tuple[int, ...]:
        """Its partition, side and depth."""
        return tuple(int(i) for i in np.unravel_index(self.index, self.choice.total_s.shape))

    def at(self, values: Array) -> float:
        """Its value of an array of the search, which may have one for all along an axis."""
        if values.ndim < 3:
            return float(values.flat[0])
        return float(values[tuple(min(i, n - 1) for i, n in zip(self.place, values.shape, strict=True))])

    @cached_property
    def timed(self) -> tuple[Phase, ...]:
        """Its phases, at the clock of its licence."""
        return tuple(Phase(tuple(map(self.at, on)), tuple(map(self.at, off))) for on, off in self.choice.times)

    @property
    def side(self) -> _Side:
        return self.search.sides[self.place[1]]

    @cached_property
    def cache_s(self) -> float:
        """Of the busiest edge between caches, all phases together."""
        inner = self.search.cpu.beyond - 1
        edges = [[*phase.on_core_s[1:], *phase.off_core_s][:inner] for phase in self.timed]
        return max((sum(times) for times in zip(*edges, strict=True)), default=0.0)

    def moved(self) -> Iterator[tuple[str, int, str | None, float, float]]:
        """Operand, edge, channel, bytes read and written over it, of all threads."""
        search, cpu = self.search, self.search.cpu
        threads = self.at(search.threads)
        for phase in self.choice.phases:
            for flow in phase.flows:
                size = self.at(flow.of_thread) * threads
                for edge in range(1, int(self.at(flow.level)) + 1):
                    once = self.at(flow.alike) if cpu.shared is not None and edge == cpu.beyond else 1.0
                    written = size * flow.written / once
                    yield flow.operand, edge, flow.channel, size / once - written, written

    def describe(self) -> str:
        """For people."""
        search = self.search
        batch, m, n, k = (int(self.at(part)) for part in search.parts)
        parts = "x".join(str(part) for part in (batch, m, n, k))
        kernel = self.side.kernel
        packed = "packed" if self.choice.packs else "in place"
        return f"{kernel.rows}x{kernel.columns}, kc {int(self.at(search.kc))}, {packed}, threads {parts}"


def _is_depthwise(op: Matmul | Conv2d) -> bool:
    return isinstance(op, Conv2d) and op.groups == op.c_in == op.c_out and op.groups > 1


def map_product(op: Matmul | Conv2d, machine: Machine, placement: Placement) -> Task:
    """Map a product to the fastest plan of five loops around a micro-kernel.

    Raises MappingError where no unit multiplies the format.
    """
    return task_of(product_loop(op, machine, placement), Cpu(machine))


def product_loop(op: Matmul | Conv2d, machine: Machine, placement: Placement) -> Loop:
    """The loops of a product; raises as ``map_product`` does."""
    unit = matrix_unit(machine, op.dtype)
    check_sparsity(op, unit, machine)
    cpu, gemm = Cpu(machine), gemm_of(op)
    sides = tuple(_sides(op, gemm, unit, cpu))
    repeats = 1 if _is_depthwise(op) else gemm.repeats
    plan = _best(_Search(op, cpu, placement, gemm, unit, sides, _useful(machine.cores, repeats, gemm.k, sides)))
    search = plan.search
    macs = executed_macs(op)
    channels, counts = _account(plan)
    return Loop(
        op=op,
        unit="matrix",
        freq_hz=plan.at(search.clock_hz),
        fixed_s=plan.at(cpu.fork_join_s(search.threads)),
        phases=plan.timed,
        compute_s=plan.at(search.compute_s),
        cache_s=plan.cache_s,
        channel_bytes=channels,
        counts=(Count(f"mac.{op.dtype}", "-", macs), *elementary_counts(op, op.dtype), *counts),
        tiling=plan.describe(),
        macs=macs,
    )


def _account(plan: _Plan) -> tuple[dict[str, int], list[Count]]:
    """Bytes over each channel, and the actions of every memory: each edge is a read of one and a write of the other."""
    search, cpu = plan.search, plan.search.cpu
    first, kernel, macs = cpu.caches[0].name, plan.side.kernel, executed_macs(search.op)
    a, b = ("weight", "input") if plan.side.swapped else ("input", "weight")
    done: dict[tuple[str, str], float] = {
        (f"{first}.read", a): macs * search.element / kernel.columns,
        (f"{first}.read", b): macs * search.element / kernel.rows,
        (f"{first}.write", "output"): search.op.outputs[0].bytes,
    }
    channels: dict[str, float] = {}

    def add(action: str, operand: str, size: float) -> None:
        if size:
            done[action, operand] = done.get((action, operand), 0.0) + size

    for operand, edge, channel, read, written in plan.moved():
        near = cpu.caches[edge - 1].name
        add(f"{near}.write", operand, read)
        add(f"{near}.read", operand, written)
        if edge < cpu.beyond:
            far = cpu.caches[edge].name
            add(f"{far}.read", operand, read)
            add(f"{far}.write", operand, written)
            continue
        channel = channel or search.backing
        assert channel is not None
        channels[channel] = channels.get(channel, 0.0) + read + written
        for count in cpu.machine.count(channel, operand, math.ceil(read), math.ceil(written)):
            add(count.action, operand, count.amount)
    counts = [Count(action, operand, math.ceil(size)) for (action, operand), size in done.items()]
    return {name: math.ceil(size) for name, size in channels.items()}, counts
