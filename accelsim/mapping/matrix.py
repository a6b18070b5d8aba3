"""Matrix products and convolutions: which outer tiling, and how long it takes.

A search is three small things: the legal tilings (``_Search.legal``), a cost (``_Search.clocked``), and ``min``. What
is legal in a small memory is legal in a larger one, because tile sizes do not depend on capacities; so a larger or
faster memory never slows an op at a fixed clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import MappingError
from accelsim.base.units import PS_PER_S, ROUNDING, ceil_div
from accelsim.hardware.device import MatrixUnit, Role, VectorUnit
from accelsim.kernels.pipeline import pipeline_time
from accelsim.mapping.counted import counted
from accelsim.mapping.finish import finished
from accelsim.mapping.machine import Machine
from accelsim.mapping.models import Gemm, MatrixModel, gemm_of, matrix_model
from accelsim.mapping.on_chip import Array, on_chip_seconds
from accelsim.mapping.power import Clocked, clocked
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts, vector_cycles, windowed
from accelsim.trace import Count
from accelsim.workload.ops import Conv2d, Matmul


@dataclass(frozen=True, slots=True)
class Tiling:
    """Outer tiles of a product, and whether the loop over n is outside the one over m; k is innermost."""

    m: int
    k: int
    n: int
    n_outer: bool
    again_a: int
    """How often all of A is loaded."""
    again_b: int
    cycles: float
    """Of all steps on the unit."""

    def __str__(self) -> str:
        return f"{self.m}x{self.k}x{self.n}, {'n' if self.n_outer else 'm'} outside"


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a product: the bytes of one repeat and where they come from or go to."""

    name: str
    role: Role
    size: float
    channel: str | None


def tile_sizes(extent: int, quantum: int) -> list[int]:
    """``quantum`` times powers of two below ``extent``, and ``extent``: independent of any capacity.

    >>> tile_sizes(1000, 128)
    [128, 256, 512, 1000]
    """
    sizes = []
    size = quantum
    while size < extent:
        sizes.append(size)
        size *= 2
    return [*sizes, extent]


def matrix_unit(machine: Machine, dtype: str) -> MatrixUnit | VectorUnit:
    """The unit that multiplies this format: the matrix unit, else SIMD lanes."""
    core = machine.device.core
    if core.matrix is not None and core.matrix.macs_per_cycle(dtype) > 0:
        return core.matrix
    if core.vector.macs_per_cycle(dtype) > 0:
        return core.vector
    raise MappingError(
        f"{machine.device.name} does not multiply in {dtype}; want one of {', '.join(machine.device.dtypes)}"
    )


@dataclass(frozen=True)
class _Search:
    """A product on a machine with its operands placed: everything but the tiling is fixed."""

    op: Matmul | Conv2d
    machine: Machine
    placement: Placement
    model: MatrixModel
    unit: MatrixUnit | VectorUnit

    @property
    def gemm(self) -> Gemm:
        return self.model.gemm

    @cached_property
    def a(self) -> Operand:
        return Operand("input", "activation", self.gemm.a_bytes, self.placement.sources[0])

    @cached_property
    def b(self) -> Operand:
        role: Role = "weight" if self.op.inputs[1].role == "weight" else "activation"
        return Operand("weight", role, self.gemm.b_bytes, self.placement.sources[1])

    @cached_property
    def c(self) -> Operand:
        return Operand("output", "activation", self.gemm.c_bytes, self.placement.sink)

    @cached_property
    def extras(self) -> tuple[Operand, ...]:
        """Operands of the epilogue, of one repeat: they come along with the result."""
        pairs = zip(self.op.inputs[2:], self.placement.sources[2:], strict=True)
        return tuple(
            Operand(
                "weight" if t.role == "weight" else "input",
                "weight" if t.role == "weight" else "activation",
                t.bytes / self.gemm.repeats,
                channel,
            )
            for t, channel in pairs
        )

    def ps_per_byte(self, channel: str | None) -> float:
        if channel is None:
            return 0.0
        return PS_PER_S / self.machine.channels[channel] * self.machine.slower(channel, read_share=self.read_share)

    @cached_property
    def read_share(self) -> float:
        """Of the bytes between chip and DRAM, each counted once, those that are read."""
        written = self.c.size if self.c.channel is not None and self.machine.is_dram(self.c.channel) else 0.0
        sides = (self.a, self.b, *self.extras)
        read = sum(x.size for x in sides if x.channel is not None and self.machine.is_dram(x.channel))
        return read / (read + written) if written else 1.0

    def scattered(self, t: Tiling) -> tuple[float, float, float]:
        """How many times longer tiles of A, B and C are on their way than if each lay in one piece.

        Matrices lie by rows, images pixel by pixel: a tile as wide as its matrix is one piece, another one as many as
        it has rows (of one tap's channels).
        """
        g, width = self.gemm, self.gemm.element_bits / 8
        tapped = min(t.k, g.k / g.taps)
        runs = (
            t.m * g.k if t.k == g.k else tapped,
            t.k * g.n if t.n == g.n or g.b_quanta != (1, 1) else t.n,
            t.m * g.n if t.n == g.n else t.n,
        )

        def longer(side: Operand, run: float) -> float:
            if side.channel is None:
                return 1.0
            slower = self.machine.slower
            return slower(side.channel, run * width, self.read_share) / slower(side.channel, read_share=self.read_share)

        return longer(self.a, runs[0]), longer(self.b, runs[1]), longer(self.c, runs[2])

    # --- tilings -------------------------------------------------------------------------------------------------

    @cached_property
    def tiles(self) -> tuple[Array, Array, Array, npt.NDArray[np.bool_]]:
        """Every tiling: sizes along m, k and n, and the order."""
        g, (quantum_m, quantum_k, quantum_n) = self.gemm, self.model.quanta
        grid = np.meshgrid(
            tile_sizes(g.m, quantum_m), tile_sizes(g.k, quantum_k), tile_sizes(g.n, quantum_n), (0, 1), indexing="ij"
        )
        m, k, n, order = (axis.ravel().astype(np.float64) for axis in grid)
        return m, k, n, order.astype(bool)

    @cached_property
    def loads(self) -> tuple[Array, Array]:
        """How often all of A and all of B are loaded.

        A tile is loaded anew whenever the step before used another one, so a loop inside its own loops repeats it.
        """
        g = self.gemm
        m, k, n, n_outer = self.tiles
        m_steps, k_steps, n_steps = np.ceil(g.m / m), np.ceil(g.k / k), np.ceil(g.n / n)
        again_a = np.where(np.where(n_outer, m_steps * k_steps, k_steps) > 1, n_steps, 1.0)
        again_b = np.where(np.where(n_outer, k_steps, n_steps * k_steps) > 1, m_steps, 1.0)
        return again_a, again_b

    @cached_property
    def cycles(self) -> Array:
        """Cycles of all steps on the unit."""
        return self.model.total_cycles(self.tiles[0])

    def tiling(self, i: int) -> Tiling:
        """The tiling with that index."""
        m, k, n, n_outer = self.tiles
        again_a, again_b = self.loads
        return Tiling(
            int(m[i]), int(k[i]), int(n[i]), bool(n_outer[i]), int(again_a[i]), int(again_b[i]), float(self.cycles[i])
        )

    @cached_property
    def tile_bytes(self) -> dict[str, Array]:
        """Room that one buffer of every tile takes, by memory; what is on chip already takes none."""
        g = self.gemm
        m, k, n, _ = self.tiles
        room: dict[str, Array] = {}

        def take(role: Role, size: Array) -> None:
            memory = self.machine.buffer(role)
            if memory is not None:
                room[memory.name] = room.get(memory.name, np.zeros_like(size)) + size

        if self.a.channel:
            take("activation", g.a_bytes * (m / g.m) * (k / g.k))
        if self.b.channel:
            take(self.b.role, g.b_bytes * g.b_share(k, n))
        if self.c.channel:
            take("activation", g.c_bytes * (m / g.m) * (n / g.n))
        for extra in self.extras:
            if extra.channel and extra.role == "activation":
                take("activation", extra.size * (m / g.m) * (n / g.n))
        take("partial_sum", self.model.partial_sum_bytes(m, n, np.ceil(g.k / k)))
        return room

    def legal(self) -> npt.NDArray[np.int64]:
        """Indices of the tilings whose tiles fit, two of each where the memory is double-buffered."""
        free = dict(self.placement.free_bytes)
        fits = np.ones_like(self.tiles[0], dtype=bool)
        for name, size in self.tile_bytes.items():
            buffers = 2 if self.machine.sram[name].double_buffered else 1
            fits &= size * buffers <= free[name]
        if not fits.any():
            raise MappingError(*self._misfits(free))
        return np.flatnonzero(fits)

    def _misfits(self, free: dict[str, int]) -> list[str]:
        return [
            f"op {self.op.name}: its smallest tiles want {round(size.min() * (2 if double else 1))} bytes "
            f"of {name}, {free[name]} are free"
            for name, size in self.tile_bytes.items()
            for double in (self.machine.sram[name].double_buffered,)
            if (size * (2 if double else 1) > free[name]).all()
        ] or [f"op {self.op.name}: no tiling fits into on-chip memory"]

    # --- cost ------------------------------------------------------------------------------------------------------

    @cached_property
    def on_chip_ps(self) -> float:
        """Time of the busiest on-chip memory [ps]."""
        return on_chip_seconds(self.model.traffic(), self.machine.sram, self.machine.cores) * PS_PER_S

    @cached_property
    def ps_per_cycle(self) -> float:
        return PS_PER_S / self.unit.freq_hz

    @cached_property
    def finish_ps(self) -> float:
        """Epilogue of one repeat on the vector unit [ps]."""
        vector = self.machine.device.core.vector
        cycles = vector_cycles(self.op, vector, self.op.dtype, self.machine.cores)
        return cycles * PS_PER_S / vector.freq_hz / self.gemm.repeats

    @cached_property
    def result_ps(self) -> float:
        """Moving the result of one repeat, and what the epilogue adds to it [ps]."""
        return sum(x.size * self.ps_per_byte(x.channel) for x in (self.c, *self.extras))

    def lower_bound_ps(self) -> Array:
        """What no schedule of a tiling beats: the core with first load and last store, each channel, its power."""
        g = self.gemm
        m, k, n, _ = self.tiles
        again_a, again_b = self.loads
        a_ps, b_ps = self.a.size * self.ps_per_byte(self.a.channel), self.b.size * self.ps_per_byte(self.b.channel)
        first = np.maximum(a_ps * (m / g.m) * (k / g.k), b_ps * g.b_share(k, n))
        edge_m, edge_n = g.m - (np.ceil(g.m / m) - 1) * m, g.n - (np.ceil(g.n / n) - 1) * n
        last = (edge_m / g.m) * (edge_n / g.n)
        cycles = self.cycles * self.ps_per_cycle
        core = np.maximum(cycles, self.on_chip_ps) + self.model.fill_cycles * self.ps_per_cycle
        finish, edges, window = self.finish_ps * last, first + self.result_ps * last, self.window_ps(resident=False)
        by_channel: dict[str, Array] = {}
        loads = [(self.a.channel, a_ps * again_a), (self.b.channel, b_ps * again_b)]
        results = [(x.channel, np.full_like(m, x.size * self.ps_per_byte(x.channel))) for x in (self.c, *self.extras)]
        for channel, size in loads + results:
            if channel:
                by_channel[channel] = by_channel.get(channel, np.zeros_like(m)) + size * g.repeats
        channels = np.max([*by_channel.values(), np.zeros_like(m)], axis=0)
        power_w = self.machine.power_w
        if power_w is None:
            return np.asarray(np.maximum(core + np.maximum(finish + edges, window), channels))
        on_chip, off_chip = self.energies_pj
        clocks = np.array(self.machine.clocks)[:, None]
        scales = np.array(self.machine.energy_scales)[:, None]
        busy = core / clocks + np.maximum(finish / clocks + edges, window)
        by_clock = np.maximum(np.maximum(busy, channels), (on_chip * scales + off_chip) / power_w)
        return np.asarray(by_clock.min(axis=0))

    @cached_property
    def energies_pj(self) -> tuple[Array, Array]:
        """Dynamic energy on and off the chip at nominal voltage [pJ]."""
        again_a, again_b = self.loads
        on_chip, off_chip = (np.full_like(again_a, pj) for pj in self.machine.dynamic_pj(self.fixed_counts))
        repeats = self.gemm.repeats
        for operand, times in ((self.a, again_a), (self.b, again_b)):
            on, off = self.machine.dynamic_pj(self._crossing(operand, round(operand.size * repeats), 0))
            on_chip, off_chip = on_chip + on * times, off_chip + off * times
        for operand, read, written in self._once:
            on, off = self.machine.dynamic_pj(self._crossing(operand, read, written))
            on_chip, off_chip = on_chip + on, off_chip + off
        return on_chip, off_chip

    def pipeline_ps(self, t: Tiling, fraction: float, *, resident: bool) -> float:
        """The tile pipeline at a fraction of the clock; ``resident``: B is on chip already [ps]."""
        g = self.gemm
        steps = (ceil_div(g.m, t.m), ceil_div(g.k, t.k), ceil_div(g.n, t.n))
        m, k, n = (
            (full, extent - (count - 1) * full)
            for full, extent, count in ((t.m, g.m, steps[0]), (t.k, g.k, steps[1]), (t.n, g.n, steps[2]))
        )
        # On-chip memories that are slower than the unit stretch every step alike; they run on its clock.
        work_ps = max(t.cycles * self.ps_per_cycle, 1e-9)
        stretch = max(1.0, self.on_chip_ps / work_ps) * self.ps_per_cycle / fraction
        a_ps = self.a.size * self.ps_per_byte(self.a.channel) / (g.m * g.k)
        b_ps = 0.0 if resident else self.b.size * self.ps_per_byte(self.b.channel)
        finish_ps, store_ps = self.finish_ps / fraction / (g.m * g.n), self.result_ps / (g.m * g.n)
        if self.machine.dram_runs:
            longer_a, longer_b, longer_c = self.scattered(t)
            a_ps, b_ps, store_ps = a_ps * longer_a, b_ps * longer_b, store_ps * longer_c
        piped = pipeline_time(
            (g.repeats, *((steps[2], steps[0]) if t.n_outer else (steps[0], steps[2])), steps[1], *self.channel_ids),
            t.n_outer,
            (
                *(self.step_cycles(x, y, z) * stretch for x in m for y in k for z in n),
                *(x * y * a_ps for x in m for y in k),
                *(g.b_share(y, z) * b_ps for y in k for z in n),
                *(x * z * finish_ps for x in m for z in n),
                *(x * z * store_ps for x in m for z in n),
            ),
            self.buffers,
        )
        busy = max(work_ps * stretch / self.ps_per_cycle, self.finish_ps * g.repeats / fraction)
        return (
            max(piped, busy + self.window_ps(resident=resident)) + self.model.fill_cycles * self.ps_per_cycle / fraction
        )

    def window_ps(self, *, resident: bool) -> float:
        """Loads before the first step and stores after the last that nothing hides [ps]."""
        repeats = self.gemm.repeats
        loads = (self.a,) if resident else (self.a, self.b)
        return sum(
            windowed(
                {x.name: x.size * repeats for x in side if x.channel},
                {x.name: x.size * repeats * self.ps_per_byte(x.channel) for x in side if x.channel},
                self.machine,
            )
            for side in (loads, (self.c,))
        )

    @cached_property
    def step_cycles(self) -> Callable[[int, int, int], float]:
        """Cycles of a step on a tile, once for each size."""
        return cache(self.model.step_cycles)

    @cached_property
    def channel_ids(self) -> tuple[int, int, int]:
        """The channels of A, B and what goes out, numbered."""
        sink = self.c.channel or next((x.channel for x in self.extras if x.channel), None)
        names = (self.a.channel, self.b.channel, sink)
        ids = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return ids[names[0]], ids[names[1]], ids[names[2]]

    @cached_property
    def buffers(self) -> int:
        """Two where every memory that takes tiles is double-buffered, else transfers and work take turns."""
        return 2 if all(self.machine.sram[name].double_buffered for name in self.tile_bytes) else 1

    def clocked(self, t: Tiling, energy_pj: tuple[float, float]) -> Clocked:
        """A tiling's time at the clock that its power allows."""
        return clocked(self.machine, energy_pj, lambda fraction: self.pipeline_ps(t, fraction, resident=False))

    def resident_ps(self, t: Tiling, outcome: Clocked) -> float:
        """A tiling's time at that clock with all of B on chip before it starts; its energy is the same [ps]."""
        if not self.prefetchable:
            return outcome.duration
        return min(max(self.pipeline_ps(t, outcome.fraction, resident=True), outcome.floor), outcome.duration)

    @property
    def prefetchable(self) -> bool:
        return self.machine.device.prefetches_weights and self.b.role == "weight" and self.b.channel is not None

    def best(self) -> tuple[Tiling, Clocked]:
        """The fastest tiling: in the order of their lower bounds, until the next bound is no better."""
        bounds = self.lower_bound_ps()
        indices = self.legal()
        again_a, again_b = self.loads
        on_chip, off_chip = self.energies_pj
        # Of tilings that are bounded alike, the one that loads least comes first.
        loaded = self.a.size * again_a + self.b.size * again_b
        best: tuple[Tiling, Clocked] | None = None
        for i in indices[np.lexsort((loaded[indices], bounds[indices]))]:
            if best is not None and bounds[i] >= best[1].duration * (1 - ROUNDING):
                break
            tiling = self.tiling(i)
            outcome = self.clocked(tiling, (float(on_chip[i]), float(off_chip[i])))
            if best is None or outcome.duration < best[1].duration:
                best = tiling, outcome
        assert best is not None
        return best

    # --- counts ------------------------------------------------------------------------------------------------------

    def moved(self, t: Tiling) -> list[tuple[Operand, int, int]]:
        """Bytes read from and written to beyond the chip, by operand, of all repeats."""
        repeats = self.gemm.repeats
        return [
            (self.a, round(self.a.size * repeats) * t.again_a, 0),
            (self.b, round(self.b.size * repeats) * t.again_b, 0),
            *self._once,
        ]

    @cached_property
    def _once(self) -> list[tuple[Operand, int, int]]:
        """What moves once, whatever the tiling: the result and what the epilogue adds to it."""
        repeats = self.gemm.repeats
        return [
            (self.c, 0, round(self.c.size * repeats)),
            *((extra, round(extra.size * repeats), 0) for extra in self.extras),
        ]

    @cached_property
    def fixed_counts(self) -> tuple[Count, ...]:
        """Actions that no tiling changes: arithmetic, registers and on-chip traffic."""
        macs, dtype = executed_macs(self.op), self.op.dtype
        counts = [Count(f"mac.{dtype}", "-", macs), *elementary_counts(self.op, dtype)]
        counts += [
            Count("register", operand, round(bits * macs)) for operand, bits in self.model.register_bits_per_mac()
        ]
        for traffic in self.model.traffic():
            counts.append(Count(f"{traffic.memory}.read", traffic.operand, traffic.read_bytes))
            counts.append(Count(f"{traffic.memory}.write", traffic.operand, traffic.write_bytes))
        return tuple(counts)

    def _crossing(self, operand: Operand, read: int, written: int) -> list[Count]:
        """Actions of bytes between chip and beyond: what comes is written to the buffer, what goes is read from it."""
        if operand.channel is None:
            return []
        counts = [*self.machine.count(operand.channel, operand.name, read, written)]
        memory = self.machine.buffer(operand.role)
        if memory is not None:
            counts.append(Count(f"{memory.name}.write", operand.name, read))
            counts.append(Count(f"{memory.name}.read", operand.name, written))
        return counts

    def counts(self, t: Tiling) -> tuple[Count, ...]:
        """Every action of the op."""
        crossing = [count for moved in self.moved(t) for count in self._crossing(*moved)]
        return tuple(count for count in (*self.fixed_counts, *crossing) if count.amount)

    def channel_bytes(self, t: Tiling) -> dict[str, int]:
        """Bytes over each channel."""
        total: dict[str, int] = {}
        for operand, read, written in self.moved(t):
            if operand.channel is not None and read + written:
                total[operand.channel] = total.get(operand.channel, 0) + read + written
        return total


def check_sparsity(op: Matmul | Conv2d, unit: object, machine: Machine) -> None:
    """Refuse sparse weights on a unit that does not skip their zeros."""
    kept, of = op.inputs[1].sparsity
    patterns: tuple[str, ...] = getattr(unit, "sparsity", ())
    if kept != of and f"{kept}:{of}" not in patterns:
        raise MappingError(
            f"op {op.name}: {machine.device.name} does not skip the zeros of {kept}:{of} weights; "
            f"want {' or '.join(patterns) if patterns else 'dense ones'}"
        )


def executed_macs(op: Matmul | Conv2d) -> int:
    """Multiply-accumulates that are done: those with kept weights."""
    kept, of = op.inputs[1].sparsity
    return ceil_div(op.macs * kept, of)


def map_matrix(op: Matmul | Conv2d, machine: Machine, placement: Placement) -> Task:
    """Map a product to the unit that multiplies its format: tiles, time, traffic and counts.

    Raises MappingError where no unit multiplies the format or no tiling fits.
    """
    unit = matrix_unit(machine, op.dtype)
    check_sparsity(op, unit, machine)
    model = matrix_model(unit, gemm_of(op), op.dtype, machine.device, machine.cores)
    if machine.count_cycles:
        model = counted(model, op.name, machine.seed)
    search = _Search(op, machine, placement, model, unit)
    tiling, outcome = search.best()
    cycles = tiling.cycles + model.fill_cycles
    early = (search.b.channel, int(search.b.size * search.gemm.repeats)) if search.b.channel else None
    return finished(
        op,
        machine,
        outcome,
        unit="matrix",
        freq_hz=unit.freq_hz,
        cycles=cycles,
        compute_s=cycles / unit.freq_hz,
        on_chip_s=search.on_chip_ps / PS_PER_S,
        channel_bytes=search.channel_bytes(tiling),
        counts=search.counts(tiling),
        tiling=f"{tiling}; {model.describe()}",
        macs=executed_macs(op),
        resident=search.resident_ps(tiling, outcome),
        prefetch=early if search.prefetchable else None,
    )
